#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include <ember/statistics.hpp>

#include "ranks.hpp"

namespace ember::cli {

/// The options that split an audit over processes or in time: --shard, --stats,
/// --save-every.
class ShardOptions {
 public:
  void add_to(CLI::App& verb);
  /// Throws Error for what is wrong with the options, before any work is done.
  /// Several ranks make the shards by themselves, each with a statistics file of its own.
  void prepare(const Ranks& ranks);
  /// Statistics are kept, or of a part only.
  [[nodiscard]] bool given() const { return partial() || !stats_.empty() || !shard_.empty(); }
  /// One of several parts.
  [[nodiscard]] bool partial() const noexcept { return gathering_.shard.count > 1; }
  [[nodiscard]] const GatherOptions& gathering() const noexcept { return gathering_; }
  /// What a part has to say when it is done.
  [[nodiscard]] std::string summary(const AuditStatistics& statistics) const;

 private:
  std::string shard_, stats_;
  double save_every_ = 3;
  GatherOptions gathering_;
};

}  // namespace ember::cli
