#include <ember/verification.hpp>

#include <cstdint>
#include <string>

#include "report/json_number.hpp"
#include "report/text_layout.hpp"
#include "report/verification_json.hpp"

namespace ember {

namespace {

using Json = nlohmann::ordered_json;

Json footprint_json(const Footprint& footprint) {
  return {{"parameters", footprint.parameters},
          {"parameter_bytes", footprint.parameter_bytes},
          {"file_bytes", footprint.file_bytes},
          {"flops", footprint.flops},
          {"milliseconds", footprint.milliseconds}};
}

Json comparison_json(const DataComparison& comparison) {
  Json json = {{"on", to_string(comparison.kind)},
               {"data", comparison.data},
               {"samples", comparison.samples},
               {"outputs", Json::array()}};
  for (const OutputDifference& output : comparison.outputs) {
    json["outputs"].push_back({{"output", output.output},
                               {"largest", report::json_number(output.largest)},
                               {"max_absolute", report::json_number(output.max_absolute)},
                               {"max_relative", report::json_number(output.max_relative)},
                               {"argmax_changes", output.argmax_changes}});
  }
  if (comparison.accuracy_before) json["accuracy_before"] = *comparison.accuracy_before;
  if (comparison.accuracy_after) json["accuracy_after"] = *comparison.accuracy_after;
  return json;
}

const char* name_of(ComparedOn kind) {
  switch (kind) {
    case ComparedOn::Calibration: return "calibration data";
    case ComparedOn::HeldOut: return "held-out data";
    case ComparedOn::Random: return "random input";
  }
  return "?";
}

void comparisons_text(report::Page& page, const Verification& verification) {
  page.line("{:<18}{:>9}{:>16}{:>13}{:>16}  {}", "outputs on", "samples", "max difference", "of largest",
            "argmax changed", "accuracy");
  for (const DataComparison& comparison : verification.comparisons) {
    const std::string accuracy =
        comparison.accuracy_before && comparison.accuracy_after
            ? fmt::format("{:.4f} -> {:.4f}", *comparison.accuracy_before, *comparison.accuracy_after)
            : "";
    page.line("{:<18}{:>9}{:>16.3g}{:>13.2g}{:>16}  {}", name_of(comparison.kind),
              report::grouped(comparison.samples), comparison.max_absolute(), comparison.max_relative(),
              report::grouped(comparison.argmax_changes()), accuracy);
  }
}

void footprint_text(report::Page& page, const Verification& verification) {
  const Footprint& before = verification.before;
  const Footprint& after = verification.after;
  const auto change = [](double from, double to) {
    return from > 0 ? fmt::format("{:+.1f}%", 100 * (to - from) / from) : std::string();
  };
  page.line("{:<18}{:>16}{:>16}{:>10}", "", "before", "after", "");
  const auto counted = [&](const char* name, std::int64_t from, std::int64_t to) {
    page.line("{:<18}{:>16}{:>16}{:>10}", name, report::grouped(from), report::grouped(to),
              change(static_cast<double>(from), static_cast<double>(to)));
  };
  counted("parameters", before.parameters, after.parameters);
  counted("file bytes", before.file_bytes, after.file_bytes);
  if (before.flops > 0) {
    counted("FLOPs per sample", std::llround(before.flops), std::llround(after.flops));
  }
  if (verification.time_runs > 0) {
    page.line("{:<18}{:>16.4g}{:>16.4g}{:>10}", "ms per sample", before.milliseconds, after.milliseconds,
              change(before.milliseconds, after.milliseconds));
    page.paragraph(
        4, fmt::format("least of {} runs each in alternation, batch {}, {} thread{}, {}",
                       report::grouped(verification.time_runs), verification.batch, verification.threads,
                       verification.threads == 1 ? "" : "s", verification.isa));
  }
}

}  // namespace

nlohmann::ordered_json report::verification_json(const Verification& verification) {
  Json json = {{"schema", "ember-verification-1"},
               {"isa", verification.isa},
               {"threads", verification.threads},
               {"batch", verification.batch},
               {"time_runs", verification.time_runs},
               {"before", footprint_json(verification.before)},
               {"after", footprint_json(verification.after)},
               {"comparisons", Json::array()},
               {"notes", verification.notes}};
  for (const DataComparison& comparison : verification.comparisons) {
    json["comparisons"].push_back(comparison_json(comparison));
  }
  return json;
}

std::string to_json(const Verification& verification) {
  // A name in a model may be anything; what is not UTF-8 is shown as a replacement character.
  return report::verification_json(verification).dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string to_text(const Verification& verification, const TextReportOptions& options) {
  report::Page page(options.width, options.color);
  if (!verification.comparisons.empty()) {
    comparisons_text(page, verification);
    page.line("");
  }
  footprint_text(page, verification);
  for (const std::string& note : verification.notes) page.item("-", 1, note);
  return page.take();
}

}  // namespace ember
