#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <ember/audit.hpp>

#include "report/cause_json.hpp"
#include "report/gradient_json.hpp"
#include "report/json_writer.hpp"

namespace ember {

namespace {

using report::JsonWriter;
using Json = nlohmann::ordered_json;

/// JSON has no NaN and no infinity: null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

void write_moments(JsonWriter& out, double min, double max, double sum, double sum_squares) {
  out.member("min", min);
  out.member("max", max);
  out.member("sum", sum);
  out.member("sum_squares", sum_squares);
}

void write_channel(JsonWriter& out, const ChannelReport& channel) {
  const ChannelStatistics& s = channel.statistics;
  out.begin_object();
  out.member("index", channel.index);
  out.member("fingerprint", channel.fingerprint);
  out.member("verdict", to_string(channel.verdict));
  out.member("samples", s.samples);
  out.member("samples_fired", s.samples_fired);
  out.key("first_fired");
  if (s.first_fired < 0) out.null();
  else out.value(s.first_fired);
  out.member("samples_saturated", s.samples_saturated);
  out.member("positions", s.positions);
  out.member("positions_fired", s.positions_fired);
  out.member("positions_saturated", s.positions_saturated);
  out.member("not_finite", s.not_finite);
  out.member("dormancy", channel.dormancy);
  if (channel.verdict == Verdict::Silent || channel.verdict == Verdict::Rare) {
    out.member("rate_bound", channel.rate_bound);
  }
  if (channel.proof != Proof::None) out.member("proof", to_string(channel.proof));
  if (std::isfinite(channel.bound_lower)) out.member("bound_lower", channel.bound_lower);
  if (std::isfinite(channel.bound_upper)) out.member("bound_upper", channel.bound_upper);
  if (channel.witness >= 0) out.member("witness", channel.witness);
  if (s.groups > 0) {
    out.member("groups", s.groups);
    out.member("groups_fired", s.groups_fired);
  }
  out.key("pre");
  out.begin_object();
  write_moments(out, s.pre_min, s.pre_max, s.pre_sum, s.pre_sum_squares);
  out.end_object();
  out.key("out");
  out.begin_object();
  write_moments(out, s.out_min, s.out_max, s.out_sum, s.out_sum_squares);
  out.member("sum_abs", s.out_sum_abs);
  out.end_object();
  if (channel.gradient.samples > 0) out.member("gradient", report::to_json(channel.gradient));
  if (channel.explanation.cause != Cause::None) out.member("cause", report::to_json(channel.explanation));
  out.end_object();
}

Json discovery_json(const Discovery& discovery) {
  Json json = {{"trial", discovery.by_group ? "group" : "sample"},
               {"trials", discovery.trials},
               {"channels", discovery.channels},
               {"fired", discovery.fired},
               {"fired_once", discovery.fired_once},
               {"fired_twice", discovery.fired_twice},
               {"expected_next", number(discovery.expected_next)},
               {"still_to_wake", number(discovery.still_to_wake)},
               {"curve", Json::array()}};
  for (const Discovery::Point& point : discovery.curve) {
    json["curve"].push_back({{"trials", point.trials}, {"fired", point.fired}});
  }
  return json;
}

template <class Counted>
Json counts(const Counted& counted, std::int64_t channels) {
  Json json = {{"channels", channels}};
  for (const Verdict verdict :
       {Verdict::ProvedDead, Verdict::Silent, Verdict::Refuted, Verdict::Rare, Verdict::Dormant,
        Verdict::Constant, Verdict::Saturated, Verdict::AlwaysOn, Verdict::Healthy}) {
    json[to_string(verdict)] = counted.count(verdict);
  }
  return json;
}

Json proof_json(const AuditReport& report) {
  const ProofReport& proof = *report.proof;
  Json json = {{"domain", proof.domain},
               {"from_data", proof.from_data},
               {"seconds", number(proof.seconds)},
               {"complete", proof.complete}};
  json["lower"] = number(proof.lower);
  json["upper"] = number(proof.upper);
  json["samples_outside"] = proof.samples_outside;
  json["channels_contradicted"] = proof.channels_contradicted;
  json["always_on_refuted"] = proof.always_on_refuted;
  json["witnesses"] = Json::array();
  for (const Witness& witness : report.witnesses) {
    json["witnesses"].push_back(
        {{"node", witness.node}, {"channel", witness.channel}, {"value", number(witness.value)}});
  }
  return json;
}

void write_layer(JsonWriter& out, const LayerReport& layer) {
  out.begin_object();
  out.member("node", layer.node);
  out.member("op", layer.op);
  out.member("value", layer.value);
  out.member("fingerprint", layer.fingerprint);
  if (!layer.pattern.empty()) out.member("pattern", Json(layer.pattern));
  out.member("channel_axis", layer.channel_axis);
  out.member("predecessors", Json(layer.predecessors));
  out.member("reads_input", layer.reads_input);
  out.member("feeds_output", layer.feeds_output);
  out.member("summary", counts(layer, static_cast<std::int64_t>(layer.channels.size())));
  if (layer.gradient) out.member("gradient", report::to_json(*layer.gradient));
  out.key("channels");
  out.begin_array();
  for (const ChannelReport& channel : layer.channels) write_channel(out, channel);
  out.end_array();
  out.end_object();
}

}  // namespace

std::string to_json(const AuditReport& report) {
  Json head = {{"schema", "ember-audit-1"},
               {"model", report.model},
               {"model_sha256", report.model_hash},
               {"data", report.data},
               {"data_sha256", report.data_hash},
               {"isa", report.isa},
               {"samples", report.samples},
               {"samples_not_finite", report.samples_not_finite},
               {"confidence", report.confidence},
               {"groups", report.groups},
               {"discovery", discovery_json(report.discovery)},
               {"explain_samples", report.explain_samples},
               {"findings", Json::array()},
               {"notes", report.notes},
               {"summary", counts(report, report.channels())}};
  for (const Finding& finding : report.findings) head["findings"].push_back(report::to_json(finding));
  if (report.proof) head["proof"] = proof_json(report);
  if (report.gradient) head["gradient"] = report::to_json(*report.gradient);
  JsonWriter out;
  // Long texts grow by copying themselves.
  constexpr std::size_t kChannelBytes = 720;
  out.reserve(kChannelBytes * static_cast<std::size_t>(report.channels()));
  out.begin_object();
  out.members(head);
  out.key("layers");
  out.begin_array();
  for (const LayerReport& layer : report.layers()) write_layer(out, layer);
  out.end_array();
  out.end_object();
  return std::move(out).take();
}

}  // namespace ember
