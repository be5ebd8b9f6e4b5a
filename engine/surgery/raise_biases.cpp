#include <ember/swap.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"
#include "surgery/activation_lookup.hpp"
#include "surgery/constant_editor.hpp"
#include "surgery/linear_producer.hpp"

namespace ember {

namespace {

using ops::ActivationPattern;
using surgery::LinearProducer;

class Raiser {
 public:
  Raiser(const Model& model, double amount)
      : graph_(model.graph()),
        patterns_(ops::find_activations(graph_)),
        lookup_(graph_, patterns_),
        editor_(graph_),
        amount_(amount),
        result_{.model = model, .raised = {}, .refusals = {}} {}

  void raise(const ChannelChoice& choice) {
    const ActivationPattern* activation = lookup_.find(choice.node, choice.value);
    if (activation == nullptr) {
      throw Error(
          ErrorCode::InvalidArgument,
          fmt::format("there is no activation '{}'", choice.node.empty() ? choice.value : choice.node),
          {.model = graph_.metadata.model_name, .cure = "the model has: " + lookup_.listing()});
    }
    if (choice.channels.empty()) return;
    const auto found = surgery::find_producer(graph_, *activation);
    if (const auto* reason = std::get_if<std::string>(&found)) {
      for (const std::int64_t channel : choice.channels) refuse(choice, channel, *reason);
      return;
    }
    const auto& producer = std::get<LinearProducer>(found);
    const surgery::BiasSite site = surgery::ensure_bias(graph_, editor_, producer);
    const std::span<float> bias = editor_.floats(site.value);
    for (const std::int64_t channel : choice.channels) {
      if (channel < 0 || channel >= producer.channels) {
        throw Error(ErrorCode::InvalidArgument,
                    fmt::format("there is no channel {} among {}", channel, producer.channels),
                    {.model = graph_.metadata.model_name, .node = choice.node});
      }
      float& value = bias[static_cast<std::size_t>(channel)];
      const auto before = static_cast<double>(value);
      value = static_cast<float>(before + amount_ / site.factor);
      result_.raised.push_back({.node = graph_.label(activation->nodes.back()),
                                .channel = channel,
                                .tensor = graph_.value(site.value).name,
                                .index = channel,
                                .before = before,
                                .after = static_cast<double>(value)});
    }
  }

  BiasResult finish() {
    graph_.sort();
    graph_.remove_dead();
    graph::verify(graph_);
    result_.model = Model(std::make_shared<const graph::Graph>(std::move(graph_)));
    return std::move(result_);
  }

 private:
  void refuse(const ChannelChoice& choice, std::int64_t channel, const std::string& reason) {
    result_.refusals.push_back(
        {.node = choice.node, .value = choice.value, .channel = channel, .reason = reason});
  }

  graph::Graph graph_;
  std::vector<ActivationPattern> patterns_;
  surgery::ActivationLookup lookup_;
  surgery::ConstantEditor editor_;
  double amount_;
  BiasResult result_;
};

}  // namespace

std::vector<ChannelChoice> choose_channels(const AuditReport& report, std::span<const Verdict> verdicts) {
  std::vector<ChannelChoice> choices;
  for (const LayerReport& layer : report.layers()) {
    ChannelChoice choice{.node = layer.node, .value = layer.value, .channels = {}};
    for (const ChannelReport& channel : layer.channels) {
      if (std::ranges::find(verdicts, channel.verdict) != verdicts.end())
        choice.channels.push_back(channel.index);
    }
    if (!choice.channels.empty()) choices.push_back(std::move(choice));
  }
  return choices;
}

BiasResult raise_biases(const Model& model, std::span<const ChannelChoice> channels, double amount) {
  if (!std::isfinite(amount)) throw Error(ErrorCode::InvalidArgument, "the amount of the bias is not finite");
  Raiser raiser(model, amount);
  for (const ChannelChoice& choice : channels) raiser.raise(choice);
  return raiser.finish();
}

}  // namespace ember
