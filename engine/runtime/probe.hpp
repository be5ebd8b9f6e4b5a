#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/parallel.hpp"
#include "kernels/table.hpp"
#include "ops/lowering.hpp"

namespace ember::runtime {

/// What a probe is shown: a tensor in the layout the plan has it in at that point.
struct ProbeData {
  const float* data;  ///< elements of desc.type: cast it when that is not Float32
  const ops::TensorDesc& desc;
  const kernels::KernelTable& kernels;
  Parallel& parallel;
};

/// What a probe is given instead where a step has gathered it in passing, of the activation that it applied.
struct PieceData {
  kernels::PieceTotals* pieces;  ///< as the grid says; to be emptied, see StatisticsKernels::add_pieces
  const ops::PieceGrid& grid;
  const ops::TensorDesc& desc;  ///< of the activation's output
  const kernels::KernelTable& kernels;
  Parallel& parallel;
};

/// Sees intermediate values right after they are produced, while they are still in cache. The audit
/// uses it on the value before each activation. Such a value is not fused away, unless the step that makes it
/// gathers the statistics itself.
class Probe {
 public:
  virtual ~Probe() = default;
  /// Called once per run. Must not throw or allocate when it wants the run to stay free of allocation.
  virtual void observe(const ProbeData& data) = 0;
  /// The same with statistics; called only on probes of a ProbePoint with a watch.
  virtual void observe(const PieceData& data) { (void)data; }
};

/// A probe on a value of the optimised graph, by value name.
struct ProbePoint {
  std::string value;
  Probe* probe = nullptr;
  /// Set: the statistics of this value that a step gathers while it applies the value's activation will do.
  std::optional<kernels::WatchRule> watch;
};

}  // namespace ember::runtime
