#include "ops/strided_copy.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "kernels/table.hpp"

namespace ember::ops {

namespace {

/// Elements that one task moves: about 64 KiB of float32.
constexpr std::int64_t kTaskElements = 16384;

/// One stretch of a tensor's axis in memory.
struct Stretch {
  std::int64_t extent, stride;
};

bool is_blocked_channel(const TensorDesc& desc, int axis) {
  return axis == 1 && desc.layout == Layout::Blocked;
}

std::int64_t stored_blocks(const TensorDesc& desc, std::int64_t channels) {
  return (channels + desc.block - 1) / desc.block;
}

/// Elements between neighbours along an axis (between blocks along a blocked channel axis).
std::int64_t stride_of(const TensorDesc& desc, int axis) {
  const Shape& shape = desc.shape;
  if (desc.layout == Layout::Plain) return shape.elements(axis + 1, shape.rank());
  if (axis >= 1) return shape.elements(std::max(axis + 1, 2), shape.rank()) * desc.block;
  return stored_blocks(desc, shape[1]) * desc.block * shape.elements(2, shape.rank());
}

/// Drops axes of extent 1, orders by target and merges neighbours that are one axis in both places.
std::vector<BoxCopy::Axis> simplified(std::vector<BoxCopy::Axis> axes) {
  std::erase_if(axes, [](const BoxCopy::Axis& axis) { return axis.extent == 1; });
  std::ranges::stable_sort(axes, [](const auto& a, const auto& b) { return a.to > b.to; });
  std::vector<BoxCopy::Axis> merged;
  for (const BoxCopy::Axis& axis : axes) {
    if (!merged.empty() && merged.back().from == axis.from * axis.extent &&
        merged.back().to == axis.to * axis.extent) {
      merged.back() = {merged.back().extent * axis.extent, axis.from, axis.to};
    } else {
      merged.push_back(axis);
    }
  }
  return merged;
}

}  // namespace

void add_axis(BoxCopy& box, const TensorDesc& from, int from_axis, const AxisRange& range,
              const TensorDesc& to, int to_axis, std::int64_t to_start) {
  const std::int64_t to_stride = stride_of(to, to_axis);
  if (from_axis < 0) {
    const bool blocked = is_blocked_channel(to, to_axis);
    box.axes.push_back({blocked ? stored_blocks(to, range.count) : range.count, 0, to_stride});
    if (blocked) box.axes.push_back({to.block, 0, 1});
    box.to_offset += (blocked ? to_start / to.block : to_start) * to_stride;
    return;
  }
  const std::int64_t from_stride = stride_of(from, from_axis);
  if (!is_blocked_channel(from, from_axis)) {
    box.axes.push_back({range.count, from_stride * range.step, to_stride});
    box.from_offset += range.start * from_stride;
    box.to_offset += to_start * to_stride;
    return;
  }
  const std::int64_t blocks = stored_blocks(from, range.count);
  const bool both = is_blocked_channel(to, to_axis);
  box.axes.push_back({blocks, from_stride, both ? to_stride : to_stride * from.block});
  box.axes.push_back({from.block, 1, both ? 1 : to_stride});
  box.from_offset += range.start / from.block * from_stride;
  box.to_offset += both ? to_start / from.block * to_stride : to_start * to_stride;
}

bool are_whole_blocks(const TensorDesc& blocked, const AxisRange& channels) noexcept {
  const bool whole_end =
      channels.count % blocked.block == 0 || channels.start + channels.count == blocked.shape[1];
  return channels.step == 1 && channels.start % blocked.block == 0 && whole_end;
}

StridedCopy::StridedCopy(DataType type, BoxCopy box, const kernels::KernelTable& kernels)
    : outer_(simplified(std::move(box.axes))),
      from_offset_(box.from_offset),
      to_offset_(box.to_offset),
      element_(size_of(type)) {
  const bool empty = std::ranges::any_of(outer_, [](const BoxCopy::Axis& axis) { return axis.extent == 0; });
  if (empty) {
    outer_.clear();
    return;
  }
  choose_kernel(kernels);
  cut();
}

void StridedCopy::choose_kernel(const kernels::KernelTable& kernels) {
  const auto take_last = [&]() -> BoxCopy::Axis {
    if (outer_.empty()) return {1, 1, 1};
    const BoxCopy::Axis last = outer_.back();
    outer_.pop_back();
    return last;
  };
  const BoxCopy::Axis column = take_last();
  // Along the rows of a transpose the source is dense.
  const auto dense = std::ranges::find_if(outer_, [](const BoxCopy::Axis& axis) { return axis.from == 1; });
  transposes_ = column.to == 1 && column.from != 1 && column.from != 0 && dense != outer_.end();
  if (transposes_) std::rotate(dense, dense + 1, outer_.end());
  const BoxCopy::Axis row = take_last();
  plane_ = {row.extent, column.extent, row.from, column.from, row.to, column.to};
  const auto size = static_cast<std::size_t>(std::countr_zero(element_));
  const kernels::MovementKernels& moves = *kernels.movement;
  if (transposes_) move_ = moves.transpose[size];
  else if (column.to == 1 && column.from == 1) move_ = moves.copy[size];
  else if (column.to == 1 && column.from == 0) move_ = moves.fill[size];
  else move_ = moves.any[size];
}

void StridedCopy::cut() {
  planes_ = 1;
  for (const BoxCopy::Axis& axis : outer_) planes_ *= axis.extent;
  column_chunk_ = std::min(plane_.columns, kTaskElements);
  row_chunk_ = std::max<std::int64_t>(kTaskElements / column_chunk_, 1);
  if (transposes_) row_chunk_ = (row_chunk_ + 15) / 16 * 16;  // whole cache lines of the source
  row_chunk_ = std::min(row_chunk_, plane_.rows);
  column_chunks_ = (plane_.columns + column_chunk_ - 1) / column_chunk_;
  row_chunks_ = (plane_.rows + row_chunk_ - 1) / row_chunk_;
  const std::int64_t in_plane = plane_.rows * plane_.columns;
  if (column_chunks_ * row_chunks_ == 1)
    planes_per_task_ = std::max<std::int64_t>(kTaskElements / in_plane, 1);
  tasks_ = (planes_ + planes_per_task_ - 1) / planes_per_task_ * column_chunks_ * row_chunks_;
  const bool streams = plane_.from_column == 1 || plane_.from_column == 0;
  const std::int64_t elements = planes_ * in_plane;
  work_ = streams ? elements * static_cast<std::int64_t>(element_) / 8 : elements;
}

bool StridedCopy::is_one_run() const noexcept {
  return outer_.empty() && plane_.rows == 1 && plane_.from_column == 1 && plane_.to_column == 1;
}

bool StridedCopy::is_dense() const noexcept { return from_offset_ == 0 && to_offset_ == 0 && is_one_run(); }

bool StridedCopy::is_there(const void* from, const void* to) const noexcept {
  const auto element = static_cast<std::int64_t>(element_);
  return is_one_run() && static_cast<const std::byte*>(from) + from_offset_ * element ==
                             static_cast<const std::byte*>(to) + to_offset_ * element;
}

void StridedCopy::run_task(const void* from, void* to, std::int64_t task) const {
  const std::int64_t parts = row_chunks_ * column_chunks_;
  const std::int64_t first_row = task % parts / column_chunks_ * row_chunk_;
  const std::int64_t first_column = task % column_chunks_ * column_chunk_;
  kernels::Plane part = plane_;
  part.rows = std::min(row_chunk_, plane_.rows - first_row);
  part.columns = std::min(column_chunk_, plane_.columns - first_column);
  const std::int64_t from_part =
      from_offset_ + first_row * plane_.from_row + first_column * plane_.from_column;
  const std::int64_t to_part = to_offset_ + first_row * plane_.to_row + first_column * plane_.to_column;
  const std::int64_t first = task / parts * planes_per_task_;
  const std::int64_t last = std::min(first + planes_per_task_, planes_);
  const auto element = static_cast<std::int64_t>(element_);
  for (std::int64_t plane = first; plane < last; ++plane) {
    std::int64_t from_at = from_part;
    std::int64_t to_at = to_part;
    std::int64_t rest = plane;
    for (auto axis = outer_.rbegin(); axis != outer_.rend(); ++axis) {
      from_at += rest % axis->extent * axis->from;
      to_at += rest % axis->extent * axis->to;
      rest /= axis->extent;
    }
    move_(static_cast<const std::byte*>(from) + from_at * element,
          static_cast<std::byte*>(to) + to_at * element, part);
  }
}

namespace {

class MoveStep final : public Step {
 public:
  explicit MoveStep(std::vector<Move> moves) : moves_(std::move(moves)) {
    for (const Move& move : moves_) {
      tasks_ += move.copy.tasks();
      work_ += move.copy.work();
    }
  }

  void run(const StepContext& context) const override {
    const auto is_there = [&](const Move& move) {
      return move.copy.is_there(source(move, context), target(move, context));
    };
    if (std::ranges::all_of(moves_, is_there)) return;
    context.parallel.for_each(tasks_, work_, [&](std::int64_t task, int) {
      const Move* move = moves_.data();
      for (; task >= move->copy.tasks(); ++move) task -= move->copy.tasks();
      if (!is_there(*move)) move->copy.run_task(source(*move, context), target(*move, context), task);
    });
  }

 private:
  static const void* source(const Move& move, const StepContext& context) {
    return move.constant != nullptr ? move.constant->raw()
                                    : context.inputs[static_cast<std::size_t>(move.input)];
  }
  static void* target(const Move& move, const StepContext& context) {
    return context.outputs[static_cast<std::size_t>(move.output)];
  }

  std::vector<Move> moves_;
  std::int64_t tasks_ = 0, work_ = 0;
};

class CopyStep final : public Step {
 public:
  CopyStep(std::shared_ptr<const Tensor> constant, std::size_t bytes)
      : constant_(std::move(constant)), bytes_(bytes) {}

  void run(const StepContext& context) const override {
    const auto* from =
        static_cast<const std::byte*>(constant_ != nullptr ? constant_->raw() : context.inputs[0]);
    auto* to = static_cast<std::byte*>(context.outputs[0]);
    if (from == to || bytes_ == 0) return;
    constexpr std::size_t kChunk = kTaskElements * sizeof(float);
    const std::size_t chunks = (bytes_ + kChunk - 1) / kChunk;
    context.parallel.for_each(static_cast<std::int64_t>(chunks), static_cast<std::int64_t>(bytes_ / 8),
                              [&](std::int64_t task, int) {
                                const std::size_t at = static_cast<std::size_t>(task) * kChunk;
                                std::memcpy(to + at, from + at, std::min(kChunk, bytes_ - at));
                              });
  }

 private:
  std::shared_ptr<const Tensor> constant_;
  std::size_t bytes_;
};

}  // namespace

std::unique_ptr<Step> make_move_step(std::vector<Move> moves) {
  return std::make_unique<MoveStep>(std::move(moves));
}

std::unique_ptr<Step> make_copy_step(std::shared_ptr<const Tensor> constant, std::size_t bytes) {
  return std::make_unique<CopyStep>(std::move(constant), bytes);
}

Lowered lower_box(const LowerContext& context, BoxCopy box, Layout in, Layout out) {
  TensorDesc source = context.inputs[0];
  source.layout = in;
  const std::size_t bytes = source.bytes();
  Lowered lowered;
  lowered.input_layouts.assign(context.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = in;
  lowered.output_layouts = {out};
  StridedCopy copy(source.type, std::move(box), context.kernels());
  if (copy.is_dense() && bytes == output_desc(context, 0, out).bytes()) {
    lowered.step = make_copy_step(shared_constant(context, 0), bytes);
    lowered.in_place = 0;
    return lowered;
  }
  std::vector<Move> moves;
  moves.push_back({.constant = shared_constant(context, 0), .copy = std::move(copy)});
  lowered.step = make_move_step(std::move(moves));
  return lowered;
}

std::vector<std::int64_t> integers_of(const Tensor& constant) {
  const auto list = [](auto data) { return std::vector<std::int64_t>(data.begin(), data.end()); };
  return constant.type() == DataType::Int32 ? list(constant.data<std::int32_t>())
                                            : list(constant.data<std::int64_t>());
}

std::shared_ptr<const Tensor> shared_constant(const LowerContext& context, int i) {
  const auto at = static_cast<std::size_t>(i);
  if (at >= context.constants.size() || context.constants[at] == nullptr) return nullptr;
  const auto& held = context.graph().value(context.node().inputs[at]).constant;
  return held.get() == context.constants[at] ? held : std::make_shared<const Tensor>(*context.constants[at]);
}

TensorDesc output_desc(const LowerContext& context, int i, Layout layout) {
  TensorDesc desc = context.outputs[static_cast<std::size_t>(i)];
  desc.layout = layout;
  desc.block = layout == Layout::Blocked ? context.block() : 1;
  return desc;
}

std::optional<Refusal> refuse_epilogue(const LowerContext& context) {
  if (context.epilogue.empty()) return std::nullopt;
  return Refusal{"an epilogue is fused behind it"};
}

}  // namespace ember::ops
