#include <ember/statistics.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "audit/discovery.hpp"
#include "audit/findings.hpp"
#include "audit/judge.hpp"
#include "audit/statistics_data.hpp"
#include "core/sha256.hpp"

namespace ember {

namespace {

using namespace auditing;

LayerReport layer_of(const LayerRecord& record, std::int64_t groups, bool counts_only) {
  LayerReport layer;
  layer.node = record.node;
  layer.op = record.op;
  layer.value = record.value;
  layer.fingerprint = record.fingerprint;
  layer.pattern = record.pattern;
  layer.channel_axis = record.channel_axis;
  layer.predecessors = record.links.predecessors;
  layer.reads_input = record.links.reads_input;
  layer.feeds_output = record.links.feeds_output;
  for (std::size_t c = 0; c < record.totals.channels.size(); ++c) {
    const auto index = static_cast<std::int64_t>(c);
    layer.channels.push_back({.index = index,
                              .statistics = record.totals.statistics(index, groups, counts_only),
                              .fingerprint = record.channel_fingerprints[c]});
  }
  return layer;
}

void judge_all(const StatisticsData& data, AuditReport& report) {
  for (const LayerRecord& record : data.layers)
    report.layer_reports.push_back(layer_of(record, data.group_count, data.counts_only));
  const Standards standards{.alpha = 1.0 - data.confidence,
                            .channels = report.channels(),
                            .rare_below = data.rare_below,
                            .dormant_tau = data.dormant_tau};
  std::int64_t unseen = 0;
  for (std::size_t i = 0; i < data.layers.size(); ++i) {
    LayerReport& layer = report.layer_reports[i];
    judge(layer, data.layers[i].activation(), data.layers[i].network_output, standards);
    for (const std::int64_t c : data.layers[i].dead_by_sign) {
      ChannelReport& channel = layer.channels[static_cast<std::size_t>(c)];
      if (channel.verdict != Verdict::Silent) continue;
      channel.verdict = Verdict::ProvedDead;
      channel.proof = Proof::Sign;
    }
    unseen += std::ranges::count_if(layer.channels, [](const ChannelReport& channel) {
      return channel.statistics.not_finite >= channel.statistics.samples;
    });
  }
  if (unseen > 0) {
    report.notes.push_back(fmt::format("{} channels showed too few finite values to be judged", unseen));
  }
}

std::vector<std::string> notes_of(const StatisticsData& data) {
  std::vector<std::string> notes = data.notes;
  if (data.counts_only) {
    notes.emplace_back(
        "only firing was counted: not looked at was whether channels are dormant, constant or saturated, "
        "whether a clamp is always on, and why channels are unhealthy");
  }
  for (const LayerRecord& layer : data.layers) {
    if (layer.unwatchable) {
      notes.push_back(fmt::format("{}: not watched, for it is not of floats", layer.node));
    }
    if (!layer.batch_missing) continue;
    notes.push_back(fmt::format("{}: axis 0 is not the batch of {}; each run counts as one sample there",
                                layer.node, data.batch));
  }
  if (data.samples_not_finite > 0) {
    notes.push_back(
        fmt::format("{} of {} samples hold a NaN or an infinity; they were run, and positions "
                    "that are not finite show nothing",
                    data.samples_not_finite, data.samples));
  }
  return notes;
}

}  // namespace

AuditStatistics::AuditStatistics(std::unique_ptr<StatisticsData> data) : data_(std::move(data)) {}
AuditStatistics::AuditStatistics(AuditStatistics&&) noexcept = default;
AuditStatistics& AuditStatistics::operator=(AuditStatistics&&) noexcept = default;
AuditStatistics::~AuditStatistics() = default;

void AuditStatistics::merge(const AuditStatistics& other) {
  require_same_audit(*data_, *other.data_, other.name_);
  if (other.data_->covered.empty()) return;
  if (data_->covered.empty()) {
    *data_ = *other.data_;
    return;
  }
  std::vector<SampleRange> all = data_->covered;
  all.insert(all.end(), other.data_->covered.begin(), other.data_->covered.end());
  std::ranges::sort(all, {}, &SampleRange::first);
  std::vector<SampleRange> joined;
  for (const SampleRange& range : all) {
    if (!joined.empty() && range.first < joined.back().end) {
      const SampleRange twice{range.first, std::min(range.end, joined.back().end)};
      throw Error(ErrorCode::InvalidData,
                  fmt::format("{} of '{}' have been counted already", describe({twice}), other.name_),
                  {.cure = "give every shard once"});
    }
    if (!joined.empty() && range.first == joined.back().end) joined.back().end = range.end;
    else joined.push_back(range);
  }
  // Names may differ from part to part; those of the earliest sample are kept, whatever the order of merging.
  if (other.data_->covered.front().first < data_->covered.front().first) {
    data_->model = other.data_->model;
    data_->data = other.data_->data;
  }
  data_->covered = std::move(joined);
  data_->samples_not_finite += other.data_->samples_not_finite;
  for (std::size_t i = 0; i < data_->layers.size(); ++i) {
    data_->layers[i].totals.add(other.data_->layers[i].totals);
    data_->layers[i].batch_missing |= other.data_->layers[i].batch_missing;
    data_->layers[i].unwatchable |= other.data_->layers[i].unwatchable;
    // What fired in neither part is in both lists.
    std::vector<std::int64_t> both;
    std::ranges::set_intersection(data_->layers[i].dead_by_sign, other.data_->layers[i].dead_by_sign,
                                  std::back_inserter(both));
    data_->layers[i].dead_by_sign = std::move(both);
  }
}

void AuditStatistics::require_counted_on(const Model& model, const Samples& samples) const {
  const auto require = [&](bool same, const std::string& what, const char* cure) {
    if (!same) throw Error(ErrorCode::InvalidData, "the statistics are of " + what, {.cure = cure});
  };
  require(data_->model_hash == sha256_hex(model.serialize()),
          fmt::format("another model ('{}', not '{}')", data_->model, model.name()),
          "give the model that was audited");
  require(data_->data_hash == samples.content_hash(),
          fmt::format("other data ('{}', not '{}')", data_->data, samples.description()),
          "give the data that were audited");
  require(data_->data_settings == samples.settings(), "the same data preprocessed in another way",
          "preprocess as the audit did");
}

const std::vector<SampleRange>& AuditStatistics::covered() const { return data_->covered; }

std::int64_t AuditStatistics::samples() const { return data_->samples; }

bool AuditStatistics::complete() const { return gaps(data_->covered, data_->samples).empty(); }

AuditReport AuditStatistics::report() const {
  if (!complete()) {
    throw Error(
        ErrorCode::InvalidData,
        fmt::format("{} of {} are missing", describe(gaps(data_->covered, data_->samples)), data_->samples),
        {.cure = "give every shard, and run those again that were interrupted"});
  }
  AuditReport report;
  report.model = data_->model;
  report.model_hash = data_->model_hash;
  report.data = data_->data;
  report.data_hash = data_->data_hash;
  report.isa = data_->isa;
  report.samples = data_->samples;
  report.samples_not_finite = data_->samples_not_finite;
  report.confidence = data_->confidence;
  report.groups = data_->group_count;
  report.notes = notes_of(*data_);
  judge_all(*data_, report);
  report.discovery = discover(*data_);
  report.findings = layer_findings(report);
  return report;
}

}  // namespace ember
