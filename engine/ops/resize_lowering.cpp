#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/resize.hpp"
#include "kernels/table.hpp"
#include "ops/product_lowering.hpp"
#include "ops/resize_geometry.hpp"

// Resize and Upsample of float32, plain or blocked. Rows are blended over the leading resized axes, then
// columns over the last one. With channels in blocks a column is a vector; otherwise it is gathered.

namespace ember::ops {

namespace {

/// Axes that rows are blended over, and the rows one output row may be blended of (bicubic over depth and
/// height takes 16; antialiasing more).
constexpr std::size_t kLeadAxes = 3;
constexpr std::int64_t kMostRows = 256;

/// The taps of one axis as a kernel reads them.
struct Taps {
  std::int64_t input = 1, output = 1, taps = 1;
  std::vector<std::int32_t> index;
  std::vector<float> weight;
};

Taps make_taps(const NodeContext& node, const ResizeGeometry& g, const ResizeAxis& axis, bool tap_major) {
  AxisTaps exact;
  if (axis.identity()) {
    for (std::int64_t o = 0; o < axis.output; ++o) exact.index.push_back(o);
    exact.weight.assign(exact.index.size(), 1.0);
  } else {
    exact = axis_taps(node, g, axis);
  }
  Taps taps{.input = axis.input, .output = axis.output, .taps = exact.taps, .index = {}, .weight = {}};
  taps.index.resize(exact.index.size());
  taps.weight.resize(exact.index.size());
  for (std::int64_t o = 0; o < axis.output; ++o) {
    for (std::int64_t t = 0; t < exact.taps; ++t) {
      const auto from = static_cast<std::size_t>(o * exact.taps + t);
      const auto to = tap_major ? static_cast<std::size_t>(t * axis.output + o) : from;
      taps.index[to] = static_cast<std::int32_t>(exact.index[from]);
      taps.weight[to] = static_cast<float>(exact.weight[from]);
    }
  }
  return taps;
}

struct ResizePlan {
  bool nearest = false;
  std::int64_t outer = 1;  ///< tensors that are resized alike, one after the other
  std::vector<Taps> lead;  ///< outermost first
  Taps columns;            ///< tap by tap
  std::int64_t inner = 1;
  const kernels::ResizeKernels* kernels = nullptr;
};

class ResizeStep final : public Step {
 public:
  explicit ResizeStep(ResizePlan plan) : plan_(std::move(plan)) {
    for (const Taps& axis : plan_.lead) {
      lead_outputs_ *= axis.output;
      lead_inputs_ *= axis.input;
      rows_per_output_ *= axis.taps;
    }
    in_row_ = plan_.columns.input * plan_.inner;
    out_row_ = plan_.columns.output * plan_.inner;
    blended_bytes_ = rows_per_output_ == 1 ? 0 : align_up(static_cast<std::size_t>(in_row_) * sizeof(float));
    const std::int64_t rows = plan_.outer * lead_outputs_;
    // About as many nanoseconds as multiply-adds: gathers are slow, whole vectors fast.
    const std::int64_t row_work = (rows_per_output_ * in_row_ + plan_.columns.taps * out_row_) / 4 + 1;
    chunks_ = Chunks(rows, static_cast<std::int64_t>(kTaskNanoseconds) / row_work);
    work_ = rows * row_work;
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return blended_bytes_ * static_cast<std::size_t>(workers);
  }

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const kernels::ColumnTaps columns{.outputs = plan_.columns.output,
                                      .taps = plan_.columns.taps,
                                      .index = plan_.columns.index.data(),
                                      .weight = plan_.columns.weight.data()};
    context.parallel.for_each(chunks_.parts(), work_, [&](std::int64_t part, int worker) {
      auto* blended =
          reinterpret_cast<float*>(context.scratch + blended_bytes_ * static_cast<std::size_t>(worker));
      for (std::int64_t row = chunks_.begin(part); row < chunks_.end(part); ++row) {
        const float* tensor = x + row / lead_outputs_ * lead_inputs_ * in_row_;
        const float* source = source_row(tensor, row % lead_outputs_, blended);
        float* to = y + row * out_row_;
        if (plan_.nearest) plan_.kernels->pick_columns(source, columns, plan_.inner, to);
        else plan_.kernels->blend_columns(source, columns, plan_.inner, to);
      }
    });
  }

 private:
  /// The input row, or blend of rows, that output row `row` of one tensor is made of.
  const float* source_row(const float* tensor, std::int64_t row, float* blended) const {
    const float* rows[kMostRows];
    float weights[kMostRows];
    rows[0] = tensor;
    weights[0] = 1.0F;
    std::int64_t count = 1;
    std::int64_t step = in_row_;  // floats between neighbours along the axis at hand, innermost first
    for (std::size_t i = plan_.lead.size(); i-- > 0;) {
      const Taps& axis = plan_.lead[i];
      const auto first = static_cast<std::size_t>(row % axis.output * axis.taps);
      row /= axis.output;
      // Each row so far becomes one per tap; backwards, so that none is overwritten before its use.
      for (std::int64_t r = count - 1; r >= 0; --r) {
        const float* base = rows[r];
        const float weight = weights[r];
        for (std::int64_t t = axis.taps - 1; t >= 0; --t) {
          const std::size_t tap = first + static_cast<std::size_t>(t);
          rows[r * axis.taps + t] = base + axis.index[tap] * step;
          weights[r * axis.taps + t] = weight * axis.weight[tap];
        }
      }
      count *= axis.taps;
      step *= axis.input;
    }
    if (count == 1) return rows[0];
    plan_.kernels->blend_rows(rows, weights, count, blended, in_row_);
    return blended;
  }

  ResizePlan plan_;
  std::int64_t lead_outputs_ = 1, lead_inputs_ = 1, rows_per_output_ = 1;
  std::int64_t in_row_ = 0, out_row_ = 0;
  std::size_t blended_bytes_ = 0;
  Chunks chunks_;
  std::int64_t work_ = 0;
};

/// The operand's constant elements; null when it is left out, empty or not constant.
const Tensor* operand(const LowerContext& c, int i) {
  if (i < 0 || !c.has_input(i)) return nullptr;
  const Tensor* constant = c.constants[static_cast<std::size_t>(i)];
  return constant == nullptr || constant->elements() == 0 ? nullptr : constant;
}

std::string refusal(const LowerContext& c) {
  if (c.inputs[0].type != DataType::Float32) return "not float32";
  const Shape& x = c.inputs[0].shape;
  const Shape& y = c.outputs[0].shape;
  if (x.rank() == 0 || x.elements() == 0 || y.elements() == 0) return "nothing to resize";
  if (c.text("coordinate_transformation_mode", "") == "tf_crop_and_resize") return "tf_crop_and_resize";
  const ResizeInputs inputs = resize_inputs(c);
  for (const int i : {inputs.scales, inputs.sizes}) {
    const bool given = i >= 0 && c.has_input(i) && c.inputs[static_cast<std::size_t>(i)].shape.elements() > 0;
    if (given && operand(c, i) == nullptr) return fmt::format("input {} is not constant", i);
  }
  for (const Shape& shape : {x, y}) {
    if (std::ranges::any_of(shape,
                            [](std::int64_t e) { return e > std::numeric_limits<std::int32_t>::max() / 64; }))
      return "an extent beyond 32 bits";
  }
  return {};
}

LowerResult consider_resize(LowerContext& c) {
  const std::string reason = refusal(c);
  if (!reason.empty()) return Refusal{reason};
  const ResizeInputs inputs = resize_inputs(c);
  const ResizeGeometry g = resize_geometry(
      c, c.inputs[0].shape, {.scales = operand(c, inputs.scales), .sizes = operand(c, inputs.sizes)});
  // The range of axes from the first that changes to the last; the innermost one when none does.
  const auto changes = [](const ResizeAxis& axis) { return !axis.identity(); };
  const auto from = std::ranges::find_if(g.axes, changes);
  const auto back = std::find_if(g.axes.rbegin(), g.axes.rend(), changes);
  const int end = static_cast<int>(g.axes.size()) - 1;
  const int first = from == g.axes.end() ? end : static_cast<int>(from - g.axes.begin());
  const int last = from == g.axes.end() ? end : end - static_cast<int>(back - g.axes.rbegin());
  if (static_cast<std::size_t>(last - first) > kLeadAxes) return Refusal{"more than four axes"};

  const TensorDesc& x = c.inputs[0];
  // A block of one or two channels is mostly padding, and an enlarged one a lot of it.
  const bool padding = x.shape.rank() > 1 && x.shape[1] * 8 <= c.block();
  const bool blocked = x.layout == Layout::Blocked && first >= 2 && !padding;
  ResizePlan plan;
  plan.nearest = g.mode == ResizeMode::Nearest;
  plan.outer = x.shape.elements(0, first);
  plan.inner = x.shape.elements(last + 1, x.shape.rank());
  if (blocked) {
    plan.outer = x.shape[0] * ceil_div(x.shape[1], x.block) * x.shape.elements(2, first);
    plan.inner *= x.block;
  }
  std::int64_t rows = 1;
  for (int i = first; i < last; ++i) {
    plan.lead.push_back(make_taps(c, g, g.axes[static_cast<std::size_t>(i)], false));
    rows *= plan.lead.back().taps;
    if (rows > kMostRows) return Refusal{"too many rows per output row"};
  }
  plan.columns = make_taps(c, g, g.axes[static_cast<std::size_t>(last)], true);
  plan.kernels = c.kernels().resize;
  Lowered lowered;
  if (blocked) {
    lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
    lowered.input_layouts[0] = Layout::Blocked;
    lowered.output_layouts = {Layout::Blocked};
  }
  lowered.step = std::make_unique<ResizeStep>(std::move(plan));
  return lowered;
}

}  // namespace

void add_resize_candidates(CandidateMap& map) {
  map["Resize"].push_back({"resize_rows", consider_resize});
  map["Upsample"].push_back({"resize_rows", consider_resize});
}

}  // namespace ember::ops
