#include "passes/comparison.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/interpreter.hpp"
#include "ops/typed.hpp"

namespace ember::passes {

namespace {

/// Rounding differs where constants were combined beforehand: allowed is this share of the largest
/// magnitude in the tensor, and one step of 8-bit integers, which are quantised.
constexpr double kRelativeTolerance = 1e-3;
constexpr double kAbsoluteTolerance = 1e-5;

Shape shape_of(const graph::Value& value) {
  std::vector<std::int64_t> extents;
  for (const graph::Dim& dim : value.dims.value_or(std::vector<graph::Dim>())) {
    extents.push_back(dim.size < 0 ? 1 : dim.size);
  }
  return Shape(extents);
}

Tensor random_input(const graph::Value& value, std::mt19937_64& generator) {
  Tensor tensor(value.type, shape_of(value));
  ops::dispatch_type(value.type, [&](auto zero) {
    using T = decltype(zero);
    for (T& element : tensor.data<T>()) {
      const double unit = static_cast<double>(generator() >> 11) * 0x1p-53;
      // Integers are often indices.
      const double number = is_floating(value.type) ? 2 * unit - 1 : std::round(unit);
      element = ops::narrow<T>(static_cast<ops::Wide<T>>(number));
    }
  });
  return tensor;
}

std::vector<double> numbers(const Tensor& tensor) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(tensor.elements()));
  ops::dispatch_type(tensor.type(), [&](auto zero) {
    for (const auto element : tensor.data<decltype(zero)>())
      values.push_back(static_cast<double>(ops::widen(element)));
  });
  return values;
}

double tolerance(DataType type, const std::vector<double>& expected) {
  if (type == DataType::Int8 || type == DataType::UInt8) return 1.0;
  if (!is_floating(type)) return 0.0;
  double largest = 0.0;
  for (const double value : expected) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  return kAbsoluteTolerance + kRelativeTolerance * largest;
}

/// Empty when the tensors agree, else how they differ.
std::string difference(const Tensor& now, const Tensor& before) {
  if (now.type() != before.type())
    return fmt::format("{} was {}", to_string(now.type()), to_string(before.type()));
  if (now.shape() != before.shape()) {
    return fmt::format("shape {} was {}", to_string(now.shape()), to_string(before.shape()));
  }
  const std::vector<double> a = numbers(now);
  const std::vector<double> b = numbers(before);
  const double allowed = tolerance(before.type(), b);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool same =
        a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])) || std::abs(a[i] - b[i]) <= allowed;
    if (!same) return fmt::format("element {} is {} and was {}", i, a[i], b[i]);
  }
  return {};
}

}  // namespace

Comparison::Comparison(const graph::Graph& graph) {
  std::mt19937_64 generator(1);
  try {
    for (const graph::ValueId id : graph.inputs) {
      inputs_.emplace(graph.value(id).name, random_input(graph.value(id), generator));
    }
    expected_ = ops::interpret(graph, inputs_);
    runs_ = true;
  } catch (const Error& error) {
    fmt::print(stderr,
               "EMBER_VERIFY: the passes are not compared, the model does not run on random input: {}\n",
               error.what());
  }
}

void Comparison::check(const graph::Graph& graph) const {
  if (!runs_) return;
  const std::vector<Tensor> outputs = ops::interpret(graph, inputs_);
  for (std::size_t i = 0; i < expected_.size(); ++i) {
    const std::string found = difference(outputs.at(i), expected_[i]);
    if (found.empty()) continue;
    throw Error(ErrorCode::Internal, "it changes an output: " + found,
                {.model = graph.metadata.model_name, .tensor = graph.value(graph.outputs[i]).name});
  }
}

}  // namespace ember::passes
