#include <cmath>

#include <nlohmann/json.hpp>

#include <ember/audit.hpp>

#include "report/cause_json.hpp"
#include "report/gradient_json.hpp"

namespace ember {

namespace {

using Json = nlohmann::ordered_json;

/// JSON has no NaN and no infinity: null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json moments(double min, double max, double sum, double sum_squares) {
  return {
      {"min", number(min)}, {"max", number(max)}, {"sum", number(sum)}, {"sum_squares", number(sum_squares)}};
}

Json channel_json(const ChannelReport& channel) {
  const ChannelStatistics& s = channel.statistics;
  Json json = {{"index", channel.index},
               {"fingerprint", channel.fingerprint},
               {"verdict", to_string(channel.verdict)},
               {"samples", s.samples},
               {"samples_fired", s.samples_fired},
               {"first_fired", s.first_fired < 0 ? Json(nullptr) : Json(s.first_fired)},
               {"samples_saturated", s.samples_saturated},
               {"positions", s.positions},
               {"positions_fired", s.positions_fired},
               {"positions_saturated", s.positions_saturated},
               {"not_finite", s.not_finite},
               {"dormancy", number(channel.dormancy)}};
  if (channel.verdict == Verdict::Silent || channel.verdict == Verdict::Rare) {
    json["rate_bound"] = number(channel.rate_bound);
  }
  if (channel.proof != Proof::None) json["proof"] = to_string(channel.proof);
  if (std::isfinite(channel.bound_lower)) json["bound_lower"] = channel.bound_lower;
  if (std::isfinite(channel.bound_upper)) json["bound_upper"] = channel.bound_upper;
  if (channel.witness >= 0) json["witness"] = channel.witness;
  if (s.groups > 0) {
    json["groups"] = s.groups;
    json["groups_fired"] = s.groups_fired;
  }
  json["pre"] = moments(s.pre_min, s.pre_max, s.pre_sum, s.pre_sum_squares);
  json["out"] = moments(s.out_min, s.out_max, s.out_sum, s.out_sum_squares);
  json["out"]["sum_abs"] = number(s.out_sum_abs);
  if (channel.gradient.samples > 0) json["gradient"] = report::to_json(channel.gradient);
  if (channel.explanation.cause != Cause::None) json["cause"] = report::to_json(channel.explanation);
  return json;
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

Json layer_json(const LayerReport& layer) {
  Json json = {
      {"node", layer.node}, {"op", layer.op}, {"value", layer.value}, {"fingerprint", layer.fingerprint}};
  if (!layer.pattern.empty()) json["pattern"] = layer.pattern;
  json["channel_axis"] = layer.channel_axis;
  json["predecessors"] = layer.predecessors;
  json["reads_input"] = layer.reads_input;
  json["feeds_output"] = layer.feeds_output;
  json["summary"] = counts(layer, static_cast<std::int64_t>(layer.channels.size()));
  if (layer.gradient) json["gradient"] = report::to_json(*layer.gradient);
  json["channels"] = Json::array();
  for (const ChannelReport& channel : layer.channels) json["channels"].push_back(channel_json(channel));
  return json;
}

}  // namespace

std::string to_json(const AuditReport& report) {
  Json json = {{"schema", "ember-audit-1"},
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
  if (report.proof) json["proof"] = proof_json(report);
  if (report.gradient) json["gradient"] = report::to_json(*report.gradient);
  json["layers"] = Json::array();
  for (const Finding& finding : report.findings) json["findings"].push_back(report::to_json(finding));
  for (const LayerReport& layer : report.layers()) json["layers"].push_back(layer_json(layer));
  // A name in a model may be anything; what is not UTF-8 is shown as a replacement character.
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ember
