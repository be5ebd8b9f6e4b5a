#include <ember/prune.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "report/text_layout.hpp"
#include "report/verification_json.hpp"

namespace ember {

namespace {

using Json = nlohmann::ordered_json;

Json cost_json(const ModelCost& cost) {
  return {{"parameters", cost.parameters},
          {"parameter_bytes", cost.parameter_bytes},
          {"activation_bytes", cost.activation_bytes},
          {"flops", cost.flops},
          {"predicted_milliseconds", cost.predicted_milliseconds},
          {"milliseconds", cost.milliseconds}};
}

Json map_json(const std::vector<ChannelMap>& maps) {
  Json list = Json::array();
  for (const ChannelMap& map : maps) {
    Json json = {{"tensor", map.tensor}, {"axis", map.axis}};
    if (map.group >= 0) json["group"] = map.group;
    json["before"] = map.before;
    json["kept"] = map.kept;
    list.push_back(std::move(json));
  }
  return list;
}

Json removed_json(const RemovedChannel& channel) {
  Json json = {{"node", channel.node},
               {"value", channel.value},
               {"axis", channel.axis},
               {"index", channel.index},
               {"why", channel.why}};
  if (channel.constant) json["constant"] = *channel.constant;
  return json;
}

Json linearized_json(const LinearizedLayer& layer) {
  Json json = {{"node", layer.node},
               {"value", layer.value},
               {"active", layer.active},
               {"proved", layer.proved},
               {"gone", layer.gone},
               {"merged", layer.merged},
               {"saved_multiply_adds", layer.saved}};
  if (!layer.refusal.empty()) json["refusal"] = layer.refusal;
  return json;
}

Json kept_json(const KeptChannel& channel) {
  return {{"node", channel.node},   {"value", channel.value},   {"axis", channel.axis},
          {"index", channel.index}, {"holder", channel.holder}, {"why", channel.why}};
}

std::string dumped(const Json& json) {
  // A name in a model may be anything; what is not UTF-8 is shown as a replacement character.
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

/// "0, 3, 7 and 12 more".
std::string listed(const std::vector<std::int64_t>& indices) {
  constexpr std::size_t kMost = 12;
  std::string text;
  for (std::size_t i = 0; i < indices.size() && i < kMost; ++i)
    text += (text.empty() ? "" : ", ") + std::to_string(indices[i]);
  if (indices.size() > kMost) text += " and " + std::to_string(indices.size() - kMost) + " more";
  return text;
}

using ByLayer = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

void add(ByLayer& layers, const std::string& name, std::int64_t index) {
  const auto found = std::ranges::find(layers, name, &ByLayer::value_type::first);
  if (found != layers.end()) return found->second.push_back(index);
  layers.emplace_back(name, std::vector<std::int64_t>{index});
}

void removed_text(report::Page& page, const PruneResult& result) {
  ByLayer layers;
  for (const RemovedChannel& channel : result.removed) {
    const std::string& node = channel.node.empty() ? channel.value : channel.node;
    add(layers, fmt::format("{} ({})", node, channel.why), channel.index);
  }
  page.line("{} channels removed", report::grouped(static_cast<std::int64_t>(result.removed.size())));
  for (const auto& [name, indices] : layers) page.item(" ", 3, fmt::format("{}: {}", name, listed(indices)));
}

void kept_text(report::Page& page, const PruneResult& result) {
  if (result.kept.empty()) return;
  ByLayer layers;
  for (const KeptChannel& channel : result.kept) {
    const std::string holder = channel.holder.empty() ? "" : fmt::format("{}: ", channel.holder);
    add(layers, fmt::format("{} stays, since {}{}", channel.node, holder, channel.why), channel.index);
  }
  page.line("");
  page.line("{} constant channels kept", report::grouped(static_cast<std::int64_t>(result.kept.size())));
  for (const auto& [name, indices] : layers) page.item(" ", 3, fmt::format("{}: {}", name, listed(indices)));
}

void linearized_text(report::Page& page, const PruneResult& result) {
  if (result.linearized.empty()) return;
  page.line("");
  page.line("Stably active units (linear on the data, and wherever it was proved)");
  for (const LinearizedLayer& layer : result.linearized) {
    const std::string known =
        fmt::format("{}: {} active, {} of them proved: ", layer.node, layer.active, layer.proved);
    if (!layer.refusal.empty()) page.item(" ", 3, known + "they stay, since " + layer.refusal);
    else if (layer.merged)
      page.item(" ", 3,
                known + fmt::format("the layer is merged into the next, {} multiply-adds less",
                                    report::grouped(layer.saved)));
    else
      page.item(" ", 3,
                known + fmt::format("the others take over {}, {} multiply-adds less", listed(layer.gone),
                                    report::grouped(layer.saved)));
  }
}

void cost_text(report::Page& page, const PruneResult& result) {
  const auto row = [&](const char* name, double from, double to, bool whole) {
    const auto shown = [&](double value) {
      return whole ? report::grouped(std::llround(value)) : fmt::format("{:.4g}", value);
    };
    page.line("{:<18}{:>16}{:>16}{:>10}", name, shown(from), shown(to),
              from > 0 ? fmt::format("{:+.1f}%", 100 * (to - from) / from) : std::string());
  };
  page.line("");
  page.line("{:<18}{:>16}{:>16}", "", "before", "after");
  row("parameters", static_cast<double>(result.before.parameters),
      static_cast<double>(result.after.parameters), true);
  row("parameter bytes", static_cast<double>(result.before.parameter_bytes),
      static_cast<double>(result.after.parameter_bytes), true);
  row("activation bytes", static_cast<double>(result.before.activation_bytes),
      static_cast<double>(result.after.activation_bytes), true);
  row("FLOPs", result.before.flops, result.after.flops, true);
  row("ms, predicted", result.before.predicted_milliseconds, result.after.predicted_milliseconds, false);
  row("ms, measured", result.before.milliseconds, result.after.milliseconds, false);
}

}  // namespace

std::string channel_map_json(const PruneResult& result) {
  return dumped({{"schema", "ember-channel-map-1"}, {"tensors", map_json(result.map)}});
}

std::string to_json(const PruneResult& result, const Verification* verification) {
  Json json = {{"schema", "ember-prune-1"},
               {"round", result.round},
               {"removed", Json::array()},
               {"kept", Json::array()}};
  for (const RemovedChannel& channel : result.removed) json["removed"].push_back(removed_json(channel));
  for (const KeptChannel& channel : result.kept) json["kept"].push_back(kept_json(channel));
  if (!result.linearized.empty()) json["linearized"] = Json::array();
  for (const LinearizedLayer& layer : result.linearized) json["linearized"].push_back(linearized_json(layer));
  json["before"] = cost_json(result.before);
  json["after"] = cost_json(result.after);
  json["map"] = map_json(result.map);
  json["notes"] = result.notes;
  if (verification != nullptr) json["verification"] = report::verification_json(*verification);
  return dumped(json);
}

std::string to_text(const PruneResult& result, const TextReportOptions& options) {
  report::Page page(options.width, options.color);
  removed_text(page, result);
  kept_text(page, result);
  linearized_text(page, result);
  cost_text(page, result);
  for (const std::string& note : result.notes) page.item("-", 1, note);
  return page.take();
}

}  // namespace ember
