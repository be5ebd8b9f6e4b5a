#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ember/report.hpp>

#include "core/sha256.hpp"
#include "report/text_layout.hpp"
#include "report/verdict_text.hpp"

namespace ember {

namespace {

using Json = nlohmann::ordered_json;
using report::kVerdictTexts;
using report::VerdictText;

const char* level(Verdict verdict) {
  switch (verdict) {
    case Verdict::ProvedDead:
    case Verdict::Silent:
    case Verdict::Constant:
    case Verdict::Saturated: return "warning";
    default: return "note";
  }
}

/// RFC 3986: a relative reference, or a file: URI for an absolute path.
std::string uri_of(std::string_view path) {
  std::string uri = path.starts_with('/') ? "file://" : "";
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/-._~").find(c) != std::string_view::npos;
    if (plain) uri += c;
    else uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri;
}

Json rule(const VerdictText& text) {
  return {{"id", to_string(text.verdict)},
          {"shortDescription", {{"text", fmt::format("{} channels", text.title)}}},
          {"fullDescription", {{"text", fmt::format("The channel {}", text.meaning)}}},
          {"help",
           {{"text", fmt::format("The channel {} {}", text.meaning, text.remedy)},
            {"markdown", fmt::format("The channel {}\n\n**What to do:** {}", text.meaning, text.remedy)}}},
          {"defaultConfiguration", {{"level", level(text.verdict)}}}};
}

Json rules() {
  Json list = Json::array();
  for (const VerdictText& text : kVerdictTexts) {
    if (text.verdict != Verdict::Healthy) list.push_back(rule(text));
  }
  return list;
}

std::size_t rule_index(Verdict verdict) {
  std::size_t index = 0;
  while (kVerdictTexts[index].verdict != verdict) ++index;
  return index;
}

/// "5 of 64 channels of the Relu are silent, 2 rare". Channel indices would make an old result look new.
std::string message(const LayerReport& layer) {
  std::string text;
  for (const VerdictText& each : kVerdictTexts) {
    const std::int64_t n = layer.count(each.verdict);
    if (n == 0 || each.verdict == Verdict::Healthy) continue;
    text += text.empty() ? fmt::format("{} of {} channels of {} '{}': {}", report::grouped(n),
                                       report::grouped(static_cast<std::int64_t>(layer.channels.size())),
                                       layer.op, layer.node, to_string(each.verdict))
                         : fmt::format("; {} {}", report::grouped(n), to_string(each.verdict));
  }
  return text + ".";
}

Json properties(const LayerReport& layer) {
  Json channels = Json::object();
  double bound = 0.0;
  for (const ChannelReport& channel : layer.channels) {
    if (channel.verdict == Verdict::Healthy) continue;
    channels[to_string(channel.verdict)].push_back(channel.index);
    if (channel.verdict == Verdict::Silent) bound = std::max(bound, channel.rate_bound);
  }
  Json result = {{"op", layer.op}, {"channelCount", layer.channels.size()}, {"channels", channels}};
  if (bound > 0.0 && std::isfinite(bound)) result["silentRateBound"] = bound;
  return result;
}

/// A hash of the weights of all channels, whatever their order.
std::string weights_hash(const LayerReport& layer) {
  std::vector<std::string> prints;
  for (const ChannelReport& channel : layer.channels) prints.push_back(channel.fingerprint);
  std::ranges::sort(prints);
  Sha256 hash;
  for (const std::string& print : prints) hash.update(std::as_bytes(std::span(print)));
  return hash.hex();
}

class Writer {
 public:
  explicit Writer(const AuditReport& report) : report_(report), uri_(uri_of(report.model)) {}

  std::string write() {
    Json results = Json::array();
    for (const LayerReport& layer : report_.layers()) {
      if (layer.count(Verdict::Healthy) != static_cast<std::int64_t>(layer.channels.size())) {
        results.push_back(result(layer));
      }
    }
    const Json run = {
        {"tool", {{"driver", {{"name", "ember"}, {"version", EMBER_VERSION}, {"rules", rules()}}}}},
        {"invocations", Json::array({invocation()})},
        {"artifacts", Json::array({{{"location", {{"uri", uri_}}}, {"roles", {"analysisTarget"}}}})},
        {"results", results},
        {"properties", run_properties()}};
    const Json log = {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
                      {"version", "2.1.0"},
                      {"runs", Json::array({run})}};
    return log.dump(1, ' ', false, Json::error_handler_t::replace);
  }

 private:
  [[nodiscard]] Json invocation() const {
    Json notifications = Json::array();
    for (const std::string& note : report_.notes) {
      notifications.push_back({{"level", "note"}, {"message", {{"text", note}}}});
    }
    return {{"executionSuccessful", true}, {"toolExecutionNotifications", notifications}};
  }

  [[nodiscard]] Json run_properties() const {
    return {{"modelSha256", report_.model_hash}, {"data", report_.data},
            {"dataSha256", report_.data_hash},   {"samples", report_.samples},
            {"confidence", report_.confidence},  {"isa", report_.isa}};
  }

  Json result(const LayerReport& layer) {
    Verdict worst = Verdict::Healthy;
    for (const ChannelReport& channel : layer.channels) worst = std::min(worst, channel.verdict);
    // Scanners that show results in the source want a line; a model has no other than its first.
    const Json file = {{"artifactLocation", {{"uri", uri_}, {"index", 0}}}, {"region", {{"startLine", 1}}}};
    const Json node = {{"name", layer.node}, {"fullyQualifiedName", layer.node}, {"kind", "function"}};
    return {
        {"ruleId", to_string(worst)},
        {"ruleIndex", rule_index(worst)},
        {"level", level(worst)},
        {"message", {{"text", message(layer)}}},
        {"locations", Json::array({{{"physicalLocation", file}, {"logicalLocations", Json::array({node})}}})},
        {"partialFingerprints", fingerprints(layer)},
        {"properties", properties(layer)}};
  }

  /// Layers alike in all that is hashed are told apart by their order.
  Json fingerprints(const LayerReport& layer) {
    const std::string weights = weights_hash(layer);
    const std::string structure = layer.fingerprint.empty() ? layer.node : layer.fingerprint;
    return {{"layerStructure/v1", fmt::format("{}:{}", structure, ++seen_[structure])},
            {"layerWeights/v1", fmt::format("{}:{}", weights, ++seen_[weights])}};
  }

  const AuditReport& report_;
  std::string uri_;
  std::map<std::string, int> seen_;
};

}  // namespace

std::string to_sarif(const AuditReport& report) { return Writer(report).write(); }

}  // namespace ember
