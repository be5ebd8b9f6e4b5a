#pragma once

#include <array>

#include <ember/audit.hpp>

namespace ember::report {

/// What reports say about a verdict.
struct VerdictText {
  Verdict verdict;
  const char* title;    ///< of a channel that has it
  const char* meaning;  ///< goes on after "The channel", ends with a full stop
  const char* remedy;   ///< what to do; empty when there is nothing
};

/// Every verdict, worst first.
extern const std::array<VerdictText, 9> kVerdictTexts;

const VerdictText& text_of(Verdict verdict);

}  // namespace ember::report
