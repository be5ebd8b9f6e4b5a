#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/swap.hpp>

#include "options.hpp"
#include "output.hpp"
#include "surgery_options.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

using Json = nlohmann::ordered_json;

struct SwapVerb {
  std::string model, to;
  std::optional<double> bias;
  SwapOptions options;
  std::vector<std::string> channels = {"proved_dead", "silent", "refuted", "rare"};
  SurgeryOptions surgery;

  void run() {
    if (to.empty() && !bias) {
      throw Error(ErrorCode::InvalidArgument, "nothing to do",
                  {.cure = "say --to ACTIVATION, --bias X or both"});
    }
    const Model before = Model::load(model);
    const std::optional<AuditReport> report = surgery.report();
    const std::unique_ptr<Samples> samples = surgery.data(before, report ? &*report : nullptr);
    Model after = before;
    BiasResult raised{.model = before, .raised = {}, .refusals = {}};
    if (bias) {
      raised = raise(before, report, samples.get());
      after = raised.model;
    }
    std::vector<SwappedLayer> swapped;
    if (!to.empty()) {
      SwapResult result = swap_activation(after, to, options);
      after = result.model;
      swapped = std::move(result.layers);
    }
    const Verification verification = surgery.verify(before, after, samples.get());
    after.save(surgery.output());
    surgery.json.emit(json(swapped, raised, verification));
    if (!surgery.json.on_output()) print(swapped, raised, verification);
  }

 private:
  BiasResult raise(const Model& before, const std::optional<AuditReport>& report, Samples* samples) const {
    if (samples == nullptr) {
      throw Error(ErrorCode::InvalidArgument, "--bias has to know which channels are unhealthy",
                  {.cure = "give --audit or --data"});
    }
    std::vector<ChannelChoice> choices = choose_channels(
        report ? *report : audit(before, *samples, surgery.audit_options()), verdicts_of(channels));
    if (!options.layers.empty()) {
      std::erase_if(choices, [&](const ChannelChoice& choice) {
        return std::ranges::find(options.layers, choice.node) == options.layers.end() &&
               std::ranges::find(options.layers, choice.value) == options.layers.end();
      });
    }
    return raise_biases(before, choices, *bias);
  }

  [[nodiscard]] Json json(const std::vector<SwappedLayer>& swapped, const BiasResult& raised,
                          const Verification& verification) const {
    Json json = {{"schema", "ember-swap-1"}, {"model", model},          {"output", surgery.output()},
                 {"swapped", Json::array()}, {"raised", Json::array()}, {"refusals", Json::array()}};
    for (const SwappedLayer& layer : swapped) {
      json["swapped"].push_back(
          {{"node", layer.node}, {"value", layer.value}, {"from", layer.from}, {"to", layer.to}});
    }
    for (const RaisedBias& one : raised.raised) {
      json["raised"].push_back({{"node", one.node},
                                {"channel", one.channel},
                                {"tensor", one.tensor},
                                {"index", one.index},
                                {"before", one.before},
                                {"after", one.after}});
    }
    for (const ChannelRefusal& refusal : raised.refusals) {
      json["refusals"].push_back({{"node", refusal.node},
                                  {"value", refusal.value},
                                  {"channel", refusal.channel},
                                  {"reason", refusal.reason}});
    }
    json["verification"] = Json::parse(to_json(verification));
    return json;
  }

  void print(const std::vector<SwappedLayer>& swapped, const BiasResult& raised,
             const Verification& verification) const {
    put("{} -> {}\n", model, surgery.output());
    if (!swapped.empty()) {
      std::vector<std::string> names;
      for (const SwappedLayer& layer : swapped)
        names.push_back(fmt::format("{} ({})", layer.node, layer.from));
      put("{} activation{} replaced by {}: {}\n", swapped.size(), swapped.size() == 1 ? "" : "s",
          swapped.front().to, some_of(names));
    }
    if (bias) {
      put("{} channel{} raised by {:g}, {} left as they are\n", raised.raised.size(),
          raised.raised.size() == 1 ? "" : "s", *bias, raised.refusals.size());
    }
    for (const ChannelRefusal& refusal : raised.refusals) {
      put("  not {} channel {}: {}\n", refusal.node, refusal.channel, refusal.reason);
    }
    put("\n{}", to_text(verification, {.width = output_width(), .color = false}));
  }
};

}  // namespace

void add_swap(CLI::App& app, Context& /*context*/) {
  CLI::App* verb =
      app.add_subcommand("swap", "replace activations, or raise the biases of unhealthy channels");
  auto self = std::make_shared<SwapVerb>();
  add_model(*verb, self->model);
  verb->add_option("--to", self->to, "the new activation: leaky:0.01, prelu, elu, gelu, silu, relu, ...")
      ->option_text("ACTIVATION");
  verb->add_option("--from", self->options.from,
                   "operators to replace where no --layers is given (default Relu)")
      ->option_text("OP...");
  verb->add_option("--layers", self->options.layers,
                   "only these: names of activations or of their outputs, as an audit lists them")
      ->option_text("NAME...");
  verb->add_option("--bias", self->bias, "add X to what unhealthy channels' activations see")
      ->option_text("X");
  verb->add_option(
          "--channels", self->channels,
          "with --bias: the verdicts that make a channel unhealthy (default proved_dead,silent,refuted,rare)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->option_text("VERDICT,...");
  self->surgery.add_audit_to(*verb);
  self->surgery.add_to(*verb);
  add_example(
      *verb,
      "ember swap models/digits_mlp_high_lr.onnx --to leaky:0.01 --data models/digits_calibration.npz "
      "-o leaky.onnx");
  verb->callback([self] { self->run(); });
}

}  // namespace ember::cli
