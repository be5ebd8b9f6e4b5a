#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/session.hpp>

#include "audit/bounds.hpp"
#include "audit/domain.hpp"
#include "audit/substitution.hpp"
#include "simd/isa.hpp"
#include "support/random_network.hpp"

using namespace ember;
using namespace ember::auditing;

namespace {

/// Every value of the network that bounds are known of, checked in every run.
class Checker final : public Observer {
 public:
  Checker(const Formulas& formulas, const AllBounds& bounds) : formulas_(formulas), bounds_(bounds) {}
  bool wants(const std::string& value, const std::string& /*node*/, const std::string& /*op*/) override {
    return formulas_.find(value) >= 0;
  }
  void observe(const std::string& value, const ConstTensorView& tensor) override {
    if (tensor.type() != DataType::Float32) return;
    const Bounds& bounds = bounds_[static_cast<std::size_t>(formulas_.find(value))];
    const auto values = tensor.data<float>();
    // A run may hold several samples: each obeys the same bounds.
    for (std::size_t i = 0; i < values.size() && bounds.size() > 0; ++i) {
      const std::size_t at = i % bounds.size();
      const auto y = static_cast<double>(values[i]);
      ++checked;
      const bool inside = y >= bounds.lower[at] && y <= bounds.upper[at];
      if (inside || (std::isnan(y) && bounds.may_be_nan)) continue;
      ++contradictions;
      if (first.empty()) {
        const Formula& formula =
            *formulas_.all()[static_cast<std::size_t>(formulas_.variable(formulas_.find(value)).formula)];
        first = formula.op + " " + value + "[" + std::to_string(at) + "] = " + std::to_string(y) +
                " outside [" + std::to_string(bounds.lower[at]) + ", " + std::to_string(bounds.upper[at]) +
                "]";
      }
    }
  }
  std::int64_t checked = 0;
  std::int64_t contradictions = 0;
  std::string first;

 private:
  const Formulas& formulas_;
  const AllBounds& bounds_;
};

/// Narrows every layer's bounds, as the audit does, and collects where linear bounds are largest.
std::vector<std::vector<float>> tighten_all(const Formulas& formulas, const Domain& domain,
                                            AllBounds& bounds) {
  SerialParallel serial;
  std::vector<std::vector<float>> corners;
  for (const auto& formula : formulas.all()) {
    propagate(formulas, *formula, bounds, serial);
    const std::vector<std::int32_t> loose = loose_elements(formulas, bounds, formula->output);
    if (loose.empty()) continue;
    tighten(formulas, bounds, formula->output, loose, serial, {});
    const auto some = std::span(loose).first(std::min<std::size_t>(loose.size(), 8));
    for (const double sign : {1.0, -1.0}) {
      for (const LinearBound& bound : substitute(formulas, bounds, formula->output, some, sign, true)) {
        std::vector<float> corner(domain.size());
        for (std::size_t i = 0; i < corner.size(); ++i)
          corner[i] = bound.coefficients[i] > 0.0 ? domain.upper[i] : domain.lower[i];
        corners.push_back(std::move(corner));
      }
    }
  }
  return corners;
}

struct Totals {
  std::int64_t checked = 0, contradictions = 0;
};

/// One network on one domain: `runs` batches of random inputs and corners, and the maximisers of its bounds.
Totals check_network(const Model& model, std::uint64_t seed, float radius, int runs) {
  constexpr std::int64_t kBatch = 16;
  const std::vector<ValueInfo> inputs = model.inputs();
  std::vector<std::int64_t> dims;
  for (const Dimension& dim : inputs[0].dims) dims.push_back(dim.size < 0 ? 1 : dim.size);
  const Shape one(dims);
  const Formulas formulas(model, {{"x", one}});
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return static_cast<float>(random() >> 40) * 0x1p-24F; };
  Domain domain;
  for (std::int64_t i = 0; i < one.elements(); ++i) {
    const float centre = 2.0F * uniform() - 1.0F;
    domain.lower.push_back(centre - radius * uniform());
    domain.upper.push_back(centre + radius * uniform());
  }
  SerialParallel serial;
  AllBounds intervals = propagate(formulas, {input_bounds(domain, 1)}, serial);
  AllBounds bounds = intervals;
  std::vector<std::vector<float>> corners;
  if (domain.size() < 1000) corners = tighten_all(formulas, domain, bounds);
  Checker checker(formulas, bounds);
  SessionOptions options;
  options.observers = {&checker};
  options.input_shapes = {{"x", one.with(0, kBatch)}};
  Session session(model, options);
  const auto x = session.input("x").data<float>();
  const std::size_t n = domain.size();
  const auto run = [&](auto&& fill) {
    for (std::size_t s = 0; s < static_cast<std::size_t>(kBatch); ++s) {
      for (std::size_t i = 0; i < n; ++i)
        x[s * n + i] = std::clamp(fill(s, i), domain.lower[i], domain.upper[i]);
    }
    session.run();
  };
  const auto between = [&](std::size_t i, float share) {
    return domain.lower[i] + share * (domain.upper[i] - domain.lower[i]);
  };
  for (int r = 0; r < runs; ++r) {
    run([&](std::size_t s, std::size_t i) {
      if (s % 2 == 0) return between(i, uniform());
      return random() % 2 == 0 ? domain.lower[i] : domain.upper[i];
    });
  }
  for (std::size_t first = 0; first < corners.size(); first += static_cast<std::size_t>(kBatch)) {
    run([&](std::size_t s, std::size_t i) { return corners[std::min(first + s, corners.size() - 1)][i]; });
  }
  CHECK_MESSAGE(checker.contradictions == 0, "seed ", seed, " radius ", radius, ": ", checker.first);
  CHECK(checker.checked > 0);
  return {checker.checked, checker.contradictions};
}

/// Convolutions that are computed by Winograd's transforms, on domains where their error is all there is.
void check_transforms() {
  for (const simd::Isa isa : simd::available_isas()) {
    ::setenv("EMBER_ISA", std::string(simd::to_string(isa)).c_str(), 1);
    CAPTURE(simd::to_string(isa));
    for (const std::int64_t extent : {24, 14}) {
      test::GraphBuilder b;
      const graph::ValueId x = b.input("x", DataType::Float32, {-1, 64, extent, extent});
      const graph::ValueId z = b.op("Conv", "z",
                                    {x, b.constant("w", test::random_tensor({64, 64, 3, 3}, 1)),
                                     b.constant("c", test::random_tensor({64}, 2))},
                                    {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
      b.output(b.op("Relu", "y", {z}));
      const Model model(std::make_shared<const graph::Graph>(b.graph()));
      bool transformed = false;
      for (const ProfileEntry& entry : Session(model).profile())
        transformed = transformed || entry.implementation.find("winograd") != std::string::npos;
      CHECK(transformed);
      check_network(model, 3, 0.0F, 1);
      check_network(model, 4, 1e-5F, 1);
    }
  }
  ::unsetenv("EMBER_ISA");
}

void check_networks(int count, int runs) {
  Totals totals;
  for (const simd::Isa isa : simd::available_isas()) {
    ::setenv("EMBER_ISA", std::string(simd::to_string(isa)).c_str(), 1);
    CAPTURE(simd::to_string(isa));
    for (int i = 0; i < count; ++i) {
      const auto seed = static_cast<std::uint64_t>(i);
      CAPTURE(seed);
      auto graph = i % 3 == 0 ? test::RandomNetwork(seed).vectors(5, 4) : test::RandomNetwork(seed).images(4);
      const Model model(std::make_shared<const graph::Graph>(graph.graph()));
      for (const float radius : {1e-6F, 0.02F, 0.5F, 30.0F}) {
        const Totals found = check_network(model, seed, radius, runs);
        totals.checked += found.checked;
        totals.contradictions += found.contradictions;
      }
    }
  }
  ::unsetenv("EMBER_ISA");
  MESSAGE(totals.checked, " values checked against bounds, ", totals.contradictions, " outside");
}

}  // namespace

TEST_CASE("no value of a random network lies outside its bounds, on any instruction set") {
  check_networks(60, 3);
}

TEST_CASE("the error of convolutions by transform is within its bound") { check_transforms(); }
