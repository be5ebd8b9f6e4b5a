#include <cmath>

#include <fmt/format.h>

#include "ops/matmul_geometry.hpp"
#include "ops/quantization.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// QLinearMatMul and MatMulInteger.

namespace ember::ops {

namespace {

/// Which element of a scale or zero point goes with a row (or column) of a matrix of an operand: one
/// for all, one per row of every matrix, or one per row of each.
std::int64_t line_index(std::int64_t elements, std::int64_t matrix, std::int64_t line, std::int64_t lines) {
  if (elements == 1) return 0;
  return elements == lines ? line : matrix * lines + line;
}

/// `lines` rows (or columns) in each of `matrices`.
void require_lines(const InferContext& c, int i, std::int64_t lines, std::int64_t matrices) {
  if (!c.has_input(i)) return;
  const std::int64_t held = c.shape(i).elements();
  c.require(held == 1 || held == lines || held == lines * matrices,
            fmt::format("input {} has shape {}: neither one value nor one per row or column", i,
                        to_string(c.shape(i))));
}

/// Matrices in an operand's own stack.
std::int64_t matrices_of(const Shape& operand) {
  return operand.rank() < 3 ? 1 : operand.elements(0, operand.rank() - 2);
}

void require_8_bits(const InferContext& c, int i) {
  const DataType type = c.type(i);
  c.require(type == DataType::Int8 || type == DataType::UInt8,
            fmt::format("input {} of {} where 8-bit integers are needed", i, to_string(type)));
}

/// A's matrix times B's with zero points taken off, as exact integers: result(row, column, sum).
template <class A, class B, class Result>
void multiply(const MatMulGeometry& p, const A* a, const B* b, std::int64_t matrix_a, std::int64_t matrix_b,
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
void for_each_matrix(const MatMulGeometry& p, Each&& each) {
  for (std::int64_t s = 0; s < p.count; ++s)
    each(s, p.a_matrix[static_cast<std::size_t>(s)], p.b_matrix[static_cast<std::size_t>(s)]);
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
  const MatMulGeometry p = matmul_geometry(c, c.shape(0), c.shape(1));
  require_8_bits(c, 0);
  require_8_bits(c, 1);
  require_lines(c, 2, p.m, matrices_of(c.shape(0)));
  require_lines(c, 3, p.n, matrices_of(c.shape(1)));
  c.set_output(0, DataType::Int32, p.output);
}

void reference_integer(EvalContext& c) {
  const MatMulGeometry p = matmul_geometry(c, c.input(0).shape(), c.input(1).shape());
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
  const MatMulGeometry p = matmul_geometry(c, c.shape(kA), c.shape(kB));
  require_8_bits(c, kA);
  require_8_bits(c, kB);
  require_8_bits(c, kZeroY);
  for (const int i : {kScaleA, kZeroA}) require_lines(c, i, p.m, matrices_of(c.shape(kA)));
  for (const int i : {kScaleB, kZeroB}) require_lines(c, i, p.n, matrices_of(c.shape(kB)));
  for (const int i : {kScaleY, kZeroY}) require_lines(c, i, p.m, p.count);
  c.set_output(0, c.type(kZeroY), p.output);
}

float scale_at(const EvalContext& c, int i, std::int64_t index) {
  float scale = 0.0F;
  dispatch_floating(c, c.input(i).type(), [&](auto zero) {
    scale = static_cast<float>(widen(c.input(i).data<decltype(zero)>()[static_cast<std::size_t>(index)]));
  });
  return scale;
}

void reference_qlinear(EvalContext& c) {
  const MatMulGeometry p = matmul_geometry(c, c.input(kA).shape(), c.input(kB).shape());
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

double flops_product(const MatMulGeometry& p) {
  return 2.0 * static_cast<double>(p.output.elements()) * static_cast<double>(p.k);
}

double flops_integer(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  return flops_product(matmul_geometry(node, inputs[0], inputs[1]));
}

double flops_qlinear(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  return flops_product(matmul_geometry(node, inputs[kA], inputs[kB]));
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
