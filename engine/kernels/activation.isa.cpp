#include "kernels/activation.hpp"

#include "kernels/activation_math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

template <ActivationKind kKind>
void contiguous(const float* x, float* y, std::int64_t n, const ActivationConstants& in_memory) {
  const ActivationConstants c = in_memory;
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    // Two at once: the polynomials are one long chain each.
    const Vec first = apply<kKind>(load(x + i), c);
    const Vec second = apply<kKind>(load(x + i + kLanes), c);
    store(y + i, first);
    store(y + i + kLanes, second);
  }
  for (; i < n; i += kLanes) {
    const std::int64_t rest = n - i;
    if (rest >= kLanes) store(y + i, apply<kKind>(load(x + i), c));
    else store_partial(y + i, apply<kKind>(load_partial(x + i, rest), c), rest);
  }
}

void contiguous(const Activation& a, const float* x, float* y, std::int64_t n) {
  using enum ActivationKind;
  const ActivationConstants c = constants(a);
  switch (a.kind) {
    case None: contiguous<None>(x, y, n, c); break;
    case Relu: contiguous<Relu>(x, y, n, c); break;
    case LeakyRelu:
    case PRelu: contiguous<LeakyRelu>(x, y, n, c); break;
    case Elu: contiguous<Elu>(x, y, n, c); break;
    case Selu: contiguous<Selu>(x, y, n, c); break;
    case Celu: contiguous<Celu>(x, y, n, c); break;
    case ThresholdedRelu: contiguous<ThresholdedRelu>(x, y, n, c); break;
    case Gelu: contiguous<Gelu>(x, y, n, c); break;
    case GeluTanh: contiguous<GeluTanh>(x, y, n, c); break;
    case Sigmoid: contiguous<Sigmoid>(x, y, n, c); break;
    case HardSigmoid: contiguous<HardSigmoid>(x, y, n, c); break;
    case HardSwish: contiguous<HardSwish>(x, y, n, c); break;
    case Silu: contiguous<Silu>(x, y, n, c); break;
    case Mish: contiguous<Mish>(x, y, n, c); break;
    case Softplus: contiguous<Softplus>(x, y, n, c); break;
    case Softsign: contiguous<Softsign>(x, y, n, c); break;
    case Tanh: contiguous<Tanh>(x, y, n, c); break;
    case Clip: contiguous<Clip>(x, y, n, c); break;
  }
}

/// One row whose lanes have slopes of their own.
void sloped_row(const float* slopes, const float* x, float* y, std::int64_t width) {
  const Vec zero = broadcast(0.0F);
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const std::int64_t rest = width - i;
    if (rest >= kLanes) {
      store(y + i, apply<ActivationKind::PRelu>(load(x + i), {load(slopes + i), zero, zero}));
      continue;
    }
    const ActivationConstants c = {load_partial(slopes + i, rest), zero, zero};
    store_partial(y + i, apply<ActivationKind::PRelu>(load_partial(x + i, rest), c), rest);
  }
}

}  // namespace

void apply_channel(const Activation& a, const float* x, float* y, std::int64_t n, std::int64_t channel) {
  Activation of_channel = a;
  if (a.kind == ActivationKind::PRelu) of_channel.alpha = a.slopes[a.slope_count == 1 ? 0 : channel];
  contiguous(of_channel, x, y, n);
}

void apply_rows(const Activation& a, const float* x, float* y, std::int64_t rows, std::int64_t width,
                std::int64_t x_stride, std::int64_t y_stride, std::int64_t first_channel) {
  const bool sloped = a.kind == ActivationKind::PRelu && a.slope_count != 1;
  if (!sloped && x_stride == width && y_stride == width) {
    apply_channel(a, x, y, rows * width, 0);
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    if (sloped) sloped_row(a.slopes + first_channel, x + row * x_stride, y + row * y_stride, width);
    else apply_channel(a, x + row * x_stride, y + row * y_stride, width, 0);
  }
}

extern const ActivationKernels kActivation;
const ActivationKernels kActivation = {.apply_channel = apply_channel, .apply_rows = apply_rows};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
