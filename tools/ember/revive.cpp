#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/file.hpp>
#include <ember/revive.hpp>

#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "surgery_options.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

using Json = nlohmann::ordered_json;

struct ReviveVerb {
  std::string model, init = "he", touched;
  std::vector<std::string> only;
  ReviveOptions options;
  SurgeryOptions surgery;

  void run() {
    options.init = revive_init_of(init);
    if (!only.empty()) options.verdicts = verdicts_of(only);
    const Model before = Model::load(model);
    const std::optional<AuditReport> report = surgery.report();
    if (report) options.report = &*report;
    const std::unique_ptr<Samples> samples = surgery.data(before, options.report);
    if (samples == nullptr) {
      throw Error(ErrorCode::InvalidArgument, "the new biases follow from data",
                  {.cure = "give --data, or --audit with a report that names them"});
    }
    const ReviveResult result = revived(before, *samples);
    const Verification verification = surgery.verify(before, result.model, samples.get());
    // The network last: whoever finds it finds the list, too.
    if (!touched.empty()) write_file(touched, touched_json(result) + "\n");
    result.model.save(surgery.output());
    surgery.json.emit(json(result, verification));
    if (!surgery.json.on_output()) print(result, verification);
  }

 private:
  ReviveResult revived(const Model& before, Samples& samples) {
    const AuditOptions audit = surgery.audit_options();
    options.samples = audit.samples;
    options.batch = audit.batch;
    options.threads = audit.threads;
    Progress progress("reviving");
    options.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    return revive(before, samples, options);
  }

  [[nodiscard]] Json json(const ReviveResult& result, const Verification& verification) const {
    Json json = {
        {"schema", "ember-revive-1"}, {"model", model},         {"output", surgery.output()}, {"init", init},
        {"seed", options.seed},       {"units", Json::array()}, {"refusals", Json::array()}};
    for (const RevivedUnit& unit : result.units) {
      Json one = {{"node", unit.node},
                  {"value", unit.value},
                  {"channel", unit.channel},
                  {"constant", unit.constant},
                  {"share_wanted", unit.share_wanted},
                  {"share", unit.share}};
      if (unit.donor >= 0) one["donor"] = unit.donor;
      json["units"].push_back(std::move(one));
    }
    for (const ChannelRefusal& refusal : result.refusals) {
      json["refusals"].push_back({{"node", refusal.node},
                                  {"value", refusal.value},
                                  {"channel", refusal.channel},
                                  {"reason", refusal.reason}});
    }
    json["touched"] = Json::parse(touched_json(result)).at("touched");
    json["verification"] = Json::parse(to_json(verification));
    return json;
  }

  void print(const ReviveResult& result, const Verification& verification) const {
    put("{} -> {}\n", model, surgery.output());
    struct Layer {
      std::int64_t units = 0;
      double least = 1, most = 0;
    };
    std::map<std::string, Layer> layers;
    for (const RevivedUnit& unit : result.units) {
      Layer& layer = layers[unit.node];
      ++layer.units;
      layer.least = std::min(layer.least, unit.share);
      layer.most = std::max(layer.most, unit.share);
    }
    put("{} unit{} revived ({}), {} left dead\n", result.units.size(), result.units.size() == 1 ? "" : "s",
        init, result.refusals.size());
    for (const auto& [node, layer] : layers) {
      put("  {}: {}, now firing in {:.1f}% to {:.1f}% of the samples\n", node, layer.units, 100 * layer.least,
          100 * layer.most);
    }
    std::map<std::string, std::vector<std::string>> reasons;
    for (const ChannelRefusal& refusal : result.refusals) {
      reasons[refusal.node + ": " + refusal.reason].push_back(std::to_string(refusal.channel));
    }
    for (const auto& [reason, channels] : reasons) put("  not {} (channels {})\n", reason, some_of(channels));
    put("\n{}", to_text(verification, {.width = output_width(), .color = false}));
  }
};

}  // namespace

void add_revive(CLI::App& app, Context& /*context*/) {
  CLI::App* verb =
      app.add_subcommand("revive", "give dead units new weights, without changing what a network does");
  auto self = std::make_shared<ReviveVerb>();
  add_model(*verb, self->model);
  verb->add_option("--init", self->init, "new incoming weights: he, rai, or split a live unit (default he)")
      ->option_text("he|rai|split");
  verb->add_option("--fire-share", self->options.fire_share,
                   "share of the samples in which a revived unit fires (default 0.3)")
      ->option_text("R");
  verb->add_option("--only", self->only,
                   "verdicts that count as dead (default proved_dead,silent,refuted,constant)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->option_text("VERDICT,...");
  verb->add_option("--seed", self->options.seed, "of the new weights (default 1)")->option_text("N");
  verb->add_option("--touched", self->touched,
                   "write {tensor, axis, index} of all that was changed, for a trainer's optimiser")
      ->option_text("FILE");
  self->surgery.add_audit_to(*verb);
  self->surgery.add_to(*verb);
  add_example(*verb,
              "ember revive models/digits_mlp_high_lr.onnx --data models/digits_calibration.npz "
              "--verify models/digits_heldout.npz -o revived.onnx --touched touched.json");
  verb->callback([self] { self->run(); });
}

}  // namespace ember::cli
