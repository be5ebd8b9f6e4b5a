#include "report_output.hpp"

#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

void ReportOutput::add_to(CLI::App& verb) {
  gates_.add_to(verb);
  json_.add_to(verb);
  files_.add_to(verb);
  verb.add_flag("--quiet", quiet_, "print no text and no progress; files and exit status say it all");
}

int ReportOutput::emit(const AuditReport& report) {
  gates_.judge(report);
  // First: if a file cannot be written, nothing is printed.
  files_.write(report, [this](const LayerReport& layer) { return gates_.failure(layer); });
  gates_.update(report);
  if (json_.given()) json_.emit_text(to_json(report));
  if (!json_.on_output() && !quiet_) {
    put(to_text(report, text_options()));
    if (gates_.comparison()) put("\n{}", to_text(*gates_.comparison(), text_options()));
  }
  for (const std::string& failure : gates_.failures()) diagnose("gate failed: " + failure);
  return gates_.failures().empty() ? kSuccess : kGateFailed;
}

int ReportOutput::emit(const Checkpoints& checkpoints) {
  if (json_.given()) json_.emit_text(to_json(checkpoints));
  if (!json_.on_output() && !quiet_) put(to_text(checkpoints, text_options()));
  return kSuccess;
}

TextReportOptions text_options() { return {.width = output_width(), .color = wants_color()}; }

}  // namespace ember::cli
