#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "kernels/elementwise.hpp"
#include "kernels/reduce.hpp"
#include "kernels/table.hpp"
#include "ops/axes.hpp"
#include "ops/lowering.hpp"
#include "ops/tile_loops.hpp"

// Reductions of float32 over neighbouring axes, plain or (over spatial axes) blocked, and ArgMax, ArgMin.

namespace ember::ops {

namespace {

using kernels::ReduceOp;
using kernels::UnaryOp;

/// A tensor seen as [outer][count][inner] around what is reduced.
struct Lines {
  std::int64_t outer = 1;
  std::int64_t count = 1;
  std::int64_t inner = 1;
};

/// Work of one task, in elements read: enough to be worth handing over.
constexpr std::int64_t kTaskElements = 8192;
/// Columns per task.
constexpr std::int64_t kStrip = 512;

/// What is done to each result.
struct Finish {
  float factor = 1;
  std::optional<UnaryOp> function;
};

class ReduceStep final : public Step {
 public:
  /// `unpadded` is the number of channels when blocks of them are written to a plain [N, C], else 0.
  ReduceStep(const kernels::KernelTable& kernels, ReduceOp op, const Lines& lines, const Finish& finish,
             std::int64_t unpadded)
      : kernels_(&kernels), op_(op), lines_(lines), finish_(finish), unpadded_(unpadded) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int64_t strips = (lines_.inner + kStrip - 1) / kStrip;
    const std::int64_t units = lines_.outer * strips;
    const std::int64_t unit_elements = lines_.count * std::min(lines_.inner, kStrip);
    const std::int64_t group = std::max<std::int64_t>(1, kTaskElements / unit_elements);
    const std::int64_t work = lines_.outer * lines_.count * lines_.inner / 8;
    context.parallel.for_each((units + group - 1) / group, work, [&](std::int64_t task, int) {
      const std::int64_t end = std::min(units, (task + 1) * group);
      for (std::int64_t unit = task * group; unit < end; ++unit)
        reduce(x, y, unit / strips, unit % strips * kStrip);
    });
  }

 private:
  void reduce(const float* x, float* y, std::int64_t outer, std::int64_t column) const {
    std::int64_t width = std::min(kStrip, lines_.inner - column);
    std::int64_t to = outer * lines_.inner + column;
    if (unpadded_ != 0) {
      const std::int64_t blocks = (unpadded_ + lines_.inner - 1) / lines_.inner;
      const std::int64_t first = outer % blocks * lines_.inner + column;
      width = std::min(width, unpadded_ - first);
      to = outer / blocks * unpadded_ + first;
    }
    const float* from = x + outer * lines_.count * lines_.inner + column;
    if (lines_.inner == 1) y[to] = kernels_->reduce->run(op_, from, lines_.count);
    else kernels_->reduce->columns(op_, from, y + to, lines_.count, lines_.inner, width);
    if (finish_.factor != 1.0F) kernels_->elementwise->scale(y + to, y + to, width, finish_.factor);
    if (finish_.function) kernels_->elementwise->unary(*finish_.function, y + to, y + to, width);
  }

  const kernels::KernelTable* kernels_;
  ReduceOp op_;
  Lines lines_;
  Finish finish_;
  std::int64_t unpadded_;
};

/// The lines of a reduction, or nothing when the reduced axes are apart from each other.
std::optional<Lines> lines_of(const TensorDesc& desc, const AxisSet& axes) {
  const std::vector<std::int64_t> dims = memory_dims(desc);
  Lines lines;
  enum { Before, Within, Behind } place = Before;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] == 1) continue;
    const bool reduced = axis < static_cast<std::size_t>(desc.shape.rank()) && axes[axis];
    if (reduced && place == Behind) return std::nullopt;
    if (reduced) {
      place = Within;
      lines.count *= dims[axis];
    } else if (place == Before) {
      lines.outer *= dims[axis];
    } else {
      place = Behind;
      lines.inner *= dims[axis];
    }
  }
  return lines;
}

/// A blocked input is reduced as it is when only spatial axes go and padding stays finite.
bool stays_blocked(const LowerContext& c, const AxisSet& axes, bool finite_padding) {
  const TensorDesc& input = c.inputs[0];
  if (input.layout != Layout::Blocked || axes[0] || axes[1]) return false;
  return finite_padding || input.shape[1] % c.block() == 0;
}

LowerResult lower_reduce(LowerContext& c, ReduceOp op, bool mean, std::optional<UnaryOp> function) {
  TensorDesc input = c.inputs[0];
  if (input.type != DataType::Float32) return Refusal{fmt::format("element type {}", to_string(input.type))};
  if (input.shape.elements() == 0) return Refusal{"no elements"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  const bool from_input = reduction_axes_are_input(c);
  std::vector<std::int64_t> given = from_input ? std::vector<std::int64_t>() : c.integers("axes");
  if (from_input && c.has_input(1)) {
    if (c.constants[1] == nullptr) return Refusal{"computed axes"};
    const auto values = c.constants[1]->data<std::int64_t>();
    given.assign(values.begin(), values.end());
  }
  const AxisSet axes = reduction_axes(c, input.shape.rank(), from_input, given);
  const bool finite_padding = op != ReduceOp::Product && function != UnaryOp::Log;
  if (!stays_blocked(c, axes, finite_padding)) input.layout = Layout::Plain;
  const std::optional<Lines> lines = lines_of(input, axes);
  if (!lines) return Refusal{"axes that are not neighbours"};

  Lowered lowered;
  lowered.input_layouts = {input.layout};
  const bool blocked_result = input.layout == Layout::Blocked && c.outputs[0].shape.rank() >= 3;
  lowered.output_layouts = {blocked_result ? Layout::Blocked : Layout::Plain};
  const bool unpads = input.layout == Layout::Blocked && !blocked_result;
  const Finish finish = {.factor = mean ? 1.0F / static_cast<float>(lines->count) : 1.0F,
                         .function = function};
  lowered.step = std::make_unique<ReduceStep>(c.kernels(), op, *lines, finish, unpads ? input.shape[1] : 0);
  return lowered;
}

template <ReduceOp kOp, bool kMean = false>
LowerResult lower_plain(LowerContext& c) {
  return lower_reduce(c, kOp, kMean, std::nullopt);
}
template <ReduceOp kOp, UnaryOp kFunction>
LowerResult lower_with(LowerContext& c) {
  return lower_reduce(c, kOp, false, kFunction);
}

// ---- ArgMax, ArgMin

class ArgStep final : public Step {
 public:
  ArgStep(const kernels::ReduceKernels& kernels, bool max, bool last, const Lines& lines)
      : kernels_(&kernels), max_(max), last_(last), lines_(lines) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<std::int64_t*>(context.outputs[0]);
    const std::int64_t work = lines_.outer * lines_.count * lines_.inner;
    const std::int64_t strips = (lines_.inner + kStrip - 1) / kStrip;
    context.parallel.for_each(lines_.outer * strips, work, [&](std::int64_t task, int) {
      const std::int64_t outer = task / strips;
      const std::int64_t column = task % strips * kStrip;
      const float* from = x + outer * lines_.count * lines_.inner + column;
      std::int64_t* to = y + outer * lines_.inner + column;
      if (lines_.inner == 1) *to = kernels_->arg_run(max_, last_, from, lines_.count);
      else
        kernels_->arg_columns(max_, last_, from, to, lines_.count, lines_.inner,
                              std::min(kStrip, lines_.inner - column));
    });
  }

 private:
  const kernels::ReduceKernels* kernels_;
  bool max_, last_;
  Lines lines_;
};

template <bool kMax>
LowerResult lower_arg(LowerContext& c) {
  const TensorDesc& input = c.inputs[0];
  if (input.type != DataType::Float32) return Refusal{fmt::format("element type {}", to_string(input.type))};
  if (input.shape.elements() == 0) return Refusal{"no elements"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  const int rank = input.shape.rank();
  const int axis = normalize_axis(c, c.integer("axis", 0), rank);
  const Lines lines = {.outer = input.shape.elements(0, axis),
                       .count = input.shape[axis],
                       .inner = input.shape.elements(axis + 1, rank)};
  Lowered lowered;
  lowered.step =
      std::make_unique<ArgStep>(*c.kernels().reduce, kMax, c.integer("select_last_index", 0) != 0, lines);
  return lowered;
}

}  // namespace

void add_reduce_candidates(CandidateMap& map) {
  map["ReduceSum"].push_back({"reduce", lower_plain<ReduceOp::Sum>});
  map["ReduceMean"].push_back({"reduce", lower_plain<ReduceOp::Sum, true>});
  map["ReduceMax"].push_back({"reduce", lower_plain<ReduceOp::Max>});
  map["ReduceMin"].push_back({"reduce", lower_plain<ReduceOp::Min>});
  map["ReduceProd"].push_back({"reduce", lower_plain<ReduceOp::Product>});
  map["ReduceL1"].push_back({"reduce", lower_plain<ReduceOp::SumOfMagnitudes>});
  map["ReduceSumSquare"].push_back({"reduce", lower_plain<ReduceOp::SumOfSquares>});
  map["ReduceL2"].push_back({"reduce", lower_with<ReduceOp::SumOfSquares, UnaryOp::Sqrt>});
  map["ReduceLogSum"].push_back({"reduce", lower_with<ReduceOp::Sum, UnaryOp::Log>});
  map["ArgMax"].push_back({"arg", lower_arg<true>});
  map["ArgMin"].push_back({"arg", lower_arg<false>});
}

}  // namespace ember::ops
