#include <ember/swap.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <memory>
#include <numbers>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "graph/graph.hpp"
#include "ops/activation_pattern.hpp"
#include "surgery/activation_lookup.hpp"

namespace ember {

namespace {

using graph::Graph;
using graph::NodeId;
using graph::ValueId;
using ops::ActivationPattern;

/// What to put in place: a name of the list, and its parameter where it has one.
struct Target {
  std::string name;
  std::optional<double> parameter;

  [[nodiscard]] std::string text() const {
    return parameter ? fmt::format("{}:{:g}", name, *parameter) : name;
  }
};

struct Known {
  std::string_view name;
  std::optional<double> parameter;  ///< its default
};
constexpr std::array<Known, 15> kTargets = {{{"relu", {}},
                                             {"relu6", {}},
                                             {"leaky", 0.01},
                                             {"prelu", 0.25},
                                             {"elu", 1.0},
                                             {"celu", 1.0},
                                             {"selu", {}},
                                             {"gelu", {}},
                                             {"gelu_tanh", {}},
                                             {"silu", {}},
                                             {"hardswish", {}},
                                             {"mish", {}},
                                             {"softplus", {}},
                                             {"sigmoid", {}},
                                             {"tanh", {}}}};

[[noreturn]] void fail_target(std::string_view text) {
  std::string names;
  for (const Known& known : kTargets) names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  throw Error(
      ErrorCode::InvalidArgument, fmt::format("'{}' is no activation to swap to", text),
      {.cure = fmt::format("one of {}; leaky, prelu, elu and celu take a number, as in leaky:0.01", names)});
}

Target target_of(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const auto* const known =
      std::ranges::find_if(kTargets, [&](const Known& one) { return one.name == name; });
  if (known == kTargets.end()) fail_target(text);
  Target target{.name = std::string(name), .parameter = known->parameter};
  if (colon == std::string_view::npos) return target;
  const std::string_view number = text.substr(colon + 1);
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  const bool read = error == std::errc{} && end == number.data() + number.size() && std::isfinite(value);
  if (!read || !known->parameter || (name == "celu" && value == 0)) fail_target(text);
  target.parameter = value;
  return target;
}

/// Puts the nodes of one activation into a graph.
class Builder {
 public:
  Builder(Graph& graph, const std::string& node, const std::string& doc, ValueId input, ValueId output,
          DataType type)
      : graph_(graph), node_(node), doc_(doc), input_(input), output_(output), type_(type) {}

  /// Throws Error (Unsupported).
  void build(const Target& target) {
    const std::string& name = target.name;
    const auto parameter = static_cast<float>(target.parameter.value_or(0));
    if (name == "relu") last("Relu", {input_});
    else if (name == "relu6") clip(0, 6);
    else if (name == "leaky") last("LeakyRelu", {input_}, {{"alpha", parameter}});
    else if (name == "prelu") last("PRelu", {input_, constant("slope", {1}, *target.parameter)});
    else if (name == "elu") last("Elu", {input_}, {{"alpha", parameter}});
    else if (name == "celu") celu(parameter);
    else if (name == "selu") last("Selu", {input_});
    else if (name == "gelu") gelu();
    else if (name == "gelu_tanh") gelu_tanh();
    else if (name == "silu") last("Mul", {input_, inner("Sigmoid", "sigmoid", {input_})});
    else if (name == "hardswish") hard_swish();
    else if (name == "mish") mish();
    else if (name == "softplus") last("Softplus", {input_});
    else if (name == "sigmoid") last("Sigmoid", {input_});
    else last("Tanh", {input_});
  }

 private:
  using Attributes = std::map<std::string, graph::Attribute, std::less<>>;

  [[nodiscard]] int opset() const {
    const auto found = graph_.metadata.opsets.find("");
    return found == graph_.metadata.opsets.end() ? 0 : found->second;
  }
  void require(int opset, const char* what) const {
    if (this->opset() >= opset) return;
    throw Error(ErrorCode::Unsupported, fmt::format("{} needs opset {}", what, opset),
                {.model = graph_.metadata.model_name,
                 .node = node_,
                 .opset = this->opset(),
                 .cure = "convert the model to a newer opset, or choose another activation"});
  }

  ValueId constant(const std::string& suffix, const Shape& shape, double value) {
    return graph_.add_constant(fmt::format("{}_{}", graph_.value(output_).name, suffix),
                               surgery::number_of(type_, shape, value));
  }
  ValueId scalar(const std::string& suffix, double value) { return constant(suffix, {}, value); }

  /// A node inside the activation.
  ValueId inner(const std::string& op, const std::string& suffix, std::vector<ValueId> inputs,
                Attributes attributes = {}) {
    graph::Node node{.op = op, .attributes = std::move(attributes), .inputs = std::move(inputs)};
    if (named()) node.name = fmt::format("{}/{}", node_, suffix);
    const ValueId made = graph_.add_value(fmt::format("{}_{}", graph_.value(output_).name, suffix), type_,
                                          graph_.value(output_).dims);
    node.outputs = {made};
    graph_.add_node(std::move(node));
    return made;
  }
  /// The node that makes the activation's output and has its name.
  void last(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    graph_.add_node({.name = named() ? node_ : "",
                     .op = op,
                     .attributes = std::move(attributes),
                     .inputs = std::move(inputs),
                     .outputs = {output_},
                     .doc = doc_});
  }
  [[nodiscard]] bool named() const { return !node_.empty(); }

  void clip(double low, double high) {
    if (opset() >= 11) {
      last("Clip", {input_, scalar("min", low), scalar("max", high)});
    } else {
      last("Clip", {input_}, {{"min", static_cast<float>(low)}, {"max", static_cast<float>(high)}});
    }
  }
  void celu(float alpha) {
    require(12, "Celu");
    last("Celu", {input_}, {{"alpha", alpha}});
  }
  void gelu() {
    if (opset() >= 20) return last("Gelu", {input_});
    require(9, "Gelu (through Erf)");
    const ValueId scaled = inner("Div", "div", {input_, scalar("sqrt2", std::numbers::sqrt2)});
    const ValueId one_more = inner("Add", "add", {inner("Erf", "erf", {scaled}), scalar("one", 1)});
    last("Mul", {inner("Mul", "mul", {input_, one_more}), scalar("half", 0.5)});
  }
  void gelu_tanh() {
    if (opset() >= 20) return last("Gelu", {input_}, {{"approximate", std::string("tanh")}});
    const ValueId square = inner("Mul", "square", {input_, input_});
    const ValueId cube = inner("Mul", "cube", {square, input_});
    const ValueId bent = inner("Mul", "bent", {cube, scalar("cubic", 0.044715)});
    const ValueId sum = inner("Add", "sum", {input_, bent});
    const ValueId scaled = inner("Mul", "scaled", {sum, scalar("scale", std::sqrt(2 / std::numbers::pi))});
    const ValueId one_more = inner("Add", "add", {inner("Tanh", "tanh", {scaled}), scalar("one", 1)});
    last("Mul", {inner("Mul", "mul", {input_, one_more}), scalar("half", 0.5)});
  }
  void hard_swish() {
    if (opset() >= 14) return last("HardSwish", {input_});
    const ValueId gate = inner("HardSigmoid", "gate", {input_}, {{"alpha", 1.0F / 6.0F}, {"beta", 0.5F}});
    last("Mul", {input_, gate});
  }
  void mish() {
    if (opset() >= 18) return last("Mish", {input_});
    last("Mul", {input_, inner("Tanh", "tanh", {inner("Softplus", "softplus", {input_})})});
  }

  Graph& graph_;
  const std::string& node_;
  const std::string& doc_;
  ValueId input_, output_;
  DataType type_;
};

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

/// The activations that the options mean, in order.
std::vector<const ActivationPattern*> chosen(const Graph& graph,
                                             const std::vector<ActivationPattern>& patterns,
                                             const SwapOptions& options) {
  const surgery::ActivationLookup lookup(graph, patterns);
  std::set<const ActivationPattern*> wanted;
  for (const std::string& layer : options.layers) {
    const ActivationPattern* found = lookup.find(layer, layer);
    if (found == nullptr) {
      throw Error(ErrorCode::InvalidArgument, fmt::format("there is no activation '{}'", layer),
                  {.model = graph.metadata.model_name, .cure = "the model has: " + lookup.listing()});
    }
    wanted.insert(found);
  }
  std::vector<const ActivationPattern*> result;
  for (const ActivationPattern& pattern : patterns) {
    const bool takes =
        options.layers.empty()
            ? std::ranges::any_of(
                  options.from,
                  [&](const std::string& op) { return same_word(op, ops::to_string(pattern.function.kind)); })
            : wanted.contains(&pattern);
    if (takes) result.push_back(&pattern);
  }
  if (!result.empty()) return result;
  throw Error(
      ErrorCode::InvalidArgument,
      fmt::format("the model has no {} to replace", fmt::join(options.from, " or ")),
      {.model = graph.metadata.model_name,
       .cure = fmt::format("its activations: {}; choose some by operator or by name", lookup.listing())});
}

}  // namespace

SwapResult swap_activation(const Model& model, std::string_view to, const SwapOptions& options) {
  const Target target = target_of(to);
  Graph graph = model.graph();
  const std::vector<ActivationPattern> patterns = ops::find_activations(graph);
  SwapResult result{.model = model, .layers = {}};
  for (const ActivationPattern* pattern : chosen(graph, patterns, options)) {
    const NodeId end = pattern->nodes.back();
    result.layers.push_back({.node = graph.label(end),
                             .value = graph.value(pattern->output).name,
                             .from = ops::to_string(pattern->function.kind),
                             .to = target.text()});
    const std::string name = graph.node(end).name;
    const std::string doc = graph.node(end).doc;
    const DataType type = surgery::element_type(graph, pattern->input);
    for (auto id = pattern->nodes.rbegin(); id != pattern->nodes.rend(); ++id) graph.remove_node(*id);
    Builder(graph, name, doc, pattern->input, pattern->output, type).build(target);
  }
  graph.sort();
  graph.remove_dead();
  graph::verify(graph);
  result.model = Model(std::make_shared<const Graph>(std::move(graph)));
  return result;
}

}  // namespace ember
