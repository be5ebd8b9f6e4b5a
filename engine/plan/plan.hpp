#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

#include "graph/graph.hpp"
#include "ops/lowering.hpp"
#include "plan/specialize.hpp"
#include "simd/isa.hpp"

namespace ember::plan {

class Packing;
struct Plan;

/// Where a tensor lives while a plan runs.
struct Slot {
  enum class Kind : std::uint8_t {
    Arena,     ///< at `offset` in the session's arena
    Constant,  ///< in `constant`
    Captured,  ///< given by the outer plan: Specialized::graph.captured[index] in a branch of an If, input
               ///< number `captured` in a micro-batch
    Dynamic,   ///< shape decided by the run; a tensor of its own
  };
  Kind kind = Kind::Arena;
  ops::TensorDesc desc;  ///< type only, when Dynamic
  std::string name;      ///< ONNX value name
  std::size_t offset = 0;
  std::shared_ptr<const Tensor> constant;
  int captured = -1;
};
inline constexpr int kNoSlot = -1;

/// Statistics that a step gathers of an activation that it applies.
struct Gathered {
  int probe = -1;  ///< that gets them; -1: none are gathered
  ops::PieceGrid grid;
  ops::TensorDesc desc;  ///< of the activation's output
};

struct PlannedStep {
  enum class Kind : std::uint8_t {
    Kernel,        ///< `step` on arena memory
    Reference,     ///< the operator's reference; shapes static, results copied into the arena
    Dynamic,       ///< shape rule, allocation and reference at run time
    Conditional,   ///< an If: runs then_plan or else_plan
    Probe,         ///< shows input 0 to probe number `probe`
    Copy,          ///< input 0's elements to output 0
    MicroBatches,  ///< runs part_plan on each of `parts` equal parts of the inputs, along axis 0
  };
  Kind kind = Kind::Kernel;
  std::unique_ptr<const ops::Step> step;
  std::vector<int> inputs, outputs;        ///< slots; kNoSlot where left out
  int in_place = -1;                       ///< input whose memory output 0 may share
  std::vector<ops::Placement> placements;  ///< inputs whose memory may be a part of output 0's
  graph::NodeId node_id = graph::kNoNode;
  std::vector<int> then_captures, else_captures;  ///< Conditional: slots for Graph::captured of each branch
  std::shared_ptr<const Plan> then_plan, else_plan;
  int probe = -1;
  std::shared_ptr<const Plan> part_plan;
  std::int64_t parts = 0;
  std::vector<Gathered> gathered;  ///< Kernel: two for each of its stages, see ops::StepContext::pieces

  // For people.
  std::string node, op, implementation, refusals;
  std::vector<std::string> fused;
  double flops = 0;
};

/// A network compiled for one set of input shapes and one instruction set. Immutable, shared by sessions.
struct Plan {
  Specialized network;  ///< after release_constants()
  simd::Isa isa = simd::Isa::Sse42;
  std::vector<Slot> slots;
  std::vector<PlannedStep> steps;
  std::vector<int> inputs, outputs;  ///< slots, in the order of the graph's
  std::size_t arena_bytes = 0;
  std::string batching;  ///< how a batch of several samples runs, and why; for people
  /// No allocation is needed to run it: no dynamic step, no reference that may allocate.
  bool fully_static = true;
};

/// A value to show to probe number `probe`, by ONNX name.
struct ProbeRequest {
  std::string value;
  bool plain = false;  ///< wants the plain layout
  /// Set: the statistics that a step gathers while it applies the activation of this value will do; where
  /// none does, the value itself is shown.
  std::optional<kernels::WatchRule> watch;
};

struct PlanOptions {
  simd::Isa isa = simd::Isa::Sse42;
  std::map<std::string, Shape> input_shapes;  ///< resolved: one per input
  std::vector<ProbeRequest> probes;           ///< values that do not exist in the network are an Error
  std::set<std::string> reference_only;       ///< operators to run by reference; "*" all
  std::int64_t micro_batch = 0;               ///< samples at a time; 0: as the cost model says
};

/// Compiles a graph whose operators were checked. The plan may be run after `packs` was. Throws Error.
std::shared_ptr<const Plan> compile(const graph::Graph& graph, const PlanOptions& options, Packing& packs);

/// Lets go of the constants of a plan's network that no step reads there: those of kernels are their own.
void release_constants(Plan& plan);

/// Gives every arena slot its offset: lifetimes, in-place sharing, parts of a whole inside it, largest first
/// into the lowest gap.
void assign_memory(Plan& plan);

}  // namespace ember::plan
