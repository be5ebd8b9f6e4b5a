#include "ops/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/doubles.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"

// Softmax, LogSoftmax and Hardmax.

namespace ember::ops {

SoftmaxLines softmax_lines(const NodeContext& node, const Shape& shape) {
  const int rank = shape.rank();
  if (node.opset() < 13) {
    const int axis = normalize_axis(node, node.integer("axis", 1), rank);
    return {.outer = shape.elements(0, axis), .length = shape.elements(axis, rank), .inner = 1};
  }
  // A scalar is a line of one element.
  const std::int64_t given = node.integer("axis", -1);
  if (rank == 0 && (given == 0 || given == -1)) return {.outer = 1, .length = 1, .inner = 1};
  const int axis = normalize_axis(node, given, rank);
  return {.outer = shape.elements(0, axis), .length = shape[axis], .inner = shape.elements(axis + 1, rank)};
}

namespace {

void infer_softmax(InferContext& c) {
  require_type(c, 0, TypeSet::Floating);
  (void)softmax_lines(c, c.shape(0));
  c.set_output(0, c.type(0), c.shape(0));
}

/// Calls f(first element, stride) for each line; f may change the elements.
template <class F>
void for_each_line(EvalContext& c, F&& f) {
  const SoftmaxLines lines = softmax_lines(c, c.input(0).shape());
  std::vector<double> values = to_doubles(c, c.input(0));
  if (lines.length > 0) {
    for (std::int64_t o = 0; o < lines.outer; ++o)
      for (std::int64_t i = 0; i < lines.inner; ++i)
        f(values.data() + o * lines.length * lines.inner + i, lines.length, lines.inner);
  }
  from_doubles(c, values, c.output(0));
}

double line_max(const double* line, std::int64_t length, std::int64_t stride) {
  double best = -std::numeric_limits<double>::infinity();
  for (std::int64_t k = 0; k < length; ++k) best = std::max(best, line[k * stride]);
  return best;
}

double sum_of_exponentials(const double* line, std::int64_t length, std::int64_t stride, double shift) {
  double sum = 0;
  for (std::int64_t k = 0; k < length; ++k) sum += std::exp(line[k * stride] - shift);
  return sum;
}

void reference_softmax(EvalContext& c) {
  for_each_line(c, [](double* line, std::int64_t length, std::int64_t stride) {
    const double shift = line_max(line, length, stride);
    const double sum = sum_of_exponentials(line, length, stride, shift);
    for (std::int64_t k = 0; k < length; ++k) line[k * stride] = std::exp(line[k * stride] - shift) / sum;
  });
}

void reference_log_softmax(EvalContext& c) {
  for_each_line(c, [](double* line, std::int64_t length, std::int64_t stride) {
    const double shift = line_max(line, length, stride);
    const double log_sum = std::log(sum_of_exponentials(line, length, stride, shift));
    for (std::int64_t k = 0; k < length; ++k) line[k * stride] = line[k * stride] - shift - log_sum;
  });
}

/// One at the first largest element, zero elsewhere.
void reference_hardmax(EvalContext& c) {
  for_each_line(c, [](double* line, std::int64_t length, std::int64_t stride) {
    std::int64_t best = 0;
    for (std::int64_t k = 1; k < length; ++k)
      if (line[k * stride] > line[best * stride]) best = k;
    for (std::int64_t k = 0; k < length; ++k) line[k * stride] = k == best ? 1.0 : 0.0;
  });
}

}  // namespace

void add_softmax_operators(OperatorList& list) {
  const auto add = [&](std::string_view name, void (*reference)(EvalContext&)) {
    list.push_back({.name = name, .versions = {1, 11, 13}, .infer = infer_softmax, .reference = reference});
  };
  add("Softmax", reference_softmax);
  add("LogSoftmax", reference_log_softmax);
  add("Hardmax", reference_hardmax);
}

}  // namespace ember::ops
