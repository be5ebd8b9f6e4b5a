#pragma once

#include <cstdint>
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

/// Sees intermediate values right after they are produced, while they are still in cache. The audit
/// uses it on the value before each activation; the value is then not fused away.
class Probe {
 public:
  virtual ~Probe() = default;
  /// Called once per run. Must not throw or allocate when it wants the run to stay free of allocation.
  virtual void observe(const ProbeData& data) = 0;
};

/// A probe on a value of the optimised graph, by value name.
struct ProbePoint {
  std::string value;
  Probe* probe = nullptr;
};

}  // namespace ember::runtime
