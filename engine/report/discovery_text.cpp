#include "report/discovery_text.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "report/text_layout.hpp"

namespace ember::report {

std::string discovery_text(const Discovery& d) {
  if (d.trials == 0 || d.channels == 0) return {};
  const char* trial = d.by_group ? "group" : "sample";
  const auto half = std::ranges::find_if(d.curve, [&](const auto& p) { return p.trials * 2 >= d.trials; });
  const std::int64_t late = half == d.curve.end() ? 0 : d.fired - half->fired;
  return fmt::format(
      "{} of {} channels fired; {} of them for the first time after {} {}s. {} fired in one {} only, so one "
      "more {} is expected to wake {:.2g}; {}.",
      grouped(d.fired), grouped(d.channels), grouped(late),
      grouped(half == d.curve.end() ? d.trials : half->trials), trial, grouped(d.fired_once), trial, trial,
      d.expected_next,
      d.still_to_wake < 0.5
          ? "no sign that more such data would wake further channels"
          : fmt::format("at least {:.0f} more would wake with ever more such data", d.still_to_wake));
}

}  // namespace ember::report
