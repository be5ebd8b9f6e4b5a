#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/labels.hpp>
#include <ember/npy.hpp>
#include <ember/report.hpp>
#include <ember/statistics.hpp>

#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::GraphBuilder;
using test::MemorySamples;

namespace {

constexpr std::int64_t kSamples = 40;
constexpr std::int64_t kChannels = 20;

/// Channel c fires in sample n where fires(c, n).
Tensor firing(bool (*fires)(std::int64_t, std::int64_t)) {
  Tensor data(DataType::Float32, {kSamples, kChannels});
  for (std::int64_t n = 0; n < kSamples; ++n) {
    for (std::int64_t c = 0; c < kChannels; ++c) {
      data.data<float>()[static_cast<std::size_t>(n * kChannels + c)] = fires(c, n) ? 1.0F : -1.0F;
    }
  }
  return data;
}

Model relu() {
  GraphBuilder g;
  g.output(g.op("Relu", "y", {g.input("x", DataType::Float32, {-1, kChannels})}));
  return Model(std::make_shared<const graph::Graph>(g.graph()));
}

/// Channel c from sample 2c on for c < 15, but 10, 11 and 12 only once, 13 and 14 twice; 15 and more never.
bool staggered(std::int64_t c, std::int64_t n) {
  if (c >= 15) return false;
  if (c >= 13) return n == 2 * c || n == 2 * c + 3;
  return c >= 10 ? n == 2 * c : n >= 2 * c;
}

}  // namespace

TEST_CASE("the discovery curve counts channels by the first sample that fired them, at any batch") {
  std::string first;
  for (const auto& [batch, threads] : {std::pair{0L, 1}, {1L, 1}, {7L, 2}}) {
    MemorySamples samples(firing(staggered));
    AuditOptions options;
    options.batch = batch;
    options.threads = threads;
    const AuditReport report = audit(relu(), samples, options);
    for (std::int64_t c = 0; c < kChannels; ++c) {
      const auto& s = report.layers()[0].channels[static_cast<std::size_t>(c)].statistics;
      CHECK(s.first_fired == (c < 15 ? 2 * c : -1));
    }
    const Discovery& d = report.discovery;
    CHECK_FALSE(d.by_group);
    CHECK(d.trials == kSamples);
    CHECK(d.channels == kChannels);
    CHECK(d.fired == 15);
    CHECK(d.fired_once == 3);
    CHECK(d.fired_twice == 2);
    CHECK(d.expected_next == doctest::Approx(3.0 / 40.0));
    CHECK(d.still_to_wake == doctest::Approx(3.0 * 2.0 / (2.0 * 3.0)));
    std::vector<std::int64_t> at;
    for (const Discovery::Point& point : d.curve) {
      at.push_back(point.trials);
      CHECK(point.fired == std::min<std::int64_t>(15, (point.trials + 1) / 2));
    }
    CHECK(at == std::vector<std::int64_t>{1, 2, 3, 5, 7, 10, 20, 30, 40});
    if (first.empty()) first = to_json(report);
    CHECK(to_json(report) == first);
    CHECK(to_json(report_from_json(first)) == first);
  }
}

TEST_CASE("with groups the group is the trial, in one run and in shards") {
  // Ten groups of four, dealt out so that every shard meets most of them.
  AuditOptions options;
  for (std::int64_t n = 0; n < kSamples; ++n) options.groups.push_back(100 - n % 10);
  // Channel c fires in all samples of the first c groups; channel 0 never.
  MemorySamples samples(firing([](std::int64_t c, std::int64_t n) { return n % 10 < c; }));
  const Model model = relu();
  const AuditReport report = audit(model, samples, options);
  CHECK(report.groups == 10);
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const auto& s = report.layers()[0].channels[static_cast<std::size_t>(c)].statistics;
    CHECK(s.groups == 10);
    CHECK(s.groups_fired == std::min<std::int64_t>(c, 10));
  }
  // 0 of 10, not of 40: frames of one video are no evidence of their own.
  MemorySamples again(firing([](std::int64_t c, std::int64_t n) { return n % 10 < c; }));
  const AuditReport plain = audit(model, again);
  CHECK(report.layers()[0].channels[0].rate_bound > 3 * plain.layers()[0].channels[0].rate_bound);
  CHECK(report.discovery.by_group);
  CHECK(report.discovery.trials == 10);
  CHECK(report.discovery.fired_once == 1);
  options.explain = false;
  const std::string whole = to_json(audit(model, samples, options));
  AuditStatistics all = gather_statistics(model, samples, options, {.shard = {2, 3}});
  all = AuditStatistics::parse(all.serialize());
  all.merge(gather_statistics(model, samples, options, {.shard = {3, 3}}));
  all.merge(gather_statistics(model, samples, options, {.shard = {1, 3}}));
  CHECK(to_json(all.report()) == whole);
  const AuditOptions none{.explain = false};
  CHECK_THROWS_AS(all.merge(gather_statistics(model, samples, none, {.shard = {1, 3}})), Error);
  options.groups.pop_back();
  CHECK_THROWS_WITH_AS(audit(model, samples, options), doctest::Contains("39 group labels for 40 samples"),
                       Error);
}

TEST_CASE("labels are read from .npy and .npz, and what are none is refused") {
  const test::ScratchFolder folder;
  Tensor labels(DataType::Int32, {3});
  for (int i = 0; i < 3; ++i) labels.data<std::int32_t>()[static_cast<std::size_t>(i)] = 7 - i;
  const std::vector<std::int64_t> want = {7, 6, 5};
  save_npy(folder / "l.npy", labels.view());
  CHECK(load_labels(folder / "l.npy", "groups") == want);
  save_npz(folder / "one.npz", {{"any", labels}});
  CHECK(load_labels(folder / "one.npz", "groups") == want);
  save_npz(folder / "two.npz", {{"x", Tensor(DataType::Int8, {1})}, {"groups", labels}});
  CHECK(load_labels(folder / "two.npz", "groups") == want);
  CHECK_THROWS_AS((void)load_labels(folder / "two.npz", "y"), Error);
  save_npy(folder / "f.npy", Tensor(DataType::Float32, {3}).view());
  CHECK_THROWS_WITH_AS((void)load_labels(folder / "f.npy", "groups"), doctest::Contains("whole number"),
                       Error);
  CHECK_THROWS_AS((void)load_labels(folder / "none.npy", "groups"), Error);
}
