#include "ops/activation.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "ops/activation_formula.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// Element-wise activations that are a function of one input and of attributes. Clip and PRelu, which take
// parameters as inputs, have files of their own.

namespace ember::ops {

namespace {

using kernels::Activation;
using kernels::ActivationKind;

void check_gelu(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::string form = c.text("approximate", "none");
  if (form != "none" && form != "tanh") {
    reasons.push_back("approximate is '" + form + "'; it must be 'none' or 'tanh'");
  }
}

/// Clip bounds: attributes up to opset 10, whose defaults are the ends of float32, inputs after.
std::optional<Activation> clip_of(const NodeContext& node, std::span<const Tensor* const> constants) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (node.opset() < 11) {
    return Activation{.kind = ActivationKind::Clip,
                      .alpha = node.real("min", -kLargest),
                      .beta = node.real("max", kLargest)};
  }
  std::array<float, 2> bounds = {-kInfinity, kInfinity};
  for (int i = 0; i < 2; ++i) {
    const auto input = static_cast<std::size_t>(i) + 1;
    if (!node.has_input(i + 1)) continue;
    const Tensor* known = input < constants.size() ? constants[input] : nullptr;
    if (known == nullptr || known->elements() != 1 || !is_floating(known->type())) return std::nullopt;
    bounds[static_cast<std::size_t>(i)] = dispatch_floating(node, known->type(), [&](auto zero) {
      return static_cast<float>(widen(known->data<decltype(zero)>()[0]));
    });
  }
  return Activation{.kind = ActivationKind::Clip, .alpha = bounds[0], .beta = bounds[1]};
}

/// Kinds whose parameters, if any, are attributes.
std::optional<Activation> simple_activation(const NodeContext& node) {
  using enum ActivationKind;
  const std::string_view op = node.op();
  if (op == "Relu") return Activation{.kind = Relu};
  if (op == "LeakyRelu") return Activation{.kind = LeakyRelu, .alpha = node.real("alpha", 0.01F)};
  if (op == "Elu") return Activation{.kind = Elu, .alpha = node.real("alpha", 1.0F)};
  if (op == "Selu") {
    return Activation{
        .kind = Selu, .alpha = node.real("alpha", 1.67326319F), .beta = node.real("gamma", 1.05070102F)};
  }
  if (op == "Celu") return Activation{.kind = Celu, .alpha = node.real("alpha", 1.0F)};
  if (op == "ThresholdedRelu") return Activation{.kind = ThresholdedRelu, .alpha = node.real("alpha", 1.0F)};
  if (op == "Gelu") return Activation{.kind = node.text("approximate", "none") == "tanh" ? GeluTanh : Gelu};
  if (op == "Sigmoid") return Activation{.kind = Sigmoid};
  if (op == "HardSigmoid") {
    return Activation{
        .kind = HardSigmoid, .alpha = node.real("alpha", 0.2F), .beta = node.real("beta", 0.5F)};
  }
  if (op == "HardSwish") return Activation{.kind = HardSwish};
  if (op == "Swish") return Activation{.kind = Silu, .alpha = node.real("alpha", 1.0F)};
  if (op == "Mish") return Activation{.kind = Mish};
  if (op == "Softplus") return Activation{.kind = Softplus};
  if (op == "Softsign") return Activation{.kind = Softsign};
  if (op == "Tanh") return Activation{.kind = Tanh};
  return std::nullopt;
}

void infer_activation(InferContext& c) {
  // Relu alone is defined for signed integers too.
  const bool integer = c.op() == "Relu" && (c.type(0) == DataType::Int8 || c.type(0) == DataType::Int16 ||
                                            c.type(0) == DataType::Int32 || c.type(0) == DataType::Int64);
  if (!integer && !is_floating(c.type(0)))
    c.fail(ErrorCode::Unsupported, std::string("element type ") + to_string(c.type(0)));
  c.set_output(0, c.type(0), c.shape(0));
}

void reference_activation(EvalContext& c) {
  const Activation a = *simple_activation(c);
  dispatch_numeric(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    const auto x = c.input(0).data<T>();
    const auto y = c.output(0).data<T>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      if constexpr (std::is_integral_v<T>) y[i] = x[i] > T{0} ? x[i] : T{0};
      else
        y[i] = narrow<T>(
            activation_value(a.kind, widen(x[i]), static_cast<double>(a.alpha), static_cast<double>(a.beta)));
    }
  });
}

}  // namespace

std::optional<Activation> activation_of(const NodeContext& node, std::span<const Tensor* const> constants) {
  if (!node.node().domain.empty()) return std::nullopt;
  return node.op() == "Clip" ? clip_of(node, constants) : simple_activation(node);
}

void add_activation_operators(OperatorList& list) {
  const auto add = [&](std::string_view name, std::vector<int> versions,
                       decltype(Operator::check) check = nullptr) {
    list.push_back({.name = name,
                    .versions = std::move(versions),
                    .check = check,
                    .infer = infer_activation,
                    .reference = reference_activation});
  };
  add("Celu", {12, 28});
  add("Elu", {6, 22});
  add("Gelu", {20}, check_gelu);
  add("HardSigmoid", {6, 22});
  add("HardSwish", {14, 22});
  add("LeakyRelu", {6, 16});
  add("Mish", {18, 22});
  add("Relu", {6, 13, 14});
  add("Selu", {6, 22});
  add("Sigmoid", {6, 13});
  add("Softplus", {1, 22});
  add("Softsign", {1, 22});
  add("Swish", {24});
  add("Tanh", {6, 13});
  add("ThresholdedRelu", {10, 22});
}

}  // namespace ember::ops
