#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ember/compare.hpp>

namespace ember {

namespace {

using Json = nlohmann::ordered_json;

Json audit_json(const ComparedAudit& audit) {
  return {{"model", audit.model},           {"model_sha256", audit.model_hash}, {"data", audit.data},
          {"data_sha256", audit.data_hash}, {"samples", audit.samples},         {"channels", audit.channels},
          {"unhealthy", audit.unhealthy}};
}

Json changes_json(const std::vector<ChannelChange>& changes) {
  Json list = Json::array();
  for (const ChannelChange& change : changes) {
    Json json = {{"change", to_string(change.change)}};
    if (change.before_index) json["before_index"] = *change.before_index;
    if (change.after_index) json["after_index"] = *change.after_index;
    if (change.before) json["before"] = to_string(*change.before);
    if (change.after) json["after"] = to_string(*change.after);
    list.push_back(json);
  }
  return list;
}

Json layer_json(const LayerComparison& layer) {
  return {{"before_node", layer.before_node},
          {"after_node", layer.after_node},
          {"op", layer.op},
          {"channels_before", layer.channels_before},
          {"channels_after", layer.channels_after},
          {"weights_changed", layer.weights_changed},
          {"changes", changes_json(layer.changes)}};
}

Json layers_json(const std::vector<LayerOnce>& layers) {
  Json list = Json::array();
  for (const LayerOnce& layer : layers) {
    list.push_back({{"node", layer.node},
                    {"op", layer.op},
                    {"channels", layer.channels},
                    {"changes", changes_json(layer.unhealthy)}});
  }
  return list;
}

}  // namespace

std::string to_json(const AuditComparison& comparison) {
  Json summary = Json::object();
  for (const Change change :
       {Change::NewlyUnhealthy, Change::Recovered, Change::Other, Change::Added, Change::Removed}) {
    summary[to_string(change)] = comparison.count(change);
  }
  Json json = {{"schema", "ember-comparison-1"},
               {"before", audit_json(comparison.before)},
               {"after", audit_json(comparison.after)},
               {"notes", comparison.notes},
               {"summary", summary},
               {"layers", Json::array()},
               {"layers_added", layers_json(comparison.added)},
               {"layers_removed", layers_json(comparison.removed)}};
  for (const LayerComparison& layer : comparison.layers) json["layers"].push_back(layer_json(layer));
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ember
