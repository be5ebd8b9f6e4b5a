#include "kernels/layout.hpp"

#include "kernels/activation_math.hpp"
#include "kernels/register_tile.hpp"
#include "kernels/square_transpose.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

void to_blocked(const float* from, std::int64_t stride, std::int64_t channels, std::int64_t positions,
                float* to) {
  transpose_matrix(from, stride, channels, positions, to, kBlock);
  if (channels == kBlock) return;
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t lane = channels; lane < kBlock; ++lane) to[p * kBlock + lane] = 0.0F;
  }
}

void to_plain(const float* from, std::int64_t channels, std::int64_t positions, float* to,
              std::int64_t stride) {
  transpose_matrix(from, kBlock, positions, channels, to, stride);
}

void finish_channel(float* data, const float* residual, std::int64_t count, std::int64_t channel,
                    const Activation& before, const Activation& after) {
  if (before.kind != ActivationKind::None) apply_channel(before, data, data, count, channel);
  if (residual != nullptr) {
    const std::int64_t whole = count / kLanes * kLanes;
    for (std::int64_t i = 0; i < whole; i += kLanes) store(data + i, load(data + i) + load(residual + i));
    for (std::int64_t i = whole; i < count; ++i) data[i] += residual[i];
  }
  if (after.kind != ActivationKind::None) apply_channel(after, data, data, count, channel);
}

}  // namespace

extern const LayoutKernels kLayout;
const LayoutKernels kLayout = {
    .to_blocked = to_blocked,
    .to_plain = to_plain,
    .finish_channel = finish_channel,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
