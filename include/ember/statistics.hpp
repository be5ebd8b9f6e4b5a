#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ember/audit.hpp>

namespace ember {

namespace auditing {
struct StatisticsData;
}

/// Samples first, …, end − 1 of a data set, counted from 0.
struct SampleRange {
  std::int64_t first = 0;
  std::int64_t end = 0;

  friend bool operator==(const SampleRange&, const SampleRange&) = default;
};

/// One of `count` parts of a data set: part `index`, counted from 1.
struct Shard {
  int index = 1;
  int count = 1;
};

/// What an audit has counted so far: of the whole data set, or of a part that merge() puts together with
/// others. Counts and sums are exact, so that a report is the same, bit for bit, in whatever parts and order
/// the samples were seen.
class AuditStatistics {
 public:
  explicit AuditStatistics(std::unique_ptr<auditing::StatisticsData> data);  ///< for the engine's own use
  AuditStatistics(AuditStatistics&&) noexcept;
  AuditStatistics& operator=(AuditStatistics&&) noexcept;
  ~AuditStatistics();

  /// Throws Error (Io, InvalidData) when the file is no statistics file, or not an intact one.
  static AuditStatistics load(const std::filesystem::path& file);
  static AuditStatistics parse(std::span<const std::byte> bytes, const std::string& name = "<memory>");
  /// The file appears whole or not at all. Throws Error (Io).
  void save(const std::filesystem::path& file) const;
  [[nodiscard]] std::vector<std::byte> serialize() const;

  /// Adds other samples of the same audit. Throws Error (InvalidData), leaving this as it was, when `other`
  /// is of another model, other data or other options, or has samples that are counted here already.
  void merge(const AuditStatistics& other);

  /// The samples counted, in order.
  [[nodiscard]] const std::vector<SampleRange>& covered() const;
  /// How many samples the whole audit has.
  [[nodiscard]] std::int64_t samples() const;
  [[nodiscard]] bool complete() const;
  /// The verdicts. Throws Error (InvalidData) naming the samples that are missing unless complete().
  [[nodiscard]] AuditReport report() const;

  /// Throws Error (InvalidData) unless these are statistics of `model` over `samples`, preprocessed in the
  /// same way: what explain() asks of a report. Reads all of the data.
  void require_counted_on(const Model& model, const Samples& samples) const;

  /// For the engine's own use.
  [[nodiscard]] const auditing::StatisticsData& data() const noexcept { return *data_; }

 private:
  std::unique_ptr<auditing::StatisticsData> data_;
  std::string name_ = "<memory>";  ///< for messages
};

struct GatherOptions {
  Shard shard;
  /// Where to keep what is counted while it is being counted; empty: nowhere. When the file exists, counting
  /// goes on from it. The finished statistics are in it at the end.
  std::filesystem::path file;
  std::chrono::milliseconds save_every{3000};
};

/// Runs a part of `samples` through `model` and counts. AuditOptions::samples bounds the whole audit, of
/// which the shard is a part. Throws Error.
AuditStatistics gather_statistics(const Model& model, Samples& samples, const AuditOptions& options = {},
                                  const GatherOptions& gathering = {});

}  // namespace ember
