#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/npy.hpp>

#include "graph/graph.hpp"
#include "support/zoo.hpp"

using namespace ember;

namespace {

/// Inputs drawn from a box, one in eight of them a corner; the same for every way of reading them.
class BoxSamples final : public Samples {
 public:
  BoxSamples(const InputDomain& domain, std::int64_t count) : domain_(domain), count_(count) {}
  [[nodiscard]] std::int64_t count() const override { return count_; }
  [[nodiscard]] std::string description() const override { return "random inputs of the domain"; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
  void read(std::int64_t first, std::int64_t n, const Shape& /*shape*/, float* to) override {
    const auto lower = domain_.lower.data<float>();
    const auto upper = domain_.upper.data<float>();
    for (std::int64_t s = first; s < first + n; ++s) {
      for (std::size_t i = 0; i < lower.size(); ++i) {
        const std::uint64_t bits = mixed(static_cast<std::uint64_t>(s) * lower.size() + i);
        const float share =
            s % 8 == 0 ? static_cast<float>(bits & 1U) : static_cast<float>(bits >> 40) * 0x1p-24F;
        *to++ = std::min(upper[i], lower[i] + share * (upper[i] - lower[i]));
      }
    }
  }

 private:
  /// splitmix64
  static std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }
  const InputDomain& domain_;
  std::int64_t count_;
};

/// The same network for any number of inputs at once, which is faster and makes it use other kernels, too.
Model with_open_batch(const Model& model) {
  graph::Graph graph = model.graph();
  graph.value(graph.inputs[0]).dims->front() = {.size = -1, .symbol = "N"};
  for (const graph::ValueId output : graph.outputs) graph.value(output).dims.reset();
  return Model(std::make_shared<const graph::Graph>(std::move(graph)));
}

}  // namespace

// EMBER_SLOW_SAMPLES and EMBER_SLOW_NETWORK ("4_1") take fewer inputs, and one network only.
TEST_CASE("no unit of the ACAS Xu networks that is proved dead fires on ten million inputs of the domain") {
  const std::filesystem::path folder = test::zoo_folder();
  if (folder.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  const char* wanted = std::getenv("EMBER_SLOW_SAMPLES");
  const std::int64_t count = wanted != nullptr ? std::atoll(wanted) : 10'000'000;
  const InputDomain domain = InputDomain::load(folder / "acasxu" / "domain.npz");
  for (const char* name : {"1_1", "1_7", "2_3", "4_1", "4_2", "5_5"}) {
    CAPTURE(std::string(name));
    const char* only = std::getenv("EMBER_SLOW_NETWORK");
    if (only != nullptr && std::string(only) != name) continue;
    const Model model = Model::load(folder / "acasxu" / ("acasxu_" + std::string(name) + ".onnx"));
    BoxSamples some(domain, 100'000);
    AuditOptions options;
    options.domain = domain;
    options.threads = 0;
    options.explain = false;
    const AuditReport proved = audit(model, some, options);
    CHECK(proved.count(Verdict::ProvedDead) >= 1);
    BoxSamples many(domain, count);
    options.domain.reset();
    options.batch = 256;
    const AuditReport seen = audit(with_open_batch(model), many, options);
    for (std::size_t l = 0; l < proved.layers().size(); ++l) {
      for (std::size_t c = 0; c < proved.layers()[l].channels.size(); ++c) {
        const ChannelReport& claim = proved.layers()[l].channels[c];
        const ChannelStatistics& s = seen.layers()[l].channels[c].statistics;
        if (claim.verdict == Verdict::ProvedDead) CHECK(s.samples_fired == 0);
        if (claim.verdict == Verdict::AlwaysOn && claim.proof != Proof::None)
          CHECK(s.positions_fired == s.positions);
        CHECK(s.pre_max <= claim.bound_upper);
        CHECK(s.pre_min >= claim.bound_lower);
      }
    }
    MESSAGE(name, ": ", proved.count(Verdict::ProvedDead), " proved dead, ", proved.count(Verdict::Refuted),
            " refuted, ", proved.count(Verdict::Silent), " open; none contradicted by ", seen.samples,
            " samples");
  }
}
