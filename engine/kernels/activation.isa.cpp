#include "kernels/activation.hpp"

#include "kernels/activation_math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

template <ActivationKind kKind>
EMBER_INLINE void one_row(const float* x, float* y, std::int64_t n, const ActivationConstants& c) {
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

/// Rows of a matrix; a single one is how contiguous floats come.
struct Rows {
  const float* x;
  float* y;
  std::int64_t count, width, x_stride, y_stride;
};

template <ActivationKind kKind>
void on_rows(const Rows& rows, const ActivationConstants& in_memory) {
  const ActivationConstants c = in_memory;
  const float* x = rows.x;
  float* y = rows.y;
  for (std::int64_t row = 0; row < rows.count; ++row, x += rows.x_stride, y += rows.y_stride)
    one_row<kKind>(x, y, rows.width, c);
}

void on_rows(const Activation& a, const Rows& rows) {
  using enum ActivationKind;
  const ActivationConstants c = constants(a);
  switch (a.kind) {
    case None: on_rows<None>(rows, c); break;
    case Relu: on_rows<Relu>(rows, c); break;
    case LeakyRelu:
    case PRelu: on_rows<LeakyRelu>(rows, c); break;
    case Elu: on_rows<Elu>(rows, c); break;
    case Selu: on_rows<Selu>(rows, c); break;
    case Celu: on_rows<Celu>(rows, c); break;
    case ThresholdedRelu: on_rows<ThresholdedRelu>(rows, c); break;
    case Gelu: on_rows<Gelu>(rows, c); break;
    case GeluTanh: on_rows<GeluTanh>(rows, c); break;
    case Sigmoid: on_rows<Sigmoid>(rows, c); break;
    case HardSigmoid: on_rows<HardSigmoid>(rows, c); break;
    case HardSwish: on_rows<HardSwish>(rows, c); break;
    case Silu: on_rows<Silu>(rows, c); break;
    case Mish: on_rows<Mish>(rows, c); break;
    case Softplus: on_rows<Softplus>(rows, c); break;
    case Softsign: on_rows<Softsign>(rows, c); break;
    case Tanh: on_rows<Tanh>(rows, c); break;
    case Clip: on_rows<Clip>(rows, c); break;
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
  on_rows(of_channel, {x, y, 1, n, n, n});
}

void apply_rows(const Activation& a, const float* x, float* y, std::int64_t rows, std::int64_t width,
                std::int64_t x_stride, std::int64_t y_stride, std::int64_t first_channel) {
  const bool sloped = a.kind == ActivationKind::PRelu && a.slope_count != 1;
  if (!sloped && x_stride == width && y_stride == width) {
    apply_channel(a, x, y, rows * width, 0);
    return;
  }
  if (!sloped) {
    Activation same = a;
    if (a.kind == ActivationKind::PRelu) same.alpha = a.slopes[0];
    on_rows(same, {x, y, rows, width, x_stride, y_stride});
    return;
  }
  for (std::int64_t row = 0; row < rows; ++row)
    sloped_row(a.slopes + first_channel, x + row * x_stride, y + row * y_stride, width);
}

extern const ActivationKernels kActivation;
const ActivationKernels kActivation = {.apply_channel = apply_channel, .apply_rows = apply_rows};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
