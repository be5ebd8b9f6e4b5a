#pragma once

#include <cstdint>

#include <ember/audit.hpp>

namespace ember {

struct ExplainOptions {
  /// Samples of which every counterfactual is a count, spread evenly over those of the report; 0: as many as
  /// a fixed amount of arithmetic allows, 16 to 256.
  std::int64_t samples = 0;
  int threads = 1;
};

/// Fills in the causes of unhealthy channels, and the findings on layers and the network: runs
/// counterfactuals of all channels side by side, in two passes over a part of the samples. `report` is of
/// `model` and `samples`. What cannot be explained is noted in the report. Throws Error.
void explain(const Model& model, Samples& samples, AuditReport& report, const ExplainOptions& options = {});

}  // namespace ember
