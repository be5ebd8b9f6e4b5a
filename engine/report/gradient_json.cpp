#include "report/gradient_json.hpp"

#include <nlohmann/json.hpp>

#include "report/json_number.hpp"

namespace ember::report {

using Json = nlohmann::ordered_json;

Json to_json(const GradientReport& gradient) {
  return {{"output", gradient.output},
          {"loss", gradient.loss},
          {"classes", gradient.classes},
          {"samples", gradient.samples},
          {"mean_loss", json_number(gradient.mean_loss)},
          {"labelled", gradient.labelled},
          {"correct", gradient.correct},
          {"accuracy", gradient.accuracy()},
          {"vanishing_below", gradient.vanishing_below}};
}

Json to_json(const LayerGradient& gradient) {
  return {{"norm", json_number(gradient.norm)},
          {"ratio", json_number(gradient.ratio)},
          {"vanishing", gradient.vanishing},
          {"saturated", gradient.saturated}};
}

Json to_json(const ChannelGradient& gradient) {
  return {{"samples", gradient.samples},
          {"samples_nonzero", gradient.samples_nonzero},
          {"norm", json_number(gradient.norm)}};
}

GradientReport read_gradient(const JsonObject& from) {
  GradientReport gradient;
  gradient.output = from.text("output");
  gradient.loss = from.text("loss");
  gradient.classes = from.count("classes");
  gradient.samples = from.count("samples");
  gradient.mean_loss = from.number("mean_loss");
  gradient.labelled = from.count("labelled");
  gradient.correct = from.count("correct");
  gradient.vanishing_below = from.number("vanishing_below");
  return gradient;
}

LayerGradient read_layer_gradient(const JsonObject& from) {
  return {.norm = from.number("norm"),
          .ratio = from.number("ratio"),
          .vanishing = from.flag("vanishing"),
          .saturated = from.number("saturated")};
}

ChannelGradient read_channel_gradient(const JsonObject& from) {
  return {.samples = from.count("samples"),
          .samples_nonzero = from.count("samples_nonzero"),
          .norm = from.number("norm")};
}

}  // namespace ember::report
