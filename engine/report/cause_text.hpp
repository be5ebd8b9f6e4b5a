#pragma once

#include <string>

#include <ember/audit.hpp>

namespace ember::report {

/// The cause of a channel in a sentence, with its counterfactual: "bias −4.1 is 7.3 standard deviations of
/// w·x; fires on 31% of 256 samples if it were −0.2". Empty without a cause.
std::string cause_text(const Explanation& explanation);
/// The same for a finding.
std::string finding_text(const Finding& finding);
/// What to do about it, in a sentence; empty for None.
std::string remedy_text(Remedy remedy);

}  // namespace ember::report
