#include "report/cause_json.hpp"

#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/cause_text.hpp"
#include "report/json_number.hpp"

namespace ember::report {

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Counterfactual& c) {
  Json json = {{"edit", to_string(c.edit)}};
  if (!c.tensor.empty()) json["tensor"] = c.tensor;
  if (c.edit != Edit::UpstreamMeans && c.edit != Edit::NegateWeights) {
    json["from"] = json_number(c.from);
    json["to"] = json_number(c.to);
  }
  if (c.edit == Edit::BatchNormStatistics) {
    json["variance_from"] = json_number(c.variance_from);
    json["variance_to"] = json_number(c.variance_to);
  }
  json["samples"] = c.samples;
  json["samples_fired"] = c.samples_fired;
  json["samples_fired_before"] = c.samples_fired_before;
  return json;
}

/// The value of an enumeration, up to `last`, that is called what stands at `key`.
template <class Enum>
Enum read_name(const JsonObject& from, const std::string& key, Enum last) {
  const std::string name = from.text(key);
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (name == to_string(static_cast<Enum>(i))) return static_cast<Enum>(i);
  }
  from.refuse(key, fmt::format("is '{}', which this ember does not know", name));
}

Counterfactual read_counterfactual(const JsonObject& from) {
  Counterfactual c;
  c.edit = read_name(from, "edit", Edit::Bias);
  if (from.has("tensor")) c.tensor = from.text("tensor");
  if (from.has("from")) c.from = from.number("from");
  if (from.has("to")) c.to = from.number("to");
  if (from.has("variance_from")) c.variance_from = from.number("variance_from");
  if (from.has("variance_to")) c.variance_to = from.number("variance_to");
  c.samples = from.count("samples");
  c.samples_fired = from.count("samples_fired");
  c.samples_fired_before = from.count("samples_fired_before");
  return c;
}

}  // namespace

Json to_json(const Explanation& explanation) {
  Json json = {{"kind", to_string(explanation.cause)},
               {"text", cause_text(explanation)},
               {"remedy", to_string(explanation.remedy)},
               {"counterfactual", to_json(explanation.counterfactual)}};
  if (explanation.cause == Cause::BiasDominated) json["deviations"] = json_number(explanation.deviations);
  for (const StarvedBy& each : explanation.starved_by) {
    json["starved_by"].push_back(
        {{"node", each.node}, {"channels", each.channels}, {"mean", json_number(each.mean)}});
  }
  return json;
}

Json to_json(const Finding& finding) {
  return {{"kind", to_string(finding.kind)},
          {"node", finding.node},
          {"channels", finding.channels},
          {"samples", finding.samples},
          {"text", finding_text(finding)}};
}

Explanation read_explanation(const JsonObject& from) {
  Explanation explanation;
  explanation.cause = read_name(from, "kind", Cause::NegativeAlignment);
  explanation.remedy = read_name(from, "remedy", Remedy::RaiseBias);
  explanation.counterfactual = read_counterfactual(from.object("counterfactual"));
  if (from.has("deviations")) explanation.deviations = from.number("deviations");
  if (from.has("starved_by")) {
    from.objects("starved_by", [&](const JsonObject& each) {
      explanation.starved_by.push_back(
          {.node = each.text("node"), .channels = each.counts("channels"), .mean = each.number("mean")});
    });
  }
  return explanation;
}

Finding read_finding(const JsonObject& from) {
  return {.kind = read_name(from, "kind", Finding::Kind::Preprocessing),
          .node = from.text("node"),
          .channels = from.count("channels"),
          .samples = from.count("samples")};
}

}  // namespace ember::report
