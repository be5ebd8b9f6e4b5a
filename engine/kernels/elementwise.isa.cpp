#include "kernels/elementwise.hpp"

#include "kernels/activation_math.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// A scalar C library function on each lane.
template <class F>
EMBER_INLINE Vec each_lane(Vec a, Vec b, F&& f) {
  float x[kLanes];
  float y[kLanes];
  store(x, a);
  store(y, b);
  for (std::int64_t i = 0; i < kLanes; ++i) x[i] = f(x[i], y[i]);
  return load(x);
}

template <BinaryOp kOp>
EMBER_INLINE Vec apply(Vec a, Vec b) {
  using enum BinaryOp;
  if constexpr (kOp == Add) return a + b;
  else if constexpr (kOp == Sub) return a - b;
  else if constexpr (kOp == Mul) return a * b;
  else if constexpr (kOp == Div) return a / b;
  else if constexpr (kOp == Min) return minimum(a, b);
  else if constexpr (kOp == Max) return maximum(a, b);
  else return each_lane(a, b, [](float x, float y) { return __builtin_powf(x, y); });
}

template <BinaryOp kOp>
struct BinaryConstant {
  static constexpr BinaryOp value = kOp;
};

template <class F>
EMBER_INLINE void with_op(BinaryOp op, F&& f) {
  using enum BinaryOp;
  switch (op) {
    case Add: f(BinaryConstant<Add>{}); break;
    case Sub: f(BinaryConstant<Sub>{}); break;
    case Mul: f(BinaryConstant<Mul>{}); break;
    case Div: f(BinaryConstant<Div>{}); break;
    case Min: f(BinaryConstant<Min>{}); break;
    case Max: f(BinaryConstant<Max>{}); break;
    case Pow: f(BinaryConstant<Pow>{}); break;
  }
}

// ---- binary

/// One row. kRepeatA and kRepeatB: the operand is one element for the whole row.
template <BinaryOp kOp, ActivationKind kKind, bool kRepeatA, bool kRepeatB>
EMBER_INLINE void binary_row(const float* a, const float* b, float* y, std::int64_t n,
                             const ActivationConstants& c) {
  const Vec a0 = broadcast(kRepeatA ? *a : 0.0F);
  const Vec b0 = broadcast(kRepeatB ? *b : 0.0F);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec left = kRepeatA ? a0 : load(a + i);
    const Vec right = kRepeatB ? b0 : load(b + i);
    store(y + i, kernels::EMBER_ISA_NAMESPACE::apply<kKind>(apply<kOp>(left, right), c));
  }
  if (i == n) return;
  const Vec left = kRepeatA ? a0 : load_partial(a + i, n - i);
  const Vec right = kRepeatB ? b0 : load_partial(b + i, n - i);
  store_partial(y + i, kernels::EMBER_ISA_NAMESPACE::apply<kKind>(apply<kOp>(left, right), c), n - i);
}

template <BinaryOp kOp, ActivationKind kKind, bool kRepeatA, bool kRepeatB>
void binary_rows(const Tile& t, const Activation& activation) {
  const ActivationConstants c = constants(activation);
  const auto* a = static_cast<const float*>(t.in[0]);
  const auto* b = static_cast<const float*>(t.in[1]);
  auto* y = static_cast<float*>(t.out);
  for (std::int64_t row = 0; row < t.rows; ++row) {
    binary_row<kOp, kKind, kRepeatA, kRepeatB>(a, b, y, t.width, c);
    a += t.row_step[0];
    b += t.row_step[1];
    y += t.width;
  }
}

void binary(BinaryOp op, const Tile& t, const Activation& activation) {
  with_op(op, [&](auto chosen) {
    constexpr BinaryOp kOp = decltype(chosen)::value;
    with_register_activation(activation, [&](auto kind) {
      constexpr ActivationKind kKind = decltype(kind)::value;
      if (t.repeats[0] && t.repeats[1]) binary_rows<kOp, kKind, true, true>(t, activation);
      else if (t.repeats[0]) binary_rows<kOp, kKind, true, false>(t, activation);
      else if (t.repeats[1]) binary_rows<kOp, kKind, false, true>(t, activation);
      else binary_rows<kOp, kKind, false, false>(t, activation);
    });
  });
  if (runs_in_registers(activation.kind)) return;
  auto* y = static_cast<float*>(t.out);
  apply_channel(activation, y, y, t.rows * t.width, 0);
}

// ---- masks: plain loops that the compiler vectorises

template <class In, class F>
EMBER_INLINE void mask_rows(const Tile& t, F&& f) {
  const auto* a = static_cast<const In*>(t.in[0]);
  const auto* b = static_cast<const In*>(t.in[1]);
  auto* y = static_cast<unsigned char*>(t.out);
  for (std::int64_t row = 0; row < t.rows; ++row) {
    if (t.repeats[0] && t.repeats[1]) {
      const unsigned char value = f(*a, *b);
      for (std::int64_t i = 0; i < t.width; ++i) y[i] = value;
    } else if (t.repeats[0]) {
      const In left = *a;
      for (std::int64_t i = 0; i < t.width; ++i) y[i] = f(left, b[i]);
    } else if (t.repeats[1]) {
      const In right = *b;
      for (std::int64_t i = 0; i < t.width; ++i) y[i] = f(a[i], right);
    } else {
      for (std::int64_t i = 0; i < t.width; ++i) y[i] = f(a[i], b[i]);
    }
    a += t.row_step[0];
    b += t.row_step[1];
    y += t.width;
  }
}

void compare(CompareOp op, const Tile& t) {
  using Flag = unsigned char;
  switch (op) {
    case CompareOp::Equal: mask_rows<float>(t, [](float a, float b) { return Flag{a == b}; }); break;
    case CompareOp::Greater: mask_rows<float>(t, [](float a, float b) { return Flag{a > b}; }); break;
    case CompareOp::GreaterOrEqual: mask_rows<float>(t, [](float a, float b) { return Flag{a >= b}; }); break;
    case CompareOp::Less: mask_rows<float>(t, [](float a, float b) { return Flag{a < b}; }); break;
    case CompareOp::LessOrEqual: mask_rows<float>(t, [](float a, float b) { return Flag{a <= b}; }); break;
  }
}

void logic(LogicOp op, const Tile& t) {
  using Flag = unsigned char;
  switch (op) {
    case LogicOp::And: mask_rows<Flag>(t, [](Flag a, Flag b) { return static_cast<Flag>(a & b); }); break;
    case LogicOp::Or: mask_rows<Flag>(t, [](Flag a, Flag b) { return static_cast<Flag>(a | b); }); break;
    case LogicOp::Xor: mask_rows<Flag>(t, [](Flag a, Flag b) { return static_cast<Flag>(a ^ b); }); break;
  }
}

void where(const Tile& t) {
  const auto* condition = static_cast<const unsigned char*>(t.in[0]);
  const auto* a = static_cast<const float*>(t.in[1]);
  const auto* b = static_cast<const float*>(t.in[2]);
  auto* y = static_cast<float*>(t.out);
  const std::int64_t step_condition = t.repeats[0] ? 0 : 1;
  const std::int64_t step_a = t.repeats[1] ? 0 : 1;
  const std::int64_t step_b = t.repeats[2] ? 0 : 1;
  for (std::int64_t row = 0; row < t.rows; ++row) {
    for (std::int64_t i = 0; i < t.width; ++i)
      y[i] = condition[i * step_condition] != 0 ? a[i * step_a] : b[i * step_b];
    condition += t.row_step[0];
    a += t.row_step[1];
    b += t.row_step[2];
    y += t.width;
  }
}

void logical_not(const unsigned char* x, unsigned char* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<unsigned char>(x[i] ^ 1U);
}

// ---- unary

template <class F>
EMBER_INLINE void map(const float* x, float* y, std::int64_t n, F&& f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_partial(y + i, f(load_partial(x + i, n - i)), n - i);
}

template <class F>
EMBER_INLINE void map_scalar(const float* x, float* y, std::int64_t n, F&& f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

EMBER_INLINE Vec sign(Vec x) {
  const Vec zero = broadcast(0.0F);
  const Vec unit = select(x > zero, broadcast(1.0F), select(x < zero, broadcast(-1.0F), zero));
  return select(is_nan(x), x, unit);
}

EMBER_INLINE Vec pow_half(Vec x) {
  return select(x == broadcast(-__builtin_inff()), broadcast(__builtin_inff()), sqrt(x));
}

void unary(UnaryOp op, const float* x, float* y, std::int64_t n) {
  using enum UnaryOp;
  switch (op) {
    case Neg: map(x, y, n, [](Vec v) { return -v; }); break;
    case Abs: map(x, y, n, [](Vec v) { return abs(v); }); break;
    case Sign: map(x, y, n, [](Vec v) { return sign(v); }); break;
    case Sqrt: map(x, y, n, [](Vec v) { return sqrt(v); }); break;
    case Exp: map(x, y, n, [](Vec v) { return math::exp(v); }); break;
    case Floor: map(x, y, n, [](Vec v) { return floor(v); }); break;
    case Ceil: map(x, y, n, [](Vec v) { return ceil(v); }); break;
    case Round: map(x, y, n, [](Vec v) { return round_even(v); }); break;
    case Reciprocal: map(x, y, n, [](Vec v) { return broadcast(1.0F) / v; }); break;
    case Square: map(x, y, n, [](Vec v) { return v * v; }); break;
    case Cube: map(x, y, n, [](Vec v) { return v * v * v; }); break;
    case PowHalf: map(x, y, n, [](Vec v) { return pow_half(v); }); break;
    case Erf: map(x, y, n, [](Vec v) { return math::erf(v); }); break;
    case Log: map_scalar(x, y, n, [](float v) { return __builtin_logf(v); }); break;
    case Sin: map_scalar(x, y, n, [](float v) { return __builtin_sinf(v); }); break;
    case Cos: map_scalar(x, y, n, [](float v) { return __builtin_cosf(v); }); break;
    case Tan: map_scalar(x, y, n, [](float v) { return __builtin_tanf(v); }); break;
    case Asin: map_scalar(x, y, n, [](float v) { return __builtin_asinf(v); }); break;
    case Acos: map_scalar(x, y, n, [](float v) { return __builtin_acosf(v); }); break;
    case Atan: map_scalar(x, y, n, [](float v) { return __builtin_atanf(v); }); break;
    case Sinh: map_scalar(x, y, n, [](float v) { return __builtin_sinhf(v); }); break;
    case Cosh: map_scalar(x, y, n, [](float v) { return __builtin_coshf(v); }); break;
    case Asinh: map_scalar(x, y, n, [](float v) { return __builtin_asinhf(v); }); break;
    case Acosh: map_scalar(x, y, n, [](float v) { return __builtin_acoshf(v); }); break;
    case Atanh: map_scalar(x, y, n, [](float v) { return __builtin_atanhf(v); }); break;
  }
}

void scale(const float* x, float* y, std::int64_t n, float factor) {
  map(x, y, n, [=](Vec v) { return v * broadcast(factor); });
}

}  // namespace

extern const ElementwiseKernels kElementwise;
const ElementwiseKernels kElementwise = {
    .binary = binary,
    .compare = compare,
    .logic = logic,
    .where = where,
    .unary = unary,
    .logical_not = logical_not,
    .scale = scale,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
