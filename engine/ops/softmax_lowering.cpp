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
  SoftmaxStep(const kernels::SoftmaxKernels& kernels, const SoftmaxLines& lines, bool logarithm)
      : kernels_(&kernels), lines_(lines), logarithm_(logarithm) {}

  void run(const StepContext& context) const override {
    const auto* x = static_cast<const float*>(context.inputs[0]);
    auto* y = static_cast<float*>(context.outputs[0]);
    if (lines_.inner == 1) run_rows(context.parallel, x, y);
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

  const kernels::SoftmaxKernels* kernels_;
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
  lowered.step =
      std::make_unique<SoftmaxStep>(*c.kernels().softmax, softmax_lines(c, input.shape), kLogarithm);
  return lowered;
}

}  // namespace

void add_softmax_candidates(CandidateMap& map) {
  map["Softmax"].push_back({"softmax", lower_softmax<false>});
  map["LogSoftmax"].push_back({"softmax", lower_softmax<true>});
}

}  // namespace ember::ops
