#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <ember/tensor.hpp>

#include "core/parallel.hpp"
#include "kernels/activation.hpp"
#include "kernels/statistics.hpp"
#include "ops/op.hpp"

namespace ember::kernels {
struct KernelTable;
}

namespace ember::ops {

/// How a tensor's elements lie in memory.
enum class Layout : std::uint8_t {
  Plain,    ///< dense, row-major, as ONNX means it
  Blocked,  ///< [N][ceil(C/b)][spatial...][b]: axis 1 split into blocks of b channels, the last padded
            ///< with channels whose content is unspecified but finite unless stated. b =
            ///< LowerContext::block()
};

/// What a lowering knows of a tensor at plan time.
struct TensorDesc {
  DataType type = DataType::Undefined;
  Shape shape;  ///< the logical (ONNX) shape in either layout
  Layout layout = Layout::Plain;
  int block = 1;  ///< channels per block when Blocked

  /// Elements in memory, channel padding included.
  [[nodiscard]] std::int64_t stored_elements() const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;
};

/// What was fused behind a node, applied to its result in this order:
/// y = after(before(op(inputs)) + residual).
struct Epilogue {
  kernels::Activation before;  ///< kind None when absent
  bool residual = false;       ///< add the step's last input, same logical shape as the output
  kernels::Activation after;   ///< kind None when absent
  /// Keeps the PRelu slopes that before/after point at alive.
  std::shared_ptr<const std::vector<float>> slopes_before, slopes_after;
  /// Set: what before or after is applied to is watched, by the step itself (see Lowered::pieces).
  std::optional<kernels::WatchRule> watch_before, watch_after;

  [[nodiscard]] bool watched() const noexcept { return watch_before.has_value() || watch_after.has_value(); }
  [[nodiscard]] bool empty() const noexcept {
    return !residual && before.kind == kernels::ActivationKind::None &&
           after.kind == kernels::ActivationKind::None;
  }
};

/// Memory and threads of one execution of a step.
struct StepContext {
  std::span<const void* const> inputs;  ///< in the order of the node's inputs (residual last); nullptr for
                                        ///< constants and inputs left out
  std::span<void* const> outputs;       ///< nullptr for outputs left out
  std::byte* scratch = nullptr;         ///< scratch_bytes() bytes, kAlignment-aligned, content undefined
  /// Pieces to gather in, two for each of Lowered::pieces and laid out as it says: those of
  /// Epilogue::watch_before and of watch_after, nullptr where not asked for. Empty before the run.
  std::span<kernels::PieceTotals* const> pieces;
  Parallel& parallel;
};

/// One runnable piece of a plan. Immutable and shared by sessions; run() neither allocates nor throws
/// and gives the same bits at any thread count. A step owns what it reads of constants, packed or as a shared
/// tensor: the plan lets go of them.
class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const StepContext& context) const = 0;
  /// Working memory wanted, given how many workers the session has (one region per worker if need be).
  [[nodiscard]] virtual std::size_t scratch_bytes(int workers) const {
    (void)workers;
    return 0;
  }
};

/// Weights in a kernel's own layout, shared by every plan and session of a model.
using PackedWeights = std::shared_ptr<const float[]>;

/// Writes weights in a kernel's own layout to zeroed memory. It runs when the whole plan has been decided,
/// perhaps on another thread, so it holds copies of what it needs but the source.
using PackFill = std::function<void(const Tensor& source, float* packed)>;

/// Everything a lowering may look at.
class LowerContext : public NodeContext {
 public:
  LowerContext(const graph::Graph& graph, graph::NodeId id) : NodeContext(graph, id) {}
  virtual ~LowerContext() = default;

  std::vector<TensorDesc> inputs;  ///< by node input index (residual last), with the layout each is in now;
                                   ///< type Undefined for inputs left out
  std::vector<const Tensor*> constants;  ///< by input index, nullptr when not constant. Always Plain.
  std::vector<TensorDesc> outputs;       ///< logical shapes and types
  /// Added to every row of the result before the epilogue: one element per column of the last axis; nullptr:
  /// none. Only for operators whose FusionSupport says so.
  const Tensor* bias = nullptr;
  Epilogue epilogue;
  bool watched = false;  ///< values of this plan are shown to probes, which look at signs

  /// The kernels of the ISA this plan is for.
  [[nodiscard]] virtual const kernels::KernelTable& kernels() const = 0;
  /// Channels per block of Layout::Blocked: 8, or 16 with AVX-512.
  [[nodiscard]] virtual int block() const = 0;
  /// `count` floats, 64-byte aligned, that `fill` writes once for this source tensor and `key`. Until the
  /// step runs they must not be read.
  virtual PackedWeights pack(const Tensor& source, std::string_view key, std::size_t count,
                             PackFill fill) = 0;
};

/// The elements of a constant float32 input as a step may read them.
inline PackedWeights keep_constant(LowerContext& c, const Tensor& tensor, std::string_view key) {
  return c.pack(tensor, key, static_cast<std::size_t>(tensor.elements()),
                [](const Tensor& source, float* to) { std::ranges::copy(source.data<float>(), to); });
}

/// An input that is copied as it is to a place in output 0.
struct Placement {
  int input = 0;
  std::size_t offset = 0;  ///< bytes
};

/// How a step that gathers statistics of its output's activation cuts it: pieces[sample][part][block of 16
/// channels]. Which positions of a sample are in which part depends neither on the batch nor on threads.
struct PieceGrid {
  std::int64_t samples = 0, parts = 0, blocks = 0;
  [[nodiscard]] std::int64_t count() const noexcept { return samples * parts * blocks; }
};

struct Lowered {
  std::unique_ptr<Step> step;
  /// By candidates that gather what Epilogue::watch_before and watch_after ask for: one for each stage of a
  /// chain, one for any other step.
  std::vector<PieceGrid> pieces;
  /// Layout wanted for each input (the planner converts where it differs), and made for each output.
  /// Empty means all Plain.
  std::vector<Layout> input_layouts;
  std::vector<Layout> output_layouts;
  /// Input whose memory output 0 may share (same bytes, element i written only after it was read), -1: none.
  int in_place = -1;
  /// Inputs that may be made where they end up, with the same bytes as they have elsewhere: the step finds an
  /// input at its place in the output and leaves it there.
  std::vector<Placement> placements;
};

/// Why a candidate does not take a node: one phrase, e.g. "groups > 1".
struct Refusal {
  std::string reason;
};

using LowerResult = std::variant<Lowered, Refusal>;

/// One way to run a node, e.g. "conv_winograd_f4". Candidates of an operator are asked in order,
/// fastest first; when all refuse, the reference runs and says so in the profile.
struct Candidate {
  std::string_view implementation;
  LowerResult (*consider)(LowerContext& context);
};

/// The candidates of an ai.onnx operator, fastest first; empty when only the reference exists.
std::span<const Candidate> candidates(std::string_view op);

/// Whether some candidates of an ai.onnx operator gather statistics, see Lowered::pieces.
bool gathers(std::string_view op);

/// Candidates by ai.onnx operator; each lowering file adds its own (see lowering.cpp).
using CandidateMap = std::map<std::string, std::vector<Candidate>, std::less<>>;

/// A step that changes only the layout of a float32 tensor of rank >= 3 (either direction).
std::unique_ptr<Step> make_layout_conversion(const TensorDesc& from, Layout to, int block,
                                             const kernels::KernelTable& kernels);

}  // namespace ember::ops
