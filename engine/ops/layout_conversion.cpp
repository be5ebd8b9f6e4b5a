#include <algorithm>

#include "kernels/table.hpp"
#include "ops/lowering.hpp"

namespace ember::ops {

namespace {

/// Plain [N][C][P] to [N][ceil(C/b)][P][b] and back, P the product of the spatial extents.
class LayoutConversion final : public Step {
 public:
  LayoutConversion(const Shape& shape, bool to_blocked, int block, const kernels::LayoutKernels& kernels)
      : batch_(shape[0]),
        channels_(shape[1]),
        positions_(shape.elements(2, shape.rank())),
        block_(block),
        to_blocked_(to_blocked),
        kernels_(&kernels) {}

  void run(const StepContext& context) const override {
    const auto* from = static_cast<const float*>(context.inputs[0]);
    auto* to = static_cast<float*>(context.outputs[0]);
    const std::int64_t blocks = (channels_ + block_ - 1) / block_;
    context.parallel.for_each(batch_ * blocks, batch_ * channels_ * positions_ / 2,
                              [&](std::int64_t task, int) {
                                const std::int64_t first = task % blocks * block_;
                                const std::int64_t width = std::min<std::int64_t>(block_, channels_ - first);
                                const std::int64_t plain = (task / blocks * channels_ + first) * positions_;
                                const std::int64_t blocked = task * positions_ * block_;
                                if (to_blocked_)
                                  kernels_->to_blocked(from + plain, width, positions_, to + blocked);
                                else kernels_->to_plain(from + blocked, width, positions_, to + plain);
                              });
  }

 private:
  std::int64_t batch_, channels_, positions_, block_;
  bool to_blocked_;
  const kernels::LayoutKernels* kernels_;
};

}  // namespace

std::unique_ptr<Step> make_layout_conversion(const TensorDesc& from, Layout to, int block,
                                             const kernels::KernelTable& kernels) {
  return std::make_unique<LayoutConversion>(from.shape, to == Layout::Blocked, block, *kernels.layout);
}

}  // namespace ember::ops
