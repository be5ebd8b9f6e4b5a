#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

#include "ops/cast.hpp"
#include "ops/pad.hpp"
#include "ops/strided_copy.hpp"

// Pad by boxes: along each axis the output is a few stretches of the input, forwards, backwards or standing
// still, or of the padding value; each combination of stretches is one copy.

namespace ember::ops {

namespace {

/// Reflections of a short axis over a long padding would give ever more boxes.
constexpr std::size_t kMaxBoxes = 256;

struct Stretch {
  std::int64_t to_start = 0;
  AxisRange from;
  bool constant = false;
};

/// Output positions along an axis as maximal stretches of constant step.
std::vector<Stretch> stretches(PadMode mode, const Padding& padding, int axis) {
  const auto at = static_cast<std::size_t>(axis);
  const auto source = [&](std::int64_t i) {
    return padded_source(mode, i - padding.before[at], padding.kept[at]);
  };
  std::vector<Stretch> found;
  const std::int64_t extent = padding.shape[axis];
  for (std::int64_t i = 0; i < extent && found.size() <= kMaxBoxes;) {
    const std::int64_t first = source(i);
    Stretch stretch{.to_start = i, .from = {first + padding.crop_begin[at], 1, 1}, .constant = first < 0};
    // A stretch goes on while the distance to its first element grows evenly (or stays below 0).
    if (i + 1 < extent) stretch.from.step = stretch.constant ? 0 : source(i + 1) - first;
    if (std::abs(stretch.from.step) > 1) stretch.from.step = 0;  // a jump: the next stretch begins there
    const auto belongs = [&](std::int64_t j) {
      const std::int64_t s = source(j);
      return stretch.constant ? s < 0 : s >= 0 && s - first == stretch.from.step * (j - stretch.to_start);
    };
    for (++i; i < extent && belongs(i); ++i) ++stretch.from.count;
    found.push_back(stretch);
  }
  return found;
}

/// Collects the boxes of all combinations of stretches.
class Boxes {
 public:
  Boxes(const TensorDesc& in, const TensorDesc& out, const std::vector<std::vector<Stretch>>& by_axis)
      : in_(in), out_(out), by_axis_(by_axis) {
    visit(0, {});
  }
  std::vector<BoxCopy> copies, fills;

 private:
  void visit(int axis, const BoxCopy& box) {
    if (copies.size() + fills.size() > kMaxBoxes) return;
    if (axis == out_.shape.rank()) {
      copies.push_back(box);
      return;
    }
    for (const Stretch& stretch : by_axis_[static_cast<std::size_t>(axis)]) {
      BoxCopy next = box;
      if (!stretch.constant) {
        add_axis(next, in_, axis, stretch.from, out_, axis, stretch.to_start);
        visit(axis + 1, next);
        continue;
      }
      // The value fills everything along the axes further in.
      next.from_offset = 0;
      for (BoxCopy::Axis& done : next.axes) done.from = 0;
      add_axis(next, in_, -1, {.count = stretch.from.count}, out_, axis, stretch.to_start);
      for (int rest = axis + 1; rest < out_.shape.rank(); ++rest)
        add_axis(next, in_, -1, {.count = out_.shape[rest]}, out_, rest);
      fills.push_back(std::move(next));
    }
  }

  const TensorDesc& in_;
  const TensorDesc& out_;
  const std::vector<std::vector<Stretch>>& by_axis_;
};

const Tensor* constant_at(const LowerContext& c, int i) {
  return c.has_input(i) ? c.constants[static_cast<std::size_t>(i)] : nullptr;
}

std::shared_ptr<const Tensor> padding_value(const LowerContext& c) {
  if (const Tensor* given = constant_at(c, 2); given != nullptr && c.opset() >= 11)
    return std::make_shared<const Tensor>(*given);
  Tensor value(c.inputs[0].type, {});
  const float stated = c.opset() < 11 ? c.real("value", 0.0F) : 0.0F;
  cast_function(c, DataType::Float32, value.type())(&stated, value.raw(), 1);
  return std::make_shared<const Tensor>(std::move(value));
}

/// Blocked when whole blocks of channels stay together; a value in the channel padding must be finite.
bool may_stay_blocked(const TensorDesc& in, const Padding& padding,
                      const std::vector<std::vector<Stretch>>& by_axis, const Tensor& value) {
  if (in.layout != Layout::Blocked) return false;
  for (const Stretch& stretch : by_axis[1]) {
    const bool whole = stretch.constant || are_whole_blocks(in, stretch.from);
    if (!whole || stretch.to_start % in.block != 0) return false;
  }
  return padding.shape[1] % in.block == 0 || std::isfinite(value.data<float>()[0]);
}

LowerResult consider_pad(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  for (int i = 1; i < c.input_count(); ++i) {
    if (c.has_input(i) && constant_at(c, i) == nullptr) return Refusal{"the pads are not constant"};
  }
  TensorDesc in = c.inputs[0];
  std::optional<std::vector<std::int64_t>> axes;
  if (c.opset() >= 18 && c.has_input(3)) axes = integers_of(*constant_at(c, 3));
  const auto pads = c.opset() < 11 ? c.integers("pads") : integers_of(*constant_at(c, 1));
  const Padding padding = resolve_padding(c, in.shape, pads, axes);
  const auto value = padding_value(c);
  std::vector<std::vector<Stretch>> by_axis;
  for (int axis = 0; axis < in.shape.rank(); ++axis) by_axis.push_back(stretches(pad_mode(c), padding, axis));
  if (!may_stay_blocked(in, padding, by_axis, *value)) in.layout = Layout::Plain;
  const TensorDesc out = output_desc(c, 0, in.layout);
  Boxes boxes(in, out, by_axis);
  if (boxes.copies.size() + boxes.fills.size() > kMaxBoxes) return Refusal{"too many reflections"};
  std::vector<Move> moves;
  for (BoxCopy& box : boxes.copies)
    moves.push_back(
        {.constant = shared_constant(c, 0), .copy = StridedCopy(in.type, std::move(box), c.kernels())});
  for (BoxCopy& box : boxes.fills)
    moves.push_back({.constant = value, .copy = StridedCopy(in.type, std::move(box), c.kernels())});
  Lowered lowered{.step = make_move_step(std::move(moves))};
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = in.layout;
  lowered.output_layouts = {in.layout};
  return lowered;
}

}  // namespace

void add_pad_candidates(CandidateMap& map) {
  map["Pad"].push_back({.implementation = "strided_pad", .consider = consider_pad});
}

}  // namespace ember::ops
