#include "shard_options.hpp"

#include <charconv>
#include <chrono>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "output.hpp"

namespace ember::cli {

namespace {

bool parse_count(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value >= 1;
}

/// "3/10".
Shard parse_shard(const std::string& text) {
  const std::string_view whole = text;
  const std::size_t slash = whole.find('/');
  Shard shard;
  if (slash == std::string_view::npos || !parse_count(whole.substr(0, slash), shard.index) ||
      !parse_count(whole.substr(slash + 1), shard.count) || shard.index > shard.count) {
    throw Error(ErrorCode::InvalidArgument, fmt::format("--shard {} is no shard", text),
                {.cure = "shards count from 1: 1/10 to 10/10"});
  }
  return shard;
}

}  // namespace

void ShardOptions::add_to(CLI::App& verb) {
  verb.add_option("--shard", shard_,
                  "audit only part I of N of the samples and keep its statistics (--stats), which "
                  "'ember merge' makes a report of")
      ->option_text("I/N");
  verb.add_option(
          "--stats", stats_,
          "keep the statistics in FILE while counting; when it is there, go on where it ends (each rank of "
          "mpirun in a file of its own: FILE.1-of-4 …)")
      ->option_text("FILE");
  verb.add_option("--save-every", save_every_, "seconds between two savings of the statistics (default 3)")
      ->check(CLI::Range(0.0, 86400.0))
      ->option_text("S");
}

void ShardOptions::prepare(const Ranks& ranks) {
  if (!shard_.empty()) {
    gathering_.shard = parse_shard(shard_);
    if (ranks.size() > 1) {
      throw Error(ErrorCode::InvalidArgument,
                  "--shard is not for mpirun, which gives each rank a shard itself",
                  {.cure = "leave it out"});
    }
    if (stats_.empty()) {
      throw Error(ErrorCode::InvalidArgument, "--shard needs --stats",
                  {.cure = "say in which file to keep the statistics of the shard"});
    }
  }
  gathering_.file = stats_;
  gathering_.save_every = std::chrono::milliseconds(std::llround(1000 * save_every_));
  if (ranks.size() == 1) return;
  gathering_.shard = {.index = ranks.rank() + 1, .count = ranks.size()};
  if (!stats_.empty()) gathering_.file += fmt::format(".{}-of-{}", ranks.rank() + 1, ranks.size());
}

std::string ShardOptions::summary(const AuditStatistics& statistics) const {
  std::string text;
  for (const SampleRange& range : statistics.covered()) {
    text += fmt::format("{}{} to {}", text.empty() ? "" : ", ", with_separators(range.first + 1),
                        with_separators(range.end));
  }
  if (text.empty()) text = "none";
  return fmt::format("shard {}/{}: samples {} of {} counted in {}\n", gathering_.shard.index,
                     gathering_.shard.count, text, with_separators(statistics.samples()), stats_);
}

}  // namespace ember::cli
