#include <memory>
#include <string>

#include <ember/compare.hpp>
#include <ember/report.hpp>

#include "options.hpp"
#include "output.hpp"
#include "report_output.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

struct CompareVerb {
  std::string before, after;
  JsonOption json;

  int run() {
    const AuditComparison comparison =
        ember::compare(report_from_json_file(before), report_from_json_file(after));
    if (json.given()) json.emit_text(to_json(comparison));
    if (!json.on_output()) put(to_text(comparison, text_options()));
    return comparison.count(Change::NewlyUnhealthy) == 0 ? kSuccess : kGateFailed;
  }
};

}  // namespace

void add_compare(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "compare", "show what became of each channel between two audits; exit with 1 when one fell ill");
  auto self = std::make_shared<CompareVerb>();
  verb->add_option("BEFORE", self->before, "the earlier report, from 'ember audit --json FILE'")
      ->required()
      ->option_text(" ");
  verb->add_option("AFTER", self->after, "the later one")->required()->option_text(" ");
  self->json.add_to(*verb);
  add_example(*verb,
              "ember audit models/digits_cnn.onnx --data models/digits_calibration.npz --json before.json\n"
              "  ember audit models/digits_cnn_dead_bias.onnx --data models/digits_calibration.npz --json "
              "after.json\n"
              "  ember compare before.json after.json");
  verb->callback([self, &context] { context.status = self->run(); });
}

}  // namespace ember::cli
