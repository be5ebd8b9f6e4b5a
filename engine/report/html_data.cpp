#include "report/html_data.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/cause_text.hpp"
#include "report/verdict_text.hpp"

namespace ember::report {

namespace {

using Json = nlohmann::ordered_json;

/// Four digits of a number, as short as JSON can write them.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<std::int64_t>(value);
  return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr);
}

double deviation(double sum, double sum_squares, double count) {
  return std::sqrt(std::max(0.0, sum_squares / count - (sum / count) * (sum / count)));
}

template <class Get>
Json column(const LayerReport& layer, Get&& get) {
  Json values = Json::array();
  bool same = true;
  for (const ChannelReport& channel : layer.channels) {
    values.push_back(get(channel));
    same = same && values.back() == values.front();
  }
  return same && !values.empty() ? Json(values.front()) : values;
}

/// A column of what the statistics of a channel with finite values show.
template <class Get>
Json moment(const LayerReport& layer, Get&& get) {
  return column(layer, [&](const ChannelReport& channel) {
    const ChannelStatistics& s = channel.statistics;
    const auto finite = static_cast<double>(s.positions - s.not_finite);
    return finite > 0 ? rounded(get(s, finite)) : Json(nullptr);
  });
}

template <class Get>
Json count(const LayerReport& layer, Get&& get) {
  return column(layer, [&](const ChannelReport& channel) { return Json(get(channel)); });
}

std::size_t place_of(Verdict verdict) {
  const auto* found = std::ranges::find(kVerdictTexts, verdict, &VerdictText::verdict);
  return static_cast<std::size_t>(found - kVerdictTexts.begin());
}

void add_gradients(Json& data, const LayerReport& layer) {
  data["gradientSamples"] = count(layer, [](const ChannelReport& c) { return c.gradient.samples; });
  data["gradientArrived"] = count(layer, [](const ChannelReport& c) { return c.gradient.samples_nonzero; });
  data["gradientNorm"] = column(layer, [](const ChannelReport& c) { return rounded(c.gradient.norm); });
}

Json layer_data(const LayerReport& layer) {
  Json data = {{"node", layer.node},         {"op", layer.op},
               {"value", layer.value},       {"predecessors", layer.predecessors},
               {"input", layer.reads_input}, {"output", layer.feeds_output}};
  std::string verdicts;
  for (const ChannelReport& channel : layer.channels) {
    verdicts += static_cast<char>('0' + place_of(channel.verdict));
  }
  data["verdicts"] = verdicts;
  data["index"] = Json::array();
  for (std::size_t i = 0; i < layer.channels.size(); ++i) {
    if (layer.channels[i].index == static_cast<std::int64_t>(i)) continue;
    data["index"] = count(layer, [](const ChannelReport& c) { return c.index; });
    break;
  }
  data["samples"] = count(layer, [](const ChannelReport& c) { return c.statistics.samples; });
  data["fired"] = count(layer, [](const ChannelReport& c) { return c.statistics.samples_fired; });
  data["saturated"] = count(layer, [](const ChannelReport& c) { return c.statistics.samples_saturated; });
  data["positions"] = count(layer, [](const ChannelReport& c) { return c.statistics.positions; });
  data["active"] = count(layer, [](const ChannelReport& c) { return c.statistics.positions_fired; });
  data["unseen"] = count(layer, [](const ChannelReport& c) { return c.statistics.not_finite; });
  data["bound"] = column(layer, [](const ChannelReport& c) { return rounded(c.rate_bound); });
  data["dormancy"] = column(layer, [](const ChannelReport& c) { return rounded(c.dormancy); });
  using Statistics = ChannelStatistics;
  data["preMin"] = moment(layer, [](const Statistics& s, double) { return s.pre_min; });
  data["preMax"] = moment(layer, [](const Statistics& s, double) { return s.pre_max; });
  data["preMean"] = moment(layer, [](const Statistics& s, double n) { return s.pre_sum / n; });
  data["preDeviation"] =
      moment(layer, [](const Statistics& s, double n) { return deviation(s.pre_sum, s.pre_sum_squares, n); });
  data["outMin"] = moment(layer, [](const Statistics& s, double) { return s.out_min; });
  data["outMax"] = moment(layer, [](const Statistics& s, double) { return s.out_max; });
  data["outMean"] = moment(layer, [](const Statistics& s, double n) { return s.out_sum / n; });
  for (std::size_t i = 0; i < layer.channels.size(); ++i) {
    const Explanation& why = layer.channels[i].explanation;
    if (why.cause == Cause::None) continue;
    data["causes"].push_back({i, to_string(why.cause), cause_text(why), remedy_text(why.remedy)});
  }
  return data;
}

}  // namespace

std::string page_data(const AuditReport& report) {
  Json data = {{"samples", report.samples}, {"confidence", report.confidence}, {"verdicts", Json::array()}};
  for (const VerdictText& text : kVerdictTexts) {
    data["verdicts"].push_back({{"key", to_string(text.verdict)},
                                {"title", text.title},
                                {"meaning", text.meaning},
                                {"remedy", text.remedy}});
  }
  data["layers"] = Json::array();
  for (const LayerReport& layer : report.layers()) {
    data["layers"].push_back(layer_data(layer));
    if (report.gradient) add_gradients(data["layers"].back(), layer);
  }
  // Outside of its strings JSON has none of the characters that could end the script element.
  std::string safe;
  for (const char c : data.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (c == '<') safe += "\\u003c";
    else if (c == '>') safe += "\\u003e";
    else if (c == '&') safe += "\\u0026";
    else safe += c;
  }
  return safe;
}

}  // namespace ember::report
