#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <ember/tensor.hpp>

#include "kernels/movement.hpp"
#include "ops/lowering.hpp"

namespace ember::ops {

/// A box of elements copied from one strided place to another. All numbers are in elements; `from` may be
/// 0 (repeat) or negative (reverse), and no element may be written twice.
struct BoxCopy {
  struct Axis {
    std::int64_t extent, from, to;
  };
  std::vector<Axis> axes;  ///< in any order
  std::int64_t from_offset = 0;
  std::int64_t to_offset = 0;
};

/// Indices along an axis: start, start + step, ...
struct AxisRange {
  std::int64_t start = 0;
  std::int64_t count = 0;
  std::int64_t step = 1;  ///< 0 repeats one index
};

/// Extends a box by axis `from_axis` of a source, read at `range`, which is axis `to_axis` of a target,
/// written at `to_start` onwards. The channel axis of a blocked tensor is copied in whole blocks: `range`
/// must then start at a multiple of the block with step 1, and so must `to_start` (if the target is
/// plain, the count must be a multiple too). An axis of -1 on the source side repeats (new axes).
void add_axis(BoxCopy& box, const TensorDesc& from, int from_axis, const AxisRange& range,
              const TensorDesc& to, int to_axis, std::int64_t to_start = 0);

/// Whether channels of a blocked tensor are whole blocks of it, the last perhaps its partial one: only
/// then does the channel padding of what is copied stay padding.
bool are_whole_blocks(const TensorDesc& blocked, const AxisRange& channels) noexcept;

/// A box copy ready to run: axes merged, a kernel chosen, cut into tasks that do not depend on threads.
class StridedCopy {
 public:
  StridedCopy(DataType type, BoxCopy box, const kernels::KernelTable& kernels);

  [[nodiscard]] std::int64_t tasks() const noexcept { return tasks_; }
  [[nodiscard]] std::int64_t work() const noexcept { return work_; }  ///< nanoseconds, roughly
  /// Whether the box is one dense run from the start of one place to the start of the other.
  [[nodiscard]] bool is_dense() const noexcept;
  /// Whether the box is one dense run that lies where it is to go already.
  [[nodiscard]] bool is_there(const void* from, const void* to) const noexcept;
  void run_task(const void* from, void* to, std::int64_t task) const;

 private:
  [[nodiscard]] bool is_one_run() const noexcept;
  void choose_kernel(const kernels::KernelTable& kernels);
  void cut();

  std::vector<BoxCopy::Axis> outer_;  ///< beyond the plane, slowest first
  kernels::Plane plane_{};
  kernels::PlaneMove move_ = nullptr;
  std::int64_t from_offset_ = 0, to_offset_ = 0;
  std::size_t element_ = 0;
  std::int64_t planes_ = 0, planes_per_task_ = 1;
  std::int64_t row_chunk_ = 1, column_chunk_ = 1;  ///< parts of one plane, when it is cut
  std::int64_t row_chunks_ = 1, column_chunks_ = 1;
  std::int64_t tasks_ = 0, work_ = 0;
  bool transposes_ = false;
};

/// One copy of a step: from an input (or a constant, kept alive) to an output.
struct Move {
  int input = 0;
  std::shared_ptr<const Tensor> constant;  ///< read instead of the input when set
  int output = 0;
  StridedCopy copy;
};

/// Runs moves side by side in one parallel loop. What lies where it is to go already stays.
std::unique_ptr<Step> make_move_step(std::vector<Move> moves);

/// Copies an input as it is, in parallel; nothing when input and output share memory.
std::unique_ptr<Step> make_copy_step(std::shared_ptr<const Tensor> constant, std::size_t bytes);

/// Runs one box from input 0 to output 0 in the given layouts: without work, and in place, where it is all of
/// both. Other inputs are plain.
Lowered lower_box(const LowerContext& context, BoxCopy box, Layout in, Layout out);

/// The elements of a constant int64 or int32 tensor.
std::vector<std::int64_t> integers_of(const Tensor& constant);

/// A constant input to be kept by a step, or null when input i is no constant.
std::shared_ptr<const Tensor> shared_constant(const LowerContext& context, int i);

/// The output as a tensor in the given layout.
TensorDesc output_desc(const LowerContext& context, int i, Layout layout);

/// Refusals that all pure movements share: a fused epilogue. Empty when there is none.
std::optional<Refusal> refuse_epilogue(const LowerContext& context);

}  // namespace ember::ops
