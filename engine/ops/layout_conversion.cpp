#include <algorithm>

#include "kernels/table.hpp"
#include "ops/lowering.hpp"
#include "ops/map_tasks.hpp"

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
        kernels_(&kernels),
        tasks_(batch_, ceil_div(channels_, block_), positions_, kTaskPositions,
               shares_positions(channels_, positions_)) {}

  void run(const StepContext& context) const override {
    const auto* from = static_cast<const float*>(context.inputs[0]);
    auto* to = static_cast<float*>(context.outputs[0]);
    const std::int64_t blocks = ceil_div(channels_, block_);
    context.parallel.for_each(tasks_.count(), batch_ * blocks * positions_, [&](std::int64_t index, int) {
      const auto [plane, part, begin, end] = tasks_.at(index);
      const std::int64_t first = plane % blocks * block_;
      const std::int64_t width = std::min(block_, channels_ - first);
      const std::int64_t plain = (plane / blocks * channels_ + first) * positions_ + begin;
      const std::int64_t blocked = (plane * positions_ + begin) * block_;
      if (to_blocked_) kernels_->to_blocked(from + plain, positions_, width, end - begin, to + blocked);
      else kernels_->to_plain(from + blocked, width, end - begin, to + plain, positions_);
    });
  }

 private:
  static constexpr std::int64_t kTaskPositions = 2048;

  std::int64_t batch_, channels_, positions_, block_;
  bool to_blocked_;
  const kernels::LayoutKernels* kernels_;
  MapTasks tasks_;  ///< of positions
};

}  // namespace

std::unique_ptr<Step> make_layout_conversion(const TensorDesc& from, Layout to, int block,
                                             const kernels::KernelTable& kernels) {
  return std::make_unique<LayoutConversion>(from.shape, to == Layout::Blocked, block, *kernels.layout);
}

}  // namespace ember::ops
