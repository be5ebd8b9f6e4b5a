#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include <ember/error.hpp>
#include <ember/file.hpp>
#include <ember/statistics.hpp>

#include "audit/statistics_archive.hpp"
#include "audit/statistics_data.hpp"
#include "core/sha256.hpp"
#include "data/byte_reader.hpp"

// A statistics file is the mark, a version, the length of the content, the content, and the SHA-256 of all
// that in hexadecimal.

namespace ember {

namespace {

using namespace auditing;

constexpr std::string_view kMark = "ember-statistics";
constexpr std::uint32_t kVersion = 3;
constexpr std::size_t kHead = kMark.size() + sizeof(std::uint32_t) + sizeof(std::uint64_t);
constexpr std::size_t kDigest = 64;

template <class Archive>
void archive_channel(Archive& archive, ChannelTotals& channel) {
  archive(channel.first_fired);
  archive.list(channel.groups_fired, sizeof(std::uint64_t), [&](std::uint64_t& word) { archive(word); });
  archive(channel.samples_fired);
  archive(channel.samples_saturated);
  archive(channel.positions_fired);
  archive(channel.positions_saturated);
  archive(channel.not_finite);
  for (double* value : {&channel.pre_min, &channel.pre_max, &channel.out_min, &channel.out_max}) {
    archive(*value);
  }
  for (ExactSum* sum : {&channel.pre_sum, &channel.pre_sum_squares, &channel.out_sum,
                        &channel.out_sum_squares, &channel.out_sum_abs}) {
    sum->archive(archive);
  }
}

template <class Archive>
void archive_layer(Archive& archive, LayerRecord& layer) {
  constexpr std::size_t kLeastText = 8;
  constexpr std::size_t kLeastChannel = 300;
  const auto text = [&](std::string& value) { archive(value); };
  for (std::string* value : {&layer.node, &layer.op, &layer.value, &layer.fingerprint}) archive(*value);
  archive.list(layer.pattern, kLeastText, text);
  archive(layer.channel_axis);
  archive.list(layer.links.predecessors, sizeof(std::int64_t), [&](std::int64_t& index) { archive(index); });
  for (bool* flag : {&layer.links.reads_input, &layer.links.feeds_output}) archive(*flag);
  auto kind = static_cast<std::uint8_t>(layer.function.kind);
  archive(kind);
  layer.function.kind = static_cast<kernels::ActivationKind>(kind);
  archive(layer.function.alpha);
  archive(layer.function.beta);
  archive(layer.function.slope_count);
  archive.list(layer.slopes, sizeof(float), [&](float& slope) { archive(slope); });
  for (bool* flag : {&layer.network_output, &layer.batch_missing, &layer.unwatchable}) archive(*flag);
  archive.list(layer.channel_fingerprints, kLeastText, text);
  archive.list(layer.dead_by_sign, sizeof(std::int64_t), [&](std::int64_t& channel) { archive(channel); });
  archive(layer.totals.samples);
  archive(layer.totals.positions);
  archive.list(layer.totals.channels, kLeastChannel,
               [&](ChannelTotals& channel) { archive_channel(archive, channel); });
}

/// Every field, in one order for both directions.
template <class Archive>
void archive_all(Archive& archive, StatisticsData& data) {
  constexpr std::size_t kLeastText = 8;
  constexpr std::size_t kLeastLayer = 100;
  for (std::string* value :
       {&data.model, &data.model_hash, &data.data, &data.data_hash, &data.data_settings, &data.isa}) {
    archive(*value);
  }
  for (std::int64_t* value : {&data.samples, &data.segment, &data.batch}) archive(*value);
  archive(data.counts_only);
  for (double* value : {&data.confidence, &data.rare_below, &data.dormant_tau}) archive(*value);
  archive.list(data.groups, sizeof(std::int64_t), [&](std::int64_t& group) { archive(group); });
  archive(data.group_count);
  archive.list(data.notes, kLeastText, [&](std::string& note) { archive(note); });
  archive.list(data.covered, sizeof(SampleRange), [&](SampleRange& range) {
    archive(range.first);
    archive(range.end);
  });
  archive(data.samples_not_finite);
  archive.list(data.layers, kLeastLayer, [&](LayerRecord& layer) { archive_layer(archive, layer); });
}

bool plausible(const StatisticsData& data, const LayerRecord& layer) {
  const auto layers = static_cast<std::int64_t>(data.layers.size());
  const LayerTotals& totals = layer.totals;
  const auto channels = static_cast<std::int64_t>(totals.channels.size());
  const std::int64_t slopes = layer.function.slope_count;
  const bool sloped = layer.function.kind == kernels::ActivationKind::PRelu;
  return layer.function.kind <= kernels::ActivationKind::Clip &&
         std::ranges::all_of(layer.links.predecessors,
                             [&](std::int64_t i) { return i >= 0 && i < layers; }) &&
         layer.channel_fingerprints.size() == totals.channels.size() &&
         std::ranges::all_of(layer.dead_by_sign, [&](std::int64_t c) { return c >= 0 && c < channels; }) &&
         (sloped ? slopes == 1 || slopes >= channels : slopes == 0) &&
         static_cast<std::int64_t>(layer.slopes.size()) >= slopes && totals.samples >= 0 &&
         totals.samples <= data.samples && totals.positions >= 0 &&
         std::ranges::all_of(totals.channels, [&](const ChannelTotals& c) {
           return (c.first_fired == ChannelTotals::kNever) == (c.samples_fired == 0) && c.first_fired >= 0 &&
                  static_cast<std::int64_t>(c.groups_fired.size()) <= (data.group_count + 63) / 64 &&
                  c.samples_fired >= 0 && c.samples_fired <= totals.samples && c.samples_saturated >= 0 &&
                  c.samples_saturated <= totals.samples && c.positions_fired >= 0 &&
                  c.positions_fired <= totals.positions && c.positions_saturated >= 0 &&
                  c.positions_saturated <= totals.positions && c.not_finite >= 0 &&
                  c.not_finite <= totals.positions;
         });
}

/// What a sound checksum does not show: that the content makes sense.
bool plausible(const StatisticsData& data) {
  constexpr std::int64_t kMost = std::int64_t{1} << 48;
  std::int64_t at = -1;
  for (const SampleRange& range : data.covered) {
    if (range.first <= at || range.end <= range.first || range.end > data.samples) return false;
    if (range.first % data.segment != 0) return false;
    at = range.end;
  }
  const auto known_group = [&](std::int64_t group) { return group >= 0 && group < data.group_count; };
  const bool groups_fit = data.groups.empty()
                              ? data.group_count == 0
                              : static_cast<std::int64_t>(data.groups.size()) == data.samples &&
                                    std::ranges::all_of(data.groups, known_group);
  return groups_fit && data.samples > 0 && data.samples < kMost && data.confidence > 0 &&
         data.confidence < 1 &&
         std::ranges::all_of(data.layers, [&](const LayerRecord& layer) { return plausible(data, layer); });
}

[[noreturn]] void refuse(const std::string& name, std::string_view why) {
  throw Error(ErrorCode::InvalidData, fmt::format("'{}' {}", name, why),
              {.cure = "gather these statistics again (ember audit --stats)"});
}

}  // namespace

std::vector<std::byte> AuditStatistics::serialize() const {
  ArchiveWriter content;
  archive_all(content, *data_);
  const std::vector<std::byte> bytes = content.take();
  ArchiveWriter head;
  for (const char mark : kMark) head(mark);
  auto version = kVersion;
  auto length = static_cast<std::uint64_t>(bytes.size());
  head(version);
  head(length);
  std::vector<std::byte> file = head.take();
  file.insert(file.end(), bytes.begin(), bytes.end());
  const std::string digest = sha256_hex(file);
  const auto digest_bytes = std::as_bytes(std::span(digest));
  file.insert(file.end(), digest_bytes.begin(), digest_bytes.end());
  return file;
}

AuditStatistics AuditStatistics::parse(std::span<const std::byte> bytes, const std::string& name) {
  const auto text = [](std::span<const std::byte> part) {
    return std::string_view(reinterpret_cast<const char*>(part.data()), part.size());
  };
  if (bytes.size() < kHead || text(bytes.first(kMark.size())) != kMark) {
    refuse(name, bytes.empty() ? "is empty" : "is not a statistics file of ember");
  }
  ArchiveReader head(bytes.subspan(kMark.size(), kHead - kMark.size()));
  std::uint32_t version = 0;
  std::uint64_t length = 0;
  head(version);
  head(length);
  if (version != kVersion) {
    refuse(name, fmt::format("has version {} of the statistics format; this ember reads version {}", version,
                             kVersion));
  }
  if (bytes.size() < kHead + kDigest || bytes.size() - kHead - kDigest < length) refuse(name, "is cut short");
  if (bytes.size() - kHead - kDigest > length) refuse(name, "has something behind its end");
  const auto signed_part = bytes.first(bytes.size() - kDigest);
  if (sha256_hex(signed_part) != text(bytes.last(kDigest))) {
    refuse(name, "is damaged: its checksum does not match");
  }
  auto data = std::make_unique<StatisticsData>();
  ArchiveReader content(signed_part.subspan(kHead));
  archive_all(content, *data);
  if (!content.complete() || data->segment < 1 || !plausible(*data)) {
    refuse(name, "does not hold statistics that make sense");
  }
  AuditStatistics statistics(std::move(data));
  statistics.name_ = name;
  return statistics;
}

AuditStatistics AuditStatistics::load(const std::filesystem::path& file) {
  return parse(data::read_file(file), file.string());
}

void AuditStatistics::save(const std::filesystem::path& file) const { write_file(file, serialize()); }

}  // namespace ember
