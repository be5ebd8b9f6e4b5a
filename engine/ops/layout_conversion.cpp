#include <algorithm>

#include "kernels/table.hpp"
#include "ops/lowering.hpp"

namespace ember::ops {

namespace {

/// Plain [N][C][P] to [N][ceil(C/b)][P][b] and back, P the product of the spatial extents.
class LayoutConversion final : public Step {
 public:
  LayoutConversion(const Shape& shape, bool to_blocked, int block)
      : batch_(shape[0]),
        channels_(shape[1]),
        positions_(shape.elements(2, shape.rank())),
        block_(block),
        to_blocked_(to_blocked) {}

  void run(const StepContext& context) const override {
    const auto* from = static_cast<const float*>(context.inputs[0]);
    auto* to = static_cast<float*>(context.outputs[0]);
    const std::int64_t blocks = (channels_ + block_ - 1) / block_;
    context.parallel.for_each(batch_ * blocks, batch_ * channels_ * positions_, [&](std::int64_t task, int) {
      const std::int64_t n = task / blocks;
      const std::int64_t first = task % blocks * block_;
      const std::int64_t width = std::min<std::int64_t>(block_, channels_ - first);
      const std::int64_t plain = (n * channels_ + first) * positions_;
      const std::int64_t blocked = task * positions_ * block_;
      for (std::int64_t p = 0; p < positions_; ++p) {
        for (std::int64_t lane = 0; lane < block_; ++lane) {
          const std::int64_t at_plain = plain + lane * positions_ + p;
          const std::int64_t at_blocked = blocked + p * block_ + lane;
          if (to_blocked_) to[at_blocked] = lane < width ? from[at_plain] : 0.0F;
          else if (lane < width) to[at_plain] = from[at_blocked];
        }
      }
    });
  }

 private:
  std::int64_t batch_, channels_, positions_, block_;
  bool to_blocked_;
};

}  // namespace

std::unique_ptr<Step> make_layout_conversion(const TensorDesc& from, Layout to, int block,
                                             const kernels::KernelTable& kernels) {
  (void)kernels;
  return std::make_unique<LayoutConversion>(from.shape, to == Layout::Blocked, block);
}

}  // namespace ember::ops
