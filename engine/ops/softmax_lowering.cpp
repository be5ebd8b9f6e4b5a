#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "kernels/softmax.hpp"
#include "kernels/table.hpp"
#include "ops/lowering.hpp"
#include "ops/softmax.hpp"

// Softmax and LogSoftmax of float32 along any axis.

namespace ember::ops {

namespace {

class SoftmaxStep final : public Step {
 public:
  SoftmaxStep(const kernels::KernelTable& kernels, const SoftmaxLines& lines, bool logarithm)
      : kernels_(kernels.softmax),
        turn_(kernels.movement->transpose[2]),
        lines_(lines),
        logarithm_(logarithm) {}

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return are_short() ? static_cast<std::size_t>(workers) * turned_bytes() : 0;
  }

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    if (are_short()) run_short_rows(context, x, y);
    else if (lines_.inner == 1) run_rows(context.parallel, x, y);
    else run_columns(context.parallel, x, y);
  }

 private:
  [[nodiscard]] std::int64_t work() const { return lines_.outer * lines_.length * lines_.inner; }

  void run_rows(Parallel& parallel, const float* x, float* y) const {
    const std::int64_t group = std::max<std::int64_t>(1, 4096 / lines_.length);
    parallel.for_each((lines_.outer + group - 1) / group, work(), [&](std::int64_t task, int) {
      const std::int64_t first = task * group;
      kernels_->rows(x + first * lines_.length, y + first * lines_.length,
                     std::min(group, lines_.outer - first), lines_.length, logarithm_);
    });
  }

  /// Many rows of a few elements each.
  [[nodiscard]] bool are_short() const {
    return lines_.inner == 1 && lines_.length <= kShortLength && lines_.outer >= 16;
  }
  [[nodiscard]] std::size_t turned_bytes() const {
    return static_cast<std::size_t>(kTurnedRows * lines_.length) * sizeof(float);
  }

  /// Turned on their side, so that neighbours in a vector are of different rows.
  void run_short_rows(const StepContext& context, const float* x, float* y) const {
    const std::int64_t length = lines_.length;
    const std::int64_t tasks = (lines_.outer + kTurnedRows - 1) / kTurnedRows;
    context.parallel.for_each(tasks, work(), [&](std::int64_t task, int worker) {
      const std::int64_t first = task * kTurnedRows;
      const std::int64_t rows = std::min(kTurnedRows, lines_.outer - first);
      auto* turned =
          reinterpret_cast<float*>(context.scratch + static_cast<std::size_t>(worker) * turned_bytes());
      turn_(x + first * length, turned, {length, rows, 1, length, kTurnedRows, 1});
      kernels_->columns(turned, turned, length, kTurnedRows, rows, logarithm_);
      turn_(turned, y + first * length, {rows, length, 1, kTurnedRows, length, 1});
    });
  }

  void run_columns(Parallel& parallel, const float* x, float* y) const {
    constexpr std::int64_t kStrip = 64;
    const std::int64_t strips = (lines_.inner + kStrip - 1) / kStrip;
    parallel.for_each(lines_.outer * strips, work(), [&](std::int64_t task, int) {
      const std::int64_t column = task % strips * kStrip;
      const std::int64_t at = task / strips * lines_.length * lines_.inner + column;
      kernels_->columns(x + at, y + at, lines_.length, lines_.inner, std::min(kStrip, lines_.inner - column),
                        logarithm_);
    });
  }

  static constexpr std::int64_t kShortLength = 32;
  static constexpr std::int64_t kTurnedRows = 256;  ///< at a time; a multiple of kAlignment in bytes

  const kernels::SoftmaxKernels* kernels_;
  kernels::PlaneMove turn_;
  SoftmaxLines lines_;
  bool logarithm_;
};

template <bool kLogarithm>
LowerResult lower_softmax(LowerContext& c) {
  const TensorDesc& input = c.inputs[0];
  if (input.type != DataType::Float32) return Refusal{fmt::format("element type {}", to_string(input.type))};
  if (input.shape.elements() == 0) return Refusal{"no elements"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  Lowered lowered;
  lowered.in_place = 0;
  lowered.step = std::make_unique<SoftmaxStep>(c.kernels(), softmax_lines(c, input.shape), kLogarithm);
  return lowered;
}

}  // namespace

void add_softmax_candidates(CandidateMap& map) {
  map["Softmax"].push_back({"softmax", lower_softmax<false>});
  map["LogSoftmax"].push_back({"softmax", lower_softmax<true>});
}

}  // namespace ember::ops
