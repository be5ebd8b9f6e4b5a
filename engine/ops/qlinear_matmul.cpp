#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "ops/quantization.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// QLinearMatMul and MatMulInteger.

namespace ember::ops {

namespace {

/// Shapes of A and B as stacks of matrices, and of the product.
struct Product {
  Shape a, b;   ///< with a leading 1 for a vector A, a trailing 1 for a vector B
  Shape stack;  ///< leading extents of the product, broadcast
  Shape out;    ///< as ONNX has it, without the extents that a vector does not have
  std::int64_t m = 0, k = 0, n = 0;
};

Product product_of(const NodeContext& node, const Shape& a, const Shape& b) {
  node.require(a.rank() > 0 && b.rank() > 0, "a scalar operand");
  Product p;
  p.a = a.rank() == 1 ? Shape{1, a[0]} : a;
  p.b = b.rank() == 1 ? Shape{b[0], 1} : b;
  p.m = p.a[p.a.rank() - 2];
  p.k = p.a[p.a.rank() - 1];
  p.n = p.b[p.b.rank() - 1];
  node.require(p.k == p.b[p.b.rank() - 2],
               fmt::format("shapes {} and {} cannot be multiplied", to_string(a), to_string(b)));
  p.stack = broadcast(node, Shape(p.a.dims().first(static_cast<std::size_t>(p.a.rank() - 2))),
                      Shape(p.b.dims().first(static_cast<std::size_t>(p.b.rank() - 2))));
  std::vector<std::int64_t> out(p.stack.begin(), p.stack.end());
  if (a.rank() > 1) out.push_back(p.m);
  if (b.rank() > 1) out.push_back(p.n);
  p.out = Shape(out);
  return p;
}

/// Index of the matrix of an operand that takes part in matrix `index` of the stack.
std::int64_t matrix_index(const Shape& operand, const Shape& stack, std::int64_t index) {
  std::int64_t found = 0;
  std::int64_t step = 1;
  const int lead = operand.rank() - 2;
  for (int back = 1; back <= stack.rank(); ++back) {
    const std::int64_t extent = stack[stack.rank() - back];
    if (back <= lead) {
      const std::int64_t own = operand[lead - back];
      if (own != 1) found += index % extent * step;
      step *= own;
    }
    index /= extent;
  }
  return found;
}

/// Which element of a scale or zero point goes with a row (or column) of a matrix of an operand: one
/// for all, one per row of every matrix, or one per row of each.
std::int64_t line_index(std::int64_t elements, std::int64_t matrix, std::int64_t line, std::int64_t lines) {
  if (elements == 1) return 0;
  return elements == lines ? line : matrix * lines + line;
}

void require_lines(const InferContext& c, int i, const Shape& operand, int line_axis) {
  if (!c.has_input(i)) return;
  const std::int64_t held = c.shape(i).elements();
  const std::int64_t lines = operand[operand.rank() + line_axis];
  const std::int64_t all = operand.elements(0, operand.rank() - 2) * lines;
  c.require(held == 1 || held == lines || held == all,
            fmt::format("input {} has shape {}: neither one value nor one per {}", i, to_string(c.shape(i)),
                        line_axis == -2 ? "row" : "column"));
}

void require_8_bits(const InferContext& c, int i) {
  const DataType type = c.type(i);
  c.require(type == DataType::Int8 || type == DataType::UInt8,
            fmt::format("input {} of {} where 8-bit integers are needed", i, to_string(type)));
}

/// A's matrix times B's with zero points taken off, as exact integers: result(row, column, sum).
template <class A, class B, class Result>
void multiply(const Product& p, const A* a, const B* b, std::int64_t matrix_a, std::int64_t matrix_b,
              const ConstTensorView* zero_a, const ConstTensorView* zero_b, Result&& result) {
  for (std::int64_t row = 0; row < p.m; ++row) {
    const std::int64_t za =
        zero_a == nullptr ? 0 : zero_point_at(zero_a, line_index(zero_a->elements(), matrix_a, row, p.m));
    for (std::int64_t column = 0; column < p.n; ++column) {
      const std::int64_t zb =
          zero_b == nullptr ? 0
                            : zero_point_at(zero_b, line_index(zero_b->elements(), matrix_b, column, p.n));
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < p.k; ++k)
        sum += (a[(matrix_a * p.m + row) * p.k + k] - za) * (b[(matrix_b * p.k + k) * p.n + column] - zb);
      result(row, column, sum);
    }
  }
}

/// Calls each(stack index, matrix of a, matrix of b) for every product of the stack.
template <class Each>
void for_each_matrix(const Product& p, Each&& each) {
  for (std::int64_t s = 0; s < p.stack.elements(); ++s)
    each(s, matrix_index(p.a, p.stack, s), matrix_index(p.b, p.stack, s));
}

template <class F>
void dispatch_8_bits(const NodeContext& node, DataType a, DataType b, F&& f) {
  const auto pick = [&](DataType type, auto&& use) {
    if (type == DataType::Int8) use(std::int8_t{});
    else if (type == DataType::UInt8) use(std::uint8_t{});
    else node.fail(ErrorCode::Unsupported, std::string("element type ") + to_string(type));
  };
  pick(a, [&](auto zero_a) { pick(b, [&](auto zero_b) { f(zero_a, zero_b); }); });
}

void infer_integer(InferContext& c) {
  const Product p = product_of(c, c.shape(0), c.shape(1));
  require_8_bits(c, 0);
  require_8_bits(c, 1);
  require_lines(c, 2, p.a, -2);
  require_lines(c, 3, p.b, -1);
  c.set_output(0, DataType::Int32, p.out);
}

void reference_integer(EvalContext& c) {
  const Product p = product_of(c, c.input(0).shape(), c.input(1).shape());
  const auto y = c.output(0).data<std::int32_t>();
  const auto zeros = [&](int i) { return c.has_input(i) ? &c.input(i) : nullptr; };
  dispatch_8_bits(c, c.input(0).type(), c.input(1).type(), [&]<class A, class B>(A, B) {
    for_each_matrix(p, [&](std::int64_t s, std::int64_t in_a, std::int64_t in_b) {
      multiply(p, c.input(0).data<A>().data(), c.input(1).data<B>().data(), in_a, in_b, zeros(2), zeros(3),
               [&](std::int64_t row, std::int64_t column, std::int64_t sum) {
                 // int32 accumulation wraps by the specification.
                 y[static_cast<std::size_t>((s * p.m + row) * p.n + column)] = static_cast<std::int32_t>(sum);
               });
    });
  });
}

// Inputs of QLinearMatMul.
constexpr int kA = 0, kScaleA = 1, kZeroA = 2, kB = 3, kScaleB = 4, kZeroB = 5, kScaleY = 6, kZeroY = 7;

void infer_qlinear(InferContext& c) {
  const Product p = product_of(c, c.shape(kA), c.shape(kB));
  require_8_bits(c, kA);
  require_8_bits(c, kB);
  require_8_bits(c, kZeroY);
  for (const int i : {kScaleA, kZeroA}) require_lines(c, i, p.a, -2);
  for (const int i : {kScaleB, kZeroB}) require_lines(c, i, p.b, -1);
  Shape result = p.stack;
  std::vector<std::int64_t> rows(result.begin(), result.end());
  rows.insert(rows.end(), {p.m, p.n});
  for (const int i : {kScaleY, kZeroY}) require_lines(c, i, Shape(rows), -2);
  c.set_output(0, c.type(kZeroY), p.out);
}

float scale_at(const EvalContext& c, int i, std::int64_t index) {
  float scale = 0.0F;
  dispatch_floating(c, c.input(i).type(), [&](auto zero) {
    scale = static_cast<float>(widen(c.input(i).data<decltype(zero)>()[static_cast<std::size_t>(index)]));
  });
  return scale;
}

void reference_qlinear(EvalContext& c) {
  const Product p = product_of(c, c.input(kA).shape(), c.input(kB).shape());
  const auto scale = [&](int i, std::int64_t matrix, std::int64_t line, std::int64_t lines) {
    return scale_at(c, i, line_index(c.input(i).elements(), matrix, line, lines));
  };
  dispatch_8_bits(c, c.input(kA).type(), c.input(kB).type(), [&]<class A, class B>(A, B) {
    dispatch_quantised(c, c.output(0).type(), [&]<class Y>(Y) {
      const auto y = c.output(0).data<Y>();
      const ConstTensorView& zero_y = c.input(kZeroY);
      for_each_matrix(p, [&](std::int64_t s, std::int64_t in_a, std::int64_t in_b) {
        multiply(p, c.input(kA).data<A>().data(), c.input(kB).data<B>().data(), in_a, in_b, &c.input(kZeroA),
                 &c.input(kZeroB), [&](std::int64_t row, std::int64_t column, std::int64_t sum) {
                   const float factor = scale(kScaleA, in_a, row, p.m) * scale(kScaleB, in_b, column, p.n) /
                                        scale(kScaleY, s, row, p.m);
                   const std::int32_t zero =
                       zero_point_at(&zero_y, line_index(zero_y.elements(), s, row, p.m));
                   y[static_cast<std::size_t>((s * p.m + row) * p.n + column)] = saturate<Y>(
                       std::nearbyint(static_cast<double>(sum) * static_cast<double>(factor)), zero);
                 });
      });
    });
  });
}

double flops_product(const Product& p) {
  return 2.0 * static_cast<double>(p.out.elements()) * static_cast<double>(p.k);
}

double flops_integer(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  return flops_product(product_of(node, inputs[0], inputs[1]));
}

double flops_qlinear(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  return flops_product(product_of(node, inputs[kA], inputs[kB]));
}

}  // namespace

void add_quantised_matmul_operators(OperatorList& list) {
  list.push_back({.name = "MatMulInteger",
                  .versions = {10},
                  .infer = infer_integer,
                  .reference = reference_integer,
                  .flops = flops_integer});
  list.push_back({.name = "QLinearMatMul",
                  .versions = {10, 21},
                  .infer = infer_qlinear,
                  .reference = reference_qlinear,
                  .flops = flops_qlinear});
}

}  // namespace ember::ops
