#include <cmath>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/report.hpp>

#include "data/byte_reader.hpp"
#include "report/cause_json.hpp"
#include "report/gradient_json.hpp"
#include "report/json_object.hpp"

// The way back from json.cpp: one function per object, in the same order.

namespace ember {

namespace {

using nlohmann::json;
using report::JsonObject;

Verdict read_verdict(const JsonObject& from, const std::string& key) {
  const std::string name = from.text(key);
  for (int i = 0; i <= static_cast<int>(Verdict::Healthy); ++i) {
    if (name == to_string(static_cast<Verdict>(i))) return static_cast<Verdict>(i);
  }
  from.refuse(key, fmt::format("is '{}', which is no verdict", name));
}

Proof read_proof_kind(const JsonObject& from, const std::string& key) {
  const std::string name = from.text(key);
  for (int i = 0; i <= static_cast<int>(Proof::Splitting); ++i) {
    if (name == to_string(static_cast<Proof>(i))) return static_cast<Proof>(i);
  }
  from.refuse(key, fmt::format("is '{}', which is no kind of proof", name));
}

ChannelStatistics read_statistics(const JsonObject& from) {
  ChannelStatistics s;
  s.samples = from.count("samples");
  s.samples_fired = from.count("samples_fired");
  if (from.has("first_fired")) {
    const double first = from.number("first_fired");
    s.first_fired = std::isnan(first) ? -1 : from.count("first_fired");
  }
  if (from.has("groups")) {
    s.groups = from.count("groups");
    s.groups_fired = from.count("groups_fired");
  }
  s.samples_saturated = from.count("samples_saturated");
  s.positions = from.count("positions");
  s.positions_fired = from.count("positions_fired");
  s.positions_saturated = from.count("positions_saturated");
  s.not_finite = from.count("not_finite");
  if (s.samples_fired > s.samples) from.refuse("samples_fired", "is more than 'samples'");
  const JsonObject pre = from.object("pre");
  s.pre_min = pre.number("min");
  s.pre_max = pre.number("max");
  s.pre_sum = pre.number("sum");
  s.pre_sum_squares = pre.number("sum_squares");
  const JsonObject out = from.object("out");
  s.out_min = out.number("min");
  s.out_max = out.number("max");
  s.out_sum = out.number("sum");
  s.out_sum_squares = out.number("sum_squares");
  s.out_sum_abs = out.number("sum_abs");
  return s;
}

Discovery read_discovery(const JsonObject& from) {
  Discovery discovery;
  discovery.by_group = from.text("trial") == "group";
  discovery.trials = from.count("trials");
  discovery.channels = from.count("channels");
  discovery.fired = from.count("fired");
  discovery.fired_once = from.count("fired_once");
  discovery.fired_twice = from.count("fired_twice");
  discovery.expected_next = from.number("expected_next");
  discovery.still_to_wake = from.number("still_to_wake");
  from.objects("curve", [&](const JsonObject& point) {
    discovery.curve.push_back({point.count("trials"), point.count("fired")});
  });
  return discovery;
}

ChannelReport read_channel(const JsonObject& from) {
  ChannelReport channel;
  channel.index = from.count("index");
  if (from.has("fingerprint")) channel.fingerprint = from.text("fingerprint");
  channel.verdict = read_verdict(from, "verdict");
  if (from.has("proof")) channel.proof = read_proof_kind(from, "proof");
  if (from.has("bound_lower")) channel.bound_lower = from.number("bound_lower");
  if (from.has("bound_upper")) channel.bound_upper = from.number("bound_upper");
  if (from.has("witness")) channel.witness = from.count("witness");
  channel.statistics = read_statistics(from);
  channel.dormancy = from.number("dormancy");
  if (from.has("rate_bound")) channel.rate_bound = from.number("rate_bound");
  if (from.has("gradient")) channel.gradient = report::read_channel_gradient(from.object("gradient"));
  if (from.has("cause")) channel.explanation = report::read_explanation(from.object("cause"));
  return channel;
}

LayerReport read_layer(const JsonObject& from) {
  LayerReport layer;
  layer.node = from.text("node");
  layer.op = from.text("op");
  layer.value = from.text("value");
  if (from.has("fingerprint")) layer.fingerprint = from.text("fingerprint");
  if (from.has("pattern")) layer.pattern = from.texts("pattern");
  layer.channel_axis = static_cast<int>(from.integer("channel_axis"));
  if (from.has("predecessors")) layer.predecessors = from.counts("predecessors");
  if (from.has("reads_input")) layer.reads_input = from.flag("reads_input");
  if (from.has("feeds_output")) layer.feeds_output = from.flag("feeds_output");
  if (from.has("gradient")) layer.gradient = report::read_layer_gradient(from.object("gradient"));
  from.objects("channels", [&](const JsonObject& channel) {
    layer.channels.push_back(read_channel(channel));
    if (layer.channels.back().index + 1 != static_cast<std::int64_t>(layer.channels.size())) {
      channel.refuse("index", "is out of order: channels are listed from 0 on without a gap");
    }
  });
  return layer;
}

/// The witnesses' inputs are not part of a report: they stay empty.
void read_proof(const JsonObject& from, AuditReport& report) {
  ProofReport& proof = report.proof.emplace();
  proof.domain = from.text("domain");
  proof.from_data = from.flag("from_data");
  proof.seconds = from.number("seconds");
  proof.complete = from.flag("complete");
  if (from.has("lower")) proof.lower = from.number("lower");
  if (from.has("upper")) proof.upper = from.number("upper");
  if (from.has("samples_outside")) proof.samples_outside = from.count("samples_outside");
  if (from.has("channels_contradicted")) proof.channels_contradicted = from.count("channels_contradicted");
  if (from.has("always_on_refuted")) proof.always_on_refuted = from.count("always_on_refuted");
  from.objects("witnesses", [&](const JsonObject& witness) {
    report.witnesses.push_back({.node = witness.text("node"),
                                .channel = witness.count("channel"),
                                .input = {},
                                .value = witness.number("value")});
  });
}

AuditReport read_report(const JsonObject& from) {
  constexpr const char* kSchema = "ember-audit-1";
  const std::string schema = from.text("schema");
  if (schema != kSchema) {
    from.refuse("schema", fmt::format("is '{}'; this ember reads '{}'", schema, kSchema));
  }
  AuditReport report;
  report.model = from.text("model");
  report.model_hash = from.text("model_sha256");
  report.data = from.text("data");
  report.data_hash = from.text("data_sha256");
  report.isa = from.text("isa");
  report.samples = from.count("samples");
  report.samples_not_finite = from.count("samples_not_finite");
  report.confidence = from.number("confidence");
  if (from.has("groups")) report.groups = from.count("groups");
  if (from.has("discovery")) report.discovery = read_discovery(from.object("discovery"));
  if (from.has("explain_samples")) report.explain_samples = from.count("explain_samples");
  if (from.has("findings")) {
    from.objects("findings", [&](const JsonObject& finding) {
      report.findings.push_back(report::read_finding(finding));
    });
  }
  report.notes = from.texts("notes");
  if (from.has("proof")) read_proof(from.object("proof"), report);
  if (from.has("gradient")) report.gradient = report::read_gradient(from.object("gradient"));
  from.objects("layers", [&](const JsonObject& layer) {
    const auto place = static_cast<std::int64_t>(report.layer_reports.size());
    report.layer_reports.push_back(read_layer(layer));
    for (const std::int64_t before : report.layer_reports.back().predecessors) {
      if (before >= place)
        layer.refuse("predecessors", fmt::format("names layer {}, which does not come before", before));
    }
  });
  return report;
}

}  // namespace

AuditReport report_from_json(std::string_view text, const std::string& name) {
  try {
    const json document = json::parse(text);
    return read_report(JsonObject(document, ""));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::InvalidData, fmt::format("'{}' is not valid JSON: {}", name, error.what()),
                {.cure = "give a report that 'ember audit --json FILE' wrote"});
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("'{}' is not an audit report: {}", name, error.reason()),
                {.cure = "give a report that 'ember audit --json FILE' wrote"});
  }
}

AuditReport report_from_json_file(const std::filesystem::path& file) {
  const std::vector<std::byte> bytes = data::read_file(file);
  return report_from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
}

}  // namespace ember
