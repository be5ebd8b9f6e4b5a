#include "audit/raise_effect.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "ops/op.hpp"

namespace ember::auditing {

namespace {

using graph::kNoValue;
using graph::Node;
using graph::NodeId;
using graph::ValueId;

using Raises = std::vector<Raise>;

bool all_even(const Raises& raises) { return std::ranges::all_of(raises, &Raise::even); }

Raise times(const Raise& raise, double factor) {
  const auto [low, high] = std::minmax({raise.low * factor, raise.high * factor});
  return {low, high};
}

/// The taps of a filter along one axis that lie inside the input, as [begin, end); each such window once.
using Windows = std::set<std::pair<std::int64_t, std::int64_t>>;

/// Carries what is added through one node after the other.
class Carrier {
 public:
  explicit Carrier(const ShapedNetwork& network) : network_(network) {}

  void start(const TwinGraph::Addition& addition) {
    Raises& raises = raises_[addition.to];
    for (const float amount : addition.constant.data<float>()) raises.push_back({amount, amount});
  }

  bool carry(NodeId id) {
    const Node& node = network_.graph.node(id);
    if (std::ranges::none_of(node.inputs, [&](ValueId v) { return raises_.contains(v); })) return true;
    const Shape* in = node.inputs[0] == kNoValue ? nullptr : network_.shape(node.inputs[0]);
    const Shape* out = network_.shape(node.outputs[0]);
    if (in == nullptr || out == nullptr || in->rank() < 2 || out->rank() < 2) return false;
    std::optional<Raises> result = through(ops::NodeContext(network_.graph, id), *in, *out);
    if (!result || static_cast<std::int64_t>(result->size()) != (*out)[1]) return false;
    raises_[node.outputs[0]] = std::move(*result);
    return true;
  }

  [[nodiscard]] std::optional<Raises> of(ValueId value) const {
    if (const auto found = raises_.find(value); found != raises_.end()) return found->second;
    return std::nullopt;
  }

 private:
  [[nodiscard]] const Tensor* constant(const Node& node, std::size_t input) const {
    if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return nullptr;
    const Tensor* tensor = network_.graph.constant(node.inputs[input]);
    return tensor != nullptr && tensor->type() == DataType::Float32 ? tensor : nullptr;
  }

  std::optional<Raises> through(const ops::NodeContext& context, const Shape& in, const Shape& out) const {
    static constexpr std::array<std::string_view, 2> kSame = {"Identity", "Dropout"};
    static constexpr std::array<std::string_view, 4> kPools = {"MaxPool", "GlobalMaxPool",
                                                               "GlobalAveragePool", "AveragePool"};
    const Node& node = context.node();
    if (node.op == "Add" || node.op == "Sub") return sum(node, out);
    if (node.op == "Mul" || node.op == "Div") return product(node, out);
    const std::optional<Raises> given = of(node.inputs[0]);
    if (!given) return std::nullopt;
    if (std::ranges::find(kSame, node.op) != kSame.end()) return given;
    if (node.op == "BatchNormalization") return normalised(context, *given);
    if (!all_even(*given)) return std::nullopt;
    if (std::ranges::find(kPools, node.op) != kPools.end()) {
      // Padding that is counted is not raised.
      return context.integer("count_include_pad", 0) == 0 ? given : std::nullopt;
    }
    if (node.op == "Flatten" || node.op == "Reshape") return columns(*given, in, out);
    if (node.op == "Conv") return convolved(context, *given, in, out);
    if (node.op == "Gemm" || node.op == "MatMul") return multiplied(context, *given, in);
    return std::nullopt;
  }

  std::optional<Raises> sum(const Node& node, const Shape& out) const {
    Raises total(static_cast<std::size_t>(out[1]));
    for (std::size_t i = 0; i < 2; ++i) {
      const std::optional<Raises> given = of(node.inputs[i]);
      if (!given) continue;
      const Shape* shape = network_.shape(node.inputs[i]);
      if (shape == nullptr || *shape != out || given->size() != total.size()) return std::nullopt;
      for (std::size_t c = 0; c < total.size(); ++c) {
        // Where the ends of both meet is not known.
        if (!total[c].even() && !(*given)[c].even()) return std::nullopt;
        const Raise more = times((*given)[c], node.op == "Sub" && i == 1 ? -1.0 : 1.0);
        total[c] = {total[c].low + more.low, total[c].high + more.high};
      }
    }
    return total;
  }

  std::optional<Raises> product(const Node& node, const Shape& out) const {
    const std::size_t other = constant(node, 0) != nullptr ? 0 : 1;
    const Tensor* factor = constant(node, other);
    std::optional<Raises> given = of(node.inputs[1 - other]);
    if (factor == nullptr || !given || (node.op == "Div" && other == 0)) return std::nullopt;
    const bool one = factor->elements() == 1;
    const int axis = factor->shape().rank() - out.rank() + 1;
    if (!one && (axis < 0 || factor->shape()[axis] != out[1] || factor->elements() != out[1]))
      return std::nullopt;
    for (std::size_t c = 0; c < given->size(); ++c) {
      const double value = factor->data<float>()[one ? 0 : c];
      (*given)[c] = times((*given)[c], node.op == "Div" ? 1.0 / value : value);
    }
    return given;
  }

  std::optional<Raises> normalised(const ops::NodeContext& context, Raises given) const {
    const Tensor* gamma = constant(context.node(), 1);
    const Tensor* variance = constant(context.node(), 4);
    if (gamma == nullptr || variance == nullptr || context.integer("training_mode", 0) != 0 ||
        gamma->elements() != static_cast<std::int64_t>(given.size()) ||
        variance->elements() != gamma->elements())
      return std::nullopt;
    const double epsilon = context.real("epsilon", 1e-5F);
    for (std::size_t c = 0; c < given.size(); ++c) {
      given[c] = times(given[c], gamma->data<float>()[c] / std::sqrt(variance->data<float>()[c] + epsilon));
    }
    return given;
  }

  /// [N, C, …] as [N, C · …].
  static std::optional<Raises> columns(const Raises& given, const Shape& in, const Shape& out) {
    const std::int64_t each = in.elements(2, in.rank());
    if (out.rank() != 2 || out[0] != in[0] || out[1] != in[1] * each) return std::nullopt;
    Raises result;
    for (const Raise& raise : given) result.insert(result.end(), static_cast<std::size_t>(each), raise);
    return result;
  }

  std::optional<Raises> multiplied(const ops::NodeContext& context, const Raises& given,
                                   const Shape& in) const {
    const Node& node = context.node();
    const Tensor* weights = constant(node, 1);
    if (weights == nullptr || weights->shape().rank() != 2 || in.rank() != 2 ||
        context.integer("transA", 0) != 0)
      return std::nullopt;
    // What is added to a product is constant, or known elsewhere.
    if (node.inputs.size() > 2 && of(node.inputs[2])) return std::nullopt;
    const bool transposed = context.integer("transB", 0) != 0;
    const double alpha = context.real("alpha", 1.0F);
    const std::int64_t made = weights->shape()[transposed ? 0 : 1];
    const std::int64_t read = weights->shape()[transposed ? 1 : 0];
    if (read != static_cast<std::int64_t>(given.size())) return std::nullopt;
    Raises result;
    for (std::int64_t c = 0; c < made; ++c) {
      double total = 0.0;
      for (std::int64_t k = 0; k < read; ++k) {
        const std::int64_t at = transposed ? c * read + k : k * made + c;
        total +=
            weights->data<float>()[static_cast<std::size_t>(at)] * given[static_cast<std::size_t>(k)].low;
      }
      result.push_back({alpha * total, alpha * total});
    }
    return result;
  }

  /// What lies inside the input along a spatial axis.
  static Windows windows(const ops::NodeContext& context, int axis, std::int64_t taps, std::int64_t in,
                         std::int64_t out) {
    const auto at = [&](const char* name, std::int64_t otherwise) {
      const auto values = context.integers(name);
      return values.empty() ? otherwise : values[static_cast<std::size_t>(axis)];
    };
    const std::int64_t stride = at("strides", 1);
    const std::int64_t dilation = at("dilations", 1);
    const std::int64_t pad = at("pads", 0);
    Windows result;
    for (std::int64_t p = 0; p < out; ++p) {
      const std::int64_t start = p * stride - pad;
      std::int64_t begin = 0;
      while (begin < taps && start + begin * dilation < 0) ++begin;
      std::int64_t end = taps;
      while (end > begin && start + (end - 1) * dilation >= in) --end;
      result.insert({begin, end});
    }
    return result;
  }

  std::optional<Raises> convolved(const ops::NodeContext& context, const Raises& given, const Shape& in,
                                  const Shape& out) const {
    const Tensor* weights = constant(context.node(), 1);
    const std::string padding = context.text("auto_pad", "NOTSET");
    if (weights == nullptr || (padding != "NOTSET" && padding != "VALID")) return std::nullopt;
    const Shape& shape = weights->shape();
    if (shape.rank() != in.rank() || (shape.rank() != 3 && shape.rank() != 4)) return std::nullopt;
    // One row of positions where there is one spatial axis.
    const bool flat = shape.rank() == 3;
    const std::int64_t rows = flat ? 1 : shape[2];
    const std::int64_t taps = shape[shape.rank() - 1];
    const Windows down = flat ? Windows{{0, 1}} : windows(context, 0, rows, in[2], out[2]);
    const Windows across = windows(context, flat ? 0 : 1, taps, in[in.rank() - 1], out[out.rank() - 1]);
    const std::int64_t read = shape[1];
    const std::int64_t per_group = shape[0] / std::max<std::int64_t>(1, context.integer("group", 1));
    Raises result;
    std::vector<double> sums(static_cast<std::size_t>(rows * taps));
    for (std::int64_t c = 0; c < shape[0]; ++c) {
      std::ranges::fill(sums, 0.0);
      for (std::int64_t k = 0; k < read; ++k) {
        const double raise = given[static_cast<std::size_t>(c / per_group * read + k)].low;
        if (raise == 0.0) continue;
        const auto row = weights->data<float>().subspan(
            static_cast<std::size_t>((c * read + k) * rows * taps), sums.size());
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += row[i] * raise;
      }
      result.push_back(extremes(sums, taps, down, across));
    }
    return result;
  }

  static Raise extremes(const std::vector<double>& sums, std::int64_t taps, const Windows& down,
                        const Windows& across) {
    std::optional<Raise> result;
    for (const auto& [top, bottom] : down) {
      for (const auto& [left, right] : across) {
        double total = 0.0;
        for (std::int64_t y = top; y < bottom; ++y) {
          for (std::int64_t x = left; x < right; ++x) total += sums[static_cast<std::size_t>(y * taps + x)];
        }
        result =
            result ? Raise{std::min(result->low, total), std::max(result->high, total)} : Raise{total, total};
      }
    }
    return result.value_or(Raise{});
  }

  const ShapedNetwork& network_;
  std::map<ValueId, Raises> raises_;
};

}  // namespace

std::optional<std::vector<Raise>> effect_of(const ShapedNetwork& network, std::span<const NodeId> nodes,
                                            std::span<const TwinGraph::Addition> additions, ValueId to) {
  Carrier carrier(network);
  for (const TwinGraph::Addition& addition : additions) carrier.start(addition);
  const std::set<NodeId> wanted(nodes.begin(), nodes.end());
  for (const NodeId id : network.graph.order()) {
    if (wanted.contains(id) && !carrier.carry(id)) return std::nullopt;
  }
  return carrier.of(to);
}

}  // namespace ember::auditing
