#pragma once

#include <nlohmann/json_fwd.hpp>

#include <ember/gradients.hpp>

#include "report/json_object.hpp"

namespace ember::report {

// The gradient view in JSON reports, and back from them.
nlohmann::ordered_json to_json(const GradientReport& gradient);
nlohmann::ordered_json to_json(const LayerGradient& gradient);
nlohmann::ordered_json to_json(const ChannelGradient& gradient);
/// Throw Error (InvalidData).
GradientReport read_gradient(const JsonObject& from);
LayerGradient read_layer_gradient(const JsonObject& from);
ChannelGradient read_channel_gradient(const JsonObject& from);

}  // namespace ember::report
