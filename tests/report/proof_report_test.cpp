#include <string>

#include <doctest/doctest.h>

#include <ember/report.hpp>

#include "sample_report.hpp"

using namespace ember;
using namespace ember::test;

namespace {

AuditReport proved_report() {
  AuditReport report = sample_report();
  report.proof = ProofReport{.domain = "domain.npz",
                             .lower = -1,
                             .upper = 2.5,
                             .samples_outside = 12,
                             .channels_contradicted = 1,
                             .seconds = 60.25,
                             .complete = false};
  ChannelReport& dead = report.layer_reports[1].channels[0];
  dead.verdict = Verdict::ProvedDead;
  dead.proof = Proof::Substitution;
  dead.bound_lower = -3.5;
  dead.bound_upper = -0.125;
  ChannelReport& refuted = report.layer_reports[1].channels[1];
  refuted.verdict = Verdict::Refuted;
  refuted.witness = 0;
  report.layer_reports[0].channels[1].proof = Proof::Interval;
  report.witnesses.push_back({.node = "relu_2", .channel = 1, .input = {}, .value = 0.75});
  return report;
}

}  // namespace

TEST_CASE("proofs and witnesses are read back from JSON as they were") {
  const std::string text = to_json(proved_report());
  const AuditReport back = report_from_json(text);
  CHECK(to_json(back) == text);
  CHECK(back.layers()[1].channels[0].proof == Proof::Substitution);
  CHECK(back.layers()[1].channels[0].bound_upper == -0.125);
  REQUIRE(back.proof.has_value());
  CHECK_FALSE(back.proof->complete);
  CHECK(back.witnesses.at(0).value == 0.75);
}

TEST_CASE("the text says what was proved, of which inputs, and what ended the search") {
  const std::string text = to_text(proved_report(), {.width = 400});
  for (const char* words :
       {"1 proved_dead", "1 silent", "1 refuted", "inputs from -1 to 2.5, by domain.npz",
        "12 of the samples lie outside", "fire 1 channels that cannot fire inside",
        "1 of those always on are proved to be", "time limit", "proved_dead: 0", "refuted: 1"}) {
    CHECK_MESSAGE(contains(text, words), words << " in\n" << text);
  }
  CHECK_FALSE(contains(to_text(sample_report()), "Proofs"));
}
