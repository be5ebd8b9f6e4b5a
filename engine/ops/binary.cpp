#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "ops/broadcast_walk.hpp"
#include "ops/integer_math.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// Operators of two inputs with NumPy broadcasting: arithmetic, comparison, logic and bits. Pow has its
// own file.

namespace ember::ops {

namespace {

// ---- what each operator does to two widened elements

struct Add {
  template <class W>
  static W apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) return wrapping_add(a, b);
    else return a + b;
  }
};
struct Sub {
  template <class W>
  static W apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) return wrapping_sub(a, b);
    else return a - b;
  }
};
struct Mul {
  template <class W>
  static W apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) return wrapping_mul(a, b);
    else return a * b;
  }
};
struct Div {
  static constexpr bool kDivides = true;
  template <class W>
  static W apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) return wrapping_div(a, b);
    else return a / b;
  }
};
struct FlooredMod {
  static constexpr bool kDivides = true;
  template <class W>
  static W apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) return remainder_floored(a, b);
    else {
      const W rest = std::fmod(a, b);
      if (rest == 0) return std::copysign(rest, b);
      return (rest < 0) == (b < 0) ? rest : rest + b;  // NaN stays NaN either way
    }
  }
};
struct TruncatedMod {
  static constexpr bool kDivides = true;
  template <class W>
  static W apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) return remainder_truncated(a, b);
    else return std::fmod(a, b);
  }
};
// A negative count, or one beyond the type's width, leaves what endless shifting would. Signed left shifts
// go through uint64: bits past the sign bit are dropped.
struct ShiftLeft {
  template <class W>
  static W apply(W a, W b) {
    if (std::cmp_less(b, 0) || std::cmp_greater_equal(b, 8 * sizeof(W))) return 0;
    return static_cast<W>(static_cast<std::uint64_t>(a) << b);
  }
};
struct ShiftRight {
  template <class W>
  static W apply(W a, W b) {
    if (std::cmp_less(b, 0) || std::cmp_greater_equal(b, 8 * sizeof(W)))
      return std::cmp_less(a, 0) ? static_cast<W>(-1) : W{0};
    return static_cast<W>(a >> b);
  }
};
struct BitAnd {
  template <class W>
  static W apply(W a, W b) {
    return static_cast<W>(a & b);
  }
};
struct BitOr {
  template <class W>
  static W apply(W a, W b) {
    return static_cast<W>(a | b);
  }
};
struct BitXor {
  template <class W>
  static W apply(W a, W b) {
    return static_cast<W>(a ^ b);
  }
};
struct Equal {
  template <class W>
  static bool apply(W a, W b) {
    return a == b;
  }
};
struct Greater {
  template <class W>
  static bool apply(W a, W b) {
    return a > b;
  }
};
struct GreaterOrEqual {
  template <class W>
  static bool apply(W a, W b) {
    return a >= b;
  }
};
struct Less {
  template <class W>
  static bool apply(W a, W b) {
    return a < b;
  }
};
struct LessOrEqual {
  template <class W>
  static bool apply(W a, W b) {
    return a <= b;
  }
};

// ---- the loop

/// `Result` is void when the result has the operands' type.
template <class Function, class T, class Result = void>
void run(EvalContext& c) {
  using Out = std::conditional_t<std::is_void_v<Result>, T, Result>;
  const auto a = c.input(0).data<T>();
  const auto b = c.input(1).data<T>();
  const auto y = c.output(0).data<Out>();
  BroadcastWalk walk(c.output(0).shape(), {c.input(0).shape(), c.input(1).shape()});
  for (Out& element : y) {
    const Wide<T> left = widen(a[static_cast<std::size_t>(walk.offset(0))]);
    const Wide<T> right = widen(b[static_cast<std::size_t>(walk.offset(1))]);
    if constexpr (requires { Function::kDivides; } && std::is_integral_v<T>) {
      if (right == T{0}) c.fail(ErrorCode::InvalidData, "integer division by zero");
    }
    if constexpr (std::is_void_v<Result>) element = narrow<T>(Function::apply(left, right));
    else element = Function::apply(left, right);
    walk.next();
  }
}

template <class Function>
void reference_arithmetic(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) { run<Function, decltype(zero)>(c); });
}

template <class Function>
void reference_compare(EvalContext& c) {
  dispatch_any(c, c.input(0).type(), [&](auto zero) { run<Function, decltype(zero), bool>(c); });
}

template <class Function>
void reference_logic(EvalContext& c) {
  run<Function, bool>(c);
}

template <class Function>
void reference_bits(EvalContext& c) {
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    if constexpr (std::is_integral_v<decltype(zero)>) run<Function, decltype(zero)>(c);
  });
}

void reference_mod(EvalContext& c) {
  if (c.integer("fmod", 0) != 0) reference_arithmetic<TruncatedMod>(c);
  else reference_arithmetic<FlooredMod>(c);
}

void reference_shift(EvalContext& c) {
  const bool left = c.text("direction", "") == "LEFT";
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>) {
      if (left) run<ShiftLeft, T>(c);
      else run<ShiftRight, T>(c);
    }
  });
}

// ---- shape rules

template <TypeSet kTypes, bool kToBool = false>
void infer_binary(InferContext& c) {
  require_same_type(c, 0, 1);
  require_type(c, 0, kTypes);
  c.set_output(0, kToBool ? DataType::Bool : c.type(0), broadcast(c, c.shape(0), c.shape(1)));
}

void infer_mod(InferContext& c) {
  infer_binary<TypeSet::Numeric>(c);
  c.require(c.integer("fmod", 0) != 0 || c.opset() >= 28 || !is_floating(c.type(0)),
            "fmod must be 1 for floating-point inputs");
}

void infer_shift(InferContext& c) {
  if (c.opset() < 28) infer_binary<TypeSet::Unsigned>(c);
  else infer_binary<TypeSet::Integer>(c);
}

void check_shift(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::string direction = c.text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT")
    reasons.push_back(fmt::format("direction '{}' is neither LEFT nor RIGHT", direction));
}

}  // namespace

void add_binary_operators(OperatorList& list) {
  const auto add = [&](std::string_view name, std::vector<int> versions, void (*infer)(InferContext&),
                       void (*reference)(EvalContext&), FusionSupport fuses = {}) {
    list.push_back({.name = name,
                    .versions = std::move(versions),
                    .infer = infer,
                    .reference = reference,
                    .fuses = fuses});
  };
  constexpr auto arithmetic = infer_binary<TypeSet::Numeric>;
  constexpr auto compare = infer_binary<TypeSet::Numeric, true>;
  constexpr auto equal = infer_binary<TypeSet::Any, true>;
  constexpr auto logic = infer_binary<TypeSet::Bool>;
  constexpr auto bits = infer_binary<TypeSet::Integer>;
  add("Add", {7, 13, 14}, arithmetic, reference_arithmetic<Add>, {.activation = true});
  add("Sub", {7, 13, 14}, arithmetic, reference_arithmetic<Sub>, {.activation = true});
  add("Mul", {7, 13, 14}, arithmetic, reference_arithmetic<Mul>, {.activation = true});
  add("Div", {7, 13, 14}, arithmetic, reference_arithmetic<Div>, {.activation = true});
  add("Mod", {10, 13, 28}, infer_mod, reference_mod);
  add("Equal", {7, 11, 13, 19}, equal, reference_compare<Equal>);
  add("Greater", {7, 9, 13}, compare, reference_compare<Greater>);
  add("GreaterOrEqual", {12, 16}, compare, reference_compare<GreaterOrEqual>);
  add("Less", {7, 9, 13}, compare, reference_compare<Less>);
  add("LessOrEqual", {12, 16}, compare, reference_compare<LessOrEqual>);
  add("And", {7}, logic, reference_logic<BitAnd>);
  add("Or", {7}, logic, reference_logic<BitOr>);
  add("Xor", {7}, logic, reference_logic<BitXor>);
  add("BitwiseAnd", {18}, bits, reference_bits<BitAnd>);
  add("BitwiseOr", {18}, bits, reference_bits<BitOr>);
  add("BitwiseXor", {18}, bits, reference_bits<BitXor>);
  list.push_back({.name = "BitShift",
                  .versions = {11, 28},
                  .check = check_shift,
                  .infer = infer_shift,
                  .reference = reference_shift});
}

}  // namespace ember::ops
