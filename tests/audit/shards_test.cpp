#include <filesystem>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/file.hpp>
#include <ember/statistics.hpp>

#include "core/sha256.hpp"
#include "support/edited_model.hpp"
#include "support/memory_samples.hpp"
#include "support/random_tensor.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
using test::ScratchFolder;

namespace {

const std::filesystem::path kModels = std::filesystem::path(EMBER_SOURCE_DIR) / "models";

Model bundled(const std::string& name) { return Model::load(kModels / (name + ".onnx")); }
std::unique_ptr<Samples> calibration(const Preprocessing& preprocessing = {}) {
  return open_samples(kModels / "digits_calibration.npz", preprocessing);
}

AuditStatistics shard(const Model& model, int index, int count, const AuditOptions& options = {}) {
  return gather_statistics(model, *calibration(), options, {.shard = {index, count}});
}

/// One run's report, as text in which every bit of every number shows.
std::string whole(const Model& model, const AuditOptions& options = {}) {
  AuditOptions counting = options;
  counting.explain = false;  // causes need the network; statistics alone do not tell them
  return to_json(audit(model, *calibration(), counting));
}

/// Expects an Error whose message holds all of `words`.
void refused(const std::function<void()>& act, const std::vector<std::string>& words) {
  try {
    act();
    FAIL("nothing was refused");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidData);
    const std::string message = error.what();
    for (const std::string& word : words) {
      CHECK_MESSAGE(message.find(word) != std::string::npos, word << " in " << message);
    }
  }
}

}  // namespace

TEST_CASE("ten shards, merged in any order and grouping, make the report of one run to the bit") {
  for (const char* name : {"digits_cnn_dead_bias", "digits_mlp_high_lr"}) {
    CAPTURE(name);
    const Model model = bundled(name);
    std::vector<AuditStatistics> parts;
    for (const int index : {7, 2, 10, 1, 4, 9, 3, 8, 6, 5}) parts.push_back(shard(model, index, 10));
    AuditStatistics left = AuditStatistics::parse(parts[0].serialize());
    AuditStatistics right = AuditStatistics::parse(parts[5].serialize());
    for (std::size_t i = 1; i < 5; ++i) left.merge(parts[i]);
    for (std::size_t i = 6; i < 10; ++i) right.merge(parts[i]);
    CHECK_FALSE(left.complete());
    right.merge(left);
    CHECK(right.complete());
    CHECK(right.covered() == std::vector<SampleRange>{{0, 1347}});
    CHECK(to_json(right.report()) == whole(model));
  }
}

TEST_CASE("shards that count firing alone make the report of one such run, through the file too") {
  const Model model = bundled("digits_cnn_dead_bias");
  const AuditOptions counting{.counts_only = true};
  AuditStatistics total = AuditStatistics::parse(shard(model, 2, 2, counting).serialize());
  total.merge(shard(model, 1, 2, counting));
  CHECK(to_json(total.report()) == whole(model, counting));
  CHECK(whole(model, counting) != whole(model));
}

TEST_CASE("the report has the same bits at any batch size and number of threads") {
  const Model model = bundled("digits_cnn_dead_bias");
  const std::string expected = whole(model, {.samples = 300});
  CHECK(whole(model, {.samples = 300, .batch = 1}) == expected);
  CHECK(whole(model, {.samples = 300, .batch = 7, .threads = 2}) == expected);
}

TEST_CASE("more shards than there is to share leaves some empty, and nothing is lost") {
  const Model model = bundled("digits_mlp");
  const AuditOptions options{.samples = 3};
  AuditStatistics all = shard(model, 1, 8, options);
  for (int index = 2; index <= 8; ++index) all.merge(shard(model, index, 8, options));
  CHECK(to_json(all.report()) == whole(model, options));
}

TEST_CASE("samples with NaN are counted in whichever shard they are") {
  Tensor values = test::random_tensor({40, 1, 8, 8}, 3);
  for (const std::size_t at : {std::size_t{70}, std::size_t{64 * 33}}) {
    values.data<float>()[at] = std::numeric_limits<float>::quiet_NaN();
  }
  test::MemorySamples samples(values);
  const Model model = bundled("digits_cnn");
  AuditStatistics all = gather_statistics(model, samples, {}, {.shard = {1, 3}});
  all.merge(gather_statistics(model, samples, {}, {.shard = {2, 3}}));
  all.merge(gather_statistics(model, samples, {}, {.shard = {3, 3}}));
  CHECK(all.report().samples_not_finite == 2);
  CHECK(to_json(all.report()) == to_json(audit(model, samples)));
}

TEST_CASE("parts that do not belong together are refused, and the total stays as it was") {
  const Model model = bundled("digits_mlp");
  AuditStatistics total = shard(model, 1, 3);
  const std::vector<std::byte> before = total.serialize();
  refused([&] { total.merge(shard(bundled("digits_mlp_leaky"), 2, 3)); },
          {"another model", "digits_mlp_leaky"});
  const auto heldout = open_samples(kModels / "digits_heldout.npz");
  refused([&] { total.merge(gather_statistics(model, *heldout, {}, {.shard = {2, 3}})); },
          {"other data", "digits_heldout"});
  const auto scaled = calibration({.scale = 0.5});
  refused([&] { total.merge(gather_statistics(model, *scaled, {}, {.shard = {2, 3}})); }, {"preprocessed"});
  refused([&] { total.merge(shard(model, 2, 3, {.samples = 1000})); }, {"1000", "1347"});
  refused([&] { total.merge(shard(model, 2, 3, {.rare_below = 0.01})); }, {"--rare"});
  refused([&] { total.merge(shard(model, 2, 3, {.counts_only = true})); }, {"--counts-only"});
  refused([&] { total.merge(shard(model, 1, 3)); }, {"counted already", "samples 1 to "});
  refused([&] { total.merge(shard(model, 1, 2)); }, {"counted already"});
  CHECK(total.serialize() == before);
  total.merge(shard(model, 3, 3));
  refused([&] { (void)total.report(); }, {"missing", "of 1347"});
  total.merge(shard(model, 2, 3));
  CHECK(to_json(total.report()) == whole(model));
}

TEST_CASE("damaged statistics files are refused, whatever the damage") {
  const std::vector<std::byte> good = shard(bundled("digits_mlp"), 1, 2).serialize();
  refused([] { (void)AuditStatistics::parse({}, "f"); }, {"'f'", "empty"});
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::byte> bad = good;
    bad[random() % bad.size()] ^= static_cast<std::byte>(1U << random() % 8);
    refused([&] { (void)AuditStatistics::parse(bad, "f"); }, {"'f'"});
    refused([&] { (void)AuditStatistics::parse(std::span(good).first(random() % good.size()), "f"); },
            {"'f'"});
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  refused([&] { (void)AuditStatistics::parse(longer, "f"); }, {"behind its end"});
}

TEST_CASE("forged statistics with a sound checksum are refused or harmless") {
  const std::vector<std::byte> good = shard(bundled("digits_mlp"), 1, 2, {.samples = 8}).serialize();
  constexpr std::size_t kDigest = 64;
  std::mt19937 random(6);
  int refusals = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<std::byte> forged(good.begin(), good.end() - kDigest);
    // Past the mark and version: what is read must be checked, not trusted.
    for (int i = 0; i < 4; ++i)
      forged[28 + random() % (forged.size() - 28)] = static_cast<std::byte>(random());
    const std::string digest = sha256_hex(forged);
    const auto bytes = std::as_bytes(std::span(digest));
    forged.insert(forged.end(), bytes.begin(), bytes.end());
    try {
      (void)AuditStatistics::parse(forged).report();
    } catch (const Error&) {
      ++refusals;
    }
  }
  CHECK(refusals > 100);
}

TEST_CASE("an interrupted run goes on from its file, and ends as one run does") {
  const ScratchFolder folder;
  const Model model = bundled("digits_cnn_dead_bias");
  const std::string expected = whole(model, {.samples = 600});
  struct Interrupted {};
  int runs = 0;
  std::int64_t furthest = 0;
  for (bool finished = false; !finished; ++runs) {
    REQUIRE(runs < 200);
    AuditOptions options{.samples = 600, .batch = 5 + runs % 3};
    std::int64_t first = -1;
    options.progress = [&](std::int64_t done, std::int64_t /*total*/) {
      if (first < 0) first = done;
      if (done > furthest + 40) {
        CHECK(first <= furthest + 8);
        furthest = done;
        throw Interrupted();
      }
    };
    const GatherOptions gathering{.file = folder / "run.stats", .save_every = std::chrono::milliseconds(0)};
    try {
      const AuditStatistics statistics = gather_statistics(model, *calibration(), options, gathering);
      CHECK(to_json(statistics.report()) == expected);
      finished = true;
    } catch (const Interrupted&) {
      CHECK(AuditStatistics::load(gathering.file).covered().front().end > furthest - 50);
    }
  }
  CHECK(runs > 5);
  // A finished file is not run again.
  AuditOptions options{.samples = 600};
  options.progress = [](std::int64_t, std::int64_t) { FAIL("ran again"); };
  const auto samples = calibration();
  CHECK(to_json(gather_statistics(model, *samples, options, {.file = folder / "run.stats"}).report()) ==
        expected);
}

TEST_CASE("a run does not go on from what it did not begin") {
  const ScratchFolder folder;
  const Model model = bundled("digits_mlp");
  const auto samples = calibration();
  const auto gather = [&](const Model& with, const AuditOptions& options, const Shard& part) {
    return gather_statistics(with, *samples, options, {.shard = part, .file = folder / "s"});
  };
  (void)gather(model, {}, {2, 3});
  refused([&] { gather(model, {}, {3, 3}); }, {"did not begin"});
  refused([&] { gather(model, {}, {2, 4}); }, {"did not begin"});
  refused([&] { gather(model, {.confidence = 0.9}, {2, 3}); }, {"--confidence"});
  refused([&] { gather(test::with_dead_channel(model, 0), {}, {2, 3}); }, {"another model"});
  write_file(folder / "s", std::string_view("rubbish"));
  refused([&] { gather(model, {}, {2, 3}); }, {"not a statistics file"});
  CHECK_THROWS_AS(gather(model, {}, {4, 3}), Error);
  CHECK_THROWS_AS(gather(model, {}, {0, 3}), Error);
}
