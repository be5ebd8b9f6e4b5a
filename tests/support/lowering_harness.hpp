#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"
#include "ops/lowering.hpp"
#include "simd/isa.hpp"

namespace ember::test {

/// One node to be run by every candidate of its operator and compared with its reference.
struct LoweringCase {
  graph::Graph graph;                    ///< of one node; its constants are what a plan would know
  std::map<std::string, Tensor> inputs;  ///< by value name, for every input that is no constant
  ops::Epilogue epilogue;                ///< a residual is made up when `residual` is empty
  Tensor residual;
  double absolute = 1e-5;  ///< tolerance: |candidate - reference| <= absolute + relative |reference|
  double relative = 1e-5;
  std::map<std::string, double> slack;  ///< factors on both, by implementation, for those that round more
  bool exact = false;                   ///< demand equal values instead (types other than float32 always do)
};

/// What came of it. A run is named "<implementation> <isa> <layout of each input> <workers>".
struct LoweringResult {
  std::set<std::string> accepted;               ///< implementations that took the node at least once
  std::set<std::string> accepted_blocked;       ///< those that read or made a blocked tensor
  std::map<std::string, std::string> refusals;  ///< last reason of each implementation that refused
  std::vector<std::string> failures;            ///< one line per wrong run
  int runs = 0;
};

/// Runs the node by its reference (the epilogue in double behind it), and by every candidate that
/// accepts × every available ISA × 1 and 2 workers × float32 inputs of rank >= 3 given plain and
/// blocked (every mixture for up to three of them). Where the candidate offers to work in place, also
/// with input and output sharing memory. Outputs and scratch start as NaN, channel padding as finite
/// garbage; guard zones, untouched inputs, finite output padding, and equal bits for 1 and 2 workers
/// are checked. Note that Parallel runs loops under Parallel::kInlineWork inline.
LoweringResult run_lowerings(const LoweringCase& test);

/// run_lowerings, with every failure reported to doctest. Fails when nothing ran, or when an
/// implementation of `required` did not take part.
inline LoweringResult check_lowerings(const LoweringCase& test, const std::set<std::string>& required = {}) {
  LoweringResult result = run_lowerings(test);
  for (const std::string& failure : result.failures) FAIL_CHECK(failure);
  CHECK(result.runs > 0);
  for (const std::string& name : required) {
    INFO(name, " refused: ", result.refusals.contains(name) ? result.refusals.at(name) : "(not a candidate)");
    CHECK(result.accepted.contains(name));
  }
  return result;
}

/// What one implementation gives on an instruction set with plain inputs and one worker; output 0. Fails when
/// it refuses.
Tensor run_candidate(const LoweringCase& test, std::string_view implementation, simd::Isa isa);

/// An activation in double, the oracle of fused epilogues. `channel` picks a PRelu slope.
double activate(const kernels::Activation& activation, double x, std::int64_t channel);

}  // namespace ember::test
