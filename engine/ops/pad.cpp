#include "ops/pad.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/cast.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

namespace ember::ops {

namespace {

std::optional<PadMode> mode_named(const std::string& name, int opset) {
  if (name == "constant") return PadMode::Constant;
  if (name == "reflect") return PadMode::Reflect;
  if (name == "edge") return PadMode::Edge;
  if (name == "wrap" && opset >= 19) return PadMode::Wrap;
  return std::nullopt;
}

void check_pad(const NodeContext& c, std::vector<std::string>& reasons) {
  const std::string name = c.text("mode", "constant");
  if (!mode_named(name, c.opset())) reasons.push_back(fmt::format("mode '{}'", name));
  if (c.opset() < 11 && !c.has("pads")) reasons.emplace_back("attribute 'pads' is missing");
}

bool has_axes(const NodeContext& c) { return c.opset() >= 18 && c.has_input(3); }

void infer_pad(InferContext& c) {
  const std::vector<std::int64_t> pads = c.opset() < 11 ? c.integers("pads") : c.required_integers(1);
  std::optional<std::vector<std::int64_t>> axes;
  if (has_axes(c)) axes = c.required_integers(3);
  const Padding padding = resolve_padding(c, c.shape(0), pads, axes);
  if (c.opset() >= 11 && c.has_input(2)) {
    c.require(c.type(2) == c.type(0) && c.shape(2).elements() == 1,
              "the padding value must be one element of the data's type");
  }
  c.set_output(0, c.type(0), padding.shape);
}

/// The padding value as raw bytes of the data's type.
template <class Word>
Word padding_value(const EvalContext& c) {
  Word word{};
  if (c.opset() >= 11) {
    if (c.has_input(2)) std::memcpy(&word, c.input(2).raw(), sizeof(Word));
    return word;
  }
  const float value = c.real("value", 0.0F);
  dispatch_any(c, c.input(0).type(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (sizeof(T) == sizeof(Word)) {
      const T typed = cast_element<T>(value);
      std::memcpy(&word, &typed, sizeof(T));
    }
  });
  return word;
}

void reference_pad(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const TensorView& to = c.output(0);
  const PadMode mode = pad_mode(c);
  std::optional<std::vector<std::int64_t>> axes;
  if (has_axes(c)) axes = c.integers_of(3);
  const Padding padding =
      resolve_padding(c, from.shape(), c.opset() < 11 ? c.integers("pads") : c.integers_of(1), axes);
  const PerAxis strides = dense_strides(from.shape());
  dispatch_by_size(size_of(from.type()), [&](auto zero) {
    using Word = decltype(zero);
    const Word value = padding_value<Word>(c);
    for_each_index(to.shape(), [&](std::int64_t position, const PerAxis& index) {
      std::int64_t source = 0;
      bool inside = true;
      for (std::size_t i = 0; i < static_cast<std::size_t>(to.shape().rank()); ++i) {
        const std::int64_t at = padded_source(mode, index[i] - padding.before[i], padding.kept[i]);
        inside = inside && at >= 0;
        source += (padding.crop_begin[i] + at) * strides[i];
      }
      words<Word>(to)[position] = inside ? words<Word>(from)[source] : value;
    });
  });
}

}  // namespace

PadMode pad_mode(const NodeContext& node) {
  const std::string name = node.text("mode", "constant");
  const auto mode = mode_named(name, node.opset());
  if (!mode) node.fail(ErrorCode::Unsupported, fmt::format("mode '{}'", name));
  return *mode;
}

Padding resolve_padding(const NodeContext& node, const Shape& input, const std::vector<std::int64_t>& pads,
                        const std::optional<std::vector<std::int64_t>>& axes) {
  std::vector<std::int64_t> named(static_cast<std::size_t>(input.rank()));
  std::iota(named.begin(), named.end(), 0);
  if (axes) named = *axes;
  normalize_axes(node, named, input.rank());  // refuses repeated axes
  node.require(pads.size() == 2 * named.size(),
               fmt::format("{} pads for {} axes", pads.size(), named.size()));
  const PadMode mode = pad_mode(node);
  Padding padding{.shape = input};
  std::ranges::copy(input.dims(), padding.kept.begin());
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max() / 8;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const int axis = normalize_axis(node, named[i], input.rank());
    const auto at = static_cast<std::size_t>(axis);
    const std::int64_t begin = pads[i];
    const std::int64_t end = pads[i + named.size()];
    if (std::max(begin, end) > kLargest || std::min(begin, end) < -kLargest)
      node.fail(ErrorCode::ResourceLimit, fmt::format("pads {} and {} are beyond any tensor", begin, end));
    padding.crop_begin[at] = std::max<std::int64_t>(-begin, 0);
    padding.before[at] = std::max<std::int64_t>(begin, 0);
    padding.kept[at] = input[axis] - padding.crop_begin[at] - std::max<std::int64_t>(-end, 0);
    node.require(padding.kept[at] >= 0, fmt::format("more is cropped from axis {} than it has", axis));
    const std::int64_t added = padding.before[at] + std::max<std::int64_t>(end, 0);
    node.require(mode == PadMode::Constant || padding.kept[at] > 0 || added == 0,
                 fmt::format("axis {} is empty: nothing to repeat", axis));
    padding.shape = padding.shape.with(axis, padding.kept[at] + added);
  }
  return padding;
}

std::int64_t padded_source(PadMode mode, std::int64_t at, std::int64_t kept) {
  if (at >= 0 && at < kept) return at;
  switch (mode) {
    case PadMode::Constant: break;
    case PadMode::Edge: return at < 0 ? 0 : kept - 1;
    case PadMode::Wrap: return (at % kept + kept) % kept;
    case PadMode::Reflect: {
      const std::int64_t period = std::max<std::int64_t>(2 * (kept - 1), 1);
      const std::int64_t phase = (at % period + period) % period;
      return phase < kept ? phase : period - phase;
    }
  }
  return -1;
}

void add_pad_operators(OperatorList& list) {
  list.push_back({.name = "Pad",
                  .versions = {2, 11, 13, 18, 19, 21, 23, 24, 25},
                  .check = check_pad,
                  .infer = infer_pad,
                  .reference = reference_pad,
                  .flops = no_flops});
}

}  // namespace ember::ops
