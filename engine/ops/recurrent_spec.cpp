#include <algorithm>
#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "ops/recurrent.hpp"

// Attributes of LSTM, GRU and RNN.

namespace ember::ops {

namespace {

using kernels::CellActivation;
using kernels::CellFunction;

struct NamedFunction {
  std::string_view name;  ///< lower case: ONNX compares without case
  CellFunction function;
  bool takes_alpha, takes_beta;
  float alpha, beta;  ///< defaults
};

constexpr std::array<NamedFunction, 11> kFunctions{{
    {"sigmoid", CellFunction::Sigmoid, false, false, 0, 0},
    {"tanh", CellFunction::Tanh, false, false, 0, 0},
    {"relu", CellFunction::Relu, false, false, 0, 0},
    {"affine", CellFunction::Affine, true, true, 1.0F, 0.0F},
    {"leakyrelu", CellFunction::LeakyRelu, true, false, 0.01F, 0},
    {"thresholdedrelu", CellFunction::ThresholdedRelu, true, false, 1.0F, 0},
    {"scaledtanh", CellFunction::ScaledTanh, true, true, 1.0F, 1.0F},
    {"hardsigmoid", CellFunction::HardSigmoid, true, true, 0.2F, 0.5F},
    {"elu", CellFunction::Elu, true, false, 1.0F, 0},
    {"softsign", CellFunction::Softsign, false, false, 0, 0},
    {"softplus", CellFunction::Softplus, false, false, 0, 0},
}};

const NamedFunction* find_function(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto* found = std::ranges::find(kFunctions, name, &NamedFunction::name);
  return found == kFunctions.end() ? nullptr : found;
}

struct KindTraits {
  int gates;
  std::size_t functions;
  std::array<CellActivation, 3> defaults;
};

KindTraits traits(CellKind kind) {
  const CellActivation sigmoid{.function = CellFunction::Sigmoid};
  const CellActivation tanh{.function = CellFunction::Tanh};
  switch (kind) {
    case CellKind::Lstm: return {4, 3, {sigmoid, tanh, tanh}};
    case CellKind::Gru: return {3, 2, {sigmoid, tanh, tanh}};
    case CellKind::Rnn: break;
  }
  return {1, 1, {tanh, tanh, tanh}};
}

/// alpha and beta lists hold values only for the functions that take them, in their order.
std::vector<std::array<CellActivation, 3>> parse_activations(const NodeContext& node, CellKind kind,
                                                             std::int64_t directions) {
  const KindTraits cell = traits(kind);
  std::vector<std::array<CellActivation, 3>> parsed(static_cast<std::size_t>(directions), cell.defaults);
  if (!node.has("activations")) return parsed;
  const std::vector<std::string> names = node.texts("activations");
  const std::vector<float> alphas = node.reals("activation_alpha");
  const std::vector<float> betas = node.reals("activation_beta");
  node.require(
      names.size() == cell.functions * parsed.size(),
      fmt::format("{} activations where {} are needed", names.size(), cell.functions * parsed.size()));
  std::size_t next_alpha = 0;
  std::size_t next_beta = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const NamedFunction* known = find_function(names[i]);
    node.require(known != nullptr, fmt::format("unknown activation '{}'", names[i]));
    CellActivation activation{.function = known->function, .alpha = known->alpha, .beta = known->beta};
    if (known->takes_alpha && next_alpha < alphas.size()) activation.alpha = alphas[next_alpha++];
    if (known->takes_beta && next_beta < betas.size()) activation.beta = betas[next_beta++];
    parsed[i / cell.functions][i % cell.functions] = activation;
  }
  return parsed;
}

}  // namespace

CellKind cell_kind(const NodeContext& node) {
  if (node.op() == "LSTM") return CellKind::Lstm;
  return node.op() == "GRU" ? CellKind::Gru : CellKind::Rnn;
}

RecurrentSpec recurrent_spec(const NodeContext& node, const Shape& x, const Shape& r) {
  node.require(x.rank() == 3, fmt::format("X must have rank 3, not shape {}", to_string(x)));
  node.require(r.rank() == 3, fmt::format("R must have rank 3, not shape {}", to_string(r)));
  RecurrentSpec spec;
  spec.kind = cell_kind(node);
  spec.gates = traits(spec.kind).gates;
  const std::string direction = node.text("direction", "forward");
  node.require(direction == "forward" || direction == "reverse" || direction == "bidirectional",
               fmt::format("direction '{}'", direction));
  spec.directions = direction == "bidirectional" ? 2 : 1;
  spec.reverse = direction == "reverse";
  spec.batch_first = node.integer("layout", 0) != 0;
  spec.linear_before_reset = node.integer("linear_before_reset", 0) != 0;
  spec.input_forget = node.integer("input_forget", 0) != 0;
  spec.clip = node.real("clip", 0.0F);
  node.require(spec.clip >= 0.0F, "clip is negative");
  spec.activations = parse_activations(node, spec.kind, spec.directions);
  spec.steps = x[spec.batch_first ? 1 : 0];
  spec.batch = x[spec.batch_first ? 0 : 1];
  spec.inputs = x[2];
  spec.hidden = r[2];
  node.require(node.integer("hidden_size", spec.hidden) == spec.hidden,
               fmt::format("hidden_size does not fit R of shape {}", to_string(r)));
  return spec;
}

std::vector<std::int64_t> sequence_lengths(const NodeContext& node, const RecurrentSpec& spec,
                                           const ConstTensorView* lens) {
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(spec.batch), spec.steps);
  if (lens == nullptr) return lengths;
  const auto given = lens->data<std::int32_t>();
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    lengths[b] = given[b];
    if (lengths[b] < 0 || lengths[b] > spec.steps) {
      node.fail(ErrorCode::InvalidData,
                fmt::format("sequence_lens[{}] is {}, outside 0 to {}", b, given[b], spec.steps));
    }
  }
  return lengths;
}

}  // namespace ember::ops
