#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "ops/matmul_geometry.hpp"
#include "ops/registry.hpp"
#include "ops/typed.hpp"

// MatMul and Gemm.

namespace ember::ops {

namespace {

Shape stack_of(const Shape& shape) {
  return Shape(shape.dims().first(static_cast<std::size_t>(std::max(0, shape.rank() - 2))));
}

/// For every matrix of the broadcast stack, the matrix of one input's stack it comes from.
std::vector<std::int64_t> stack_map(const Shape& stack, const Shape& own) {
  std::vector<std::int64_t> map(static_cast<std::size_t>(stack.elements()));
  for (std::size_t i = 0; i < map.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::int64_t stride = 1;
    for (int back = 1; back <= stack.rank(); ++back) {
      const std::int64_t at = rest % stack[stack.rank() - back];
      rest /= stack[stack.rank() - back];
      if (back > own.rank()) break;
      const std::int64_t extent = own[own.rank() - back];
      if (extent != 1) map[i] += at * stride;
      stride *= extent;
    }
  }
  return map;
}

template <class T>
constexpr bool kMultiplies =
    !std::is_same_v<T, std::int8_t> && !std::is_same_v<T, std::uint8_t> && !std::is_same_v<T, std::int16_t> &&
    !std::is_same_v<T, std::uint16_t> && !std::is_same_v<T, bool>;

template <class F>
void dispatch_product(const NodeContext& node, DataType type, F&& f) {
  dispatch_any(node, type, [&]<class T>(T zero) {
    if constexpr (kMultiplies<T>) f(zero);
    else node.fail(ErrorCode::Unsupported, fmt::format("element type {}", to_string(type)));
  });
}

/// Signed overflow wraps, as in every other implementation.
template <class T>
T multiply_add(T sum, T a, T b) {
  if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(sum) + static_cast<U>(a) * static_cast<U>(b));
  } else {
    return sum + a * b;
  }
}

void infer_matmul(InferContext& c) {
  c.require(c.type(0) == c.type(1), "both inputs must be of one type");
  c.set_output(0, c.type(0), matmul_shape(c, c.shape(0), c.shape(1)));
}

void reference_matmul(EvalContext& c) {
  const MatMulGeometry g = matmul_geometry(c, c.input(0).shape(), c.input(1).shape());
  dispatch_product(c, c.input(0).type(), [&]<class T>(T) {
    T* y = c.output(0).data<T>().data();
    for (std::size_t i = 0; i < g.a_matrix.size(); ++i) {
      const T* a = c.input(0).data<T>().data() + g.a_matrix[i] * g.m * g.k;
      const T* b = c.input(1).data<T>().data() + g.b_matrix[i] * g.k * g.n;
      for (std::int64_t row = 0; row < g.m; ++row) {
        for (std::int64_t column = 0; column < g.n; ++column) {
          Wide<T> sum{};
          for (std::int64_t k = 0; k < g.k; ++k) {
            sum = multiply_add<Wide<T>>(sum, widen(a[row * g.k + k]), widen(b[k * g.n + column]));
          }
          *y++ = narrow<T>(sum);
        }
      }
    }
  });
}

double flops_matmul(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape> outputs) {
  (void)node;
  return 2.0 * static_cast<double>(outputs[0].elements()) *
         static_cast<double>(inputs[0][inputs[0].rank() - 1]);
}

void infer_gemm(InferContext& c) {
  const GemmGeometry g = gemm_geometry(c, c.shape(0), c.shape(1));
  c.require(c.type(0) == c.type(1), "both matrices must be of one type");
  const Shape output{g.m, g.n};
  if (c.has_input(2)) {
    c.require(c.type(2) == c.type(0), "C must be of the matrices' type");
    c.require(
        broadcast(c, output, c.shape(2)) == output,
        fmt::format("C of shape {} does not broadcast to {}", to_string(c.shape(2)), to_string(output)));
  }
  c.set_output(0, c.type(0), output);
}

/// alpha and beta as integers for integer matrices.
template <class T>
Wide<T> factor(float value) {
  return static_cast<Wide<T>>(value);
}

void reference_gemm(EvalContext& c) {
  const GemmGeometry g = gemm_geometry(c, c.input(0).shape(), c.input(1).shape());
  dispatch_product(c, c.input(0).type(), [&]<class T>(T) {
    const T* a = c.input(0).data<T>().data();
    const T* b = c.input(1).data<T>().data();
    T* y = c.output(0).data<T>().data();
    const BroadcastMatrix addend = c.has_input(2) ? broadcast_matrix(c.input(2).shape()) : BroadcastMatrix{};
    for (std::int64_t row = 0; row < g.m; ++row) {
      for (std::int64_t column = 0; column < g.n; ++column) {
        Wide<T> sum{};
        for (std::int64_t k = 0; k < g.k; ++k) {
          sum = multiply_add<Wide<T>>(sum, widen(a[g.transpose_a ? k * g.m + row : row * g.k + k]),
                                      widen(b[g.transpose_b ? column * g.k + k : k * g.n + column]));
        }
        sum = multiply_add<Wide<T>>(Wide<T>{}, factor<T>(g.alpha), sum);
        if (c.has_input(2)) {
          const T* added =
              c.input(2).data<T>().data() + row * addend.row_stride + column * addend.column_stride;
          sum = multiply_add<Wide<T>>(sum, factor<T>(g.beta), widen(*added));
        }
        *y++ = narrow<T>(sum);
      }
    }
  });
}

double flops_gemm(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape> outputs) {
  const GemmGeometry g = gemm_geometry(node, inputs[0], inputs[1]);
  return 2.0 * static_cast<double>(outputs[0].elements()) * static_cast<double>(g.k);
}

}  // namespace

Shape matmul_shape(const NodeContext& node, const Shape& a, const Shape& b) {
  node.require(a.rank() >= 1 && b.rank() >= 1, "a scalar cannot be multiplied as a matrix");
  const std::int64_t inner_a = a[a.rank() - 1];
  const std::int64_t inner_b = b[std::max(0, b.rank() - 2)];
  node.require(inner_a == inner_b, fmt::format("matrices {} and {} do not fit", to_string(a), to_string(b)));
  const Shape stack = broadcast(node, stack_of(a), stack_of(b));
  std::vector<std::int64_t> dims(stack.begin(), stack.end());
  if (a.rank() > 1) dims.push_back(a[a.rank() - 2]);
  if (b.rank() > 1) dims.push_back(b[b.rank() - 1]);
  return Shape(dims);
}

MatMulGeometry matmul_geometry(const NodeContext& node, const Shape& a, const Shape& b) {
  MatMulGeometry g;
  g.output = matmul_shape(node, a, b);
  g.m = a.rank() > 1 ? a[a.rank() - 2] : 1;
  g.n = b.rank() > 1 ? b[b.rank() - 1] : 1;
  g.k = a[a.rank() - 1];
  const Shape stack = broadcast(node, stack_of(a), stack_of(b));
  g.count = stack.elements();
  g.a_matrix = stack_map(stack, stack_of(a));
  g.b_matrix = stack_map(stack, stack_of(b));
  return g;
}

GemmGeometry gemm_geometry(const NodeContext& node, const Shape& a, const Shape& b) {
  node.require(a.rank() == 2 && b.rank() == 2,
               fmt::format("Gemm takes matrices, not {} and {}", to_string(a), to_string(b)));
  GemmGeometry g;
  g.transpose_a = node.integer("transA", 0) != 0;
  g.transpose_b = node.integer("transB", 0) != 0;
  g.alpha = node.real("alpha", 1.0F);
  g.beta = node.real("beta", 1.0F);
  g.m = a[g.transpose_a ? 1 : 0];
  g.k = a[g.transpose_a ? 0 : 1];
  g.n = b[g.transpose_b ? 0 : 1];
  node.require(b[g.transpose_b ? 1 : 0] == g.k,
               fmt::format("matrices {} and {} do not fit", to_string(a), to_string(b)));
  return g;
}

BroadcastMatrix broadcast_matrix(const Shape& shape) {
  const std::int64_t columns = shape.rank() >= 1 ? shape[shape.rank() - 1] : 1;
  const std::int64_t rows = shape.rank() >= 2 ? shape[shape.rank() - 2] : 1;
  return {.row_stride = rows == 1 ? 0 : columns, .column_stride = columns == 1 ? 0 : 1};
}

void add_matmul_operators(OperatorList& list) {
  list.push_back({.name = "MatMul",
                  .versions = {1, 9, 13},
                  .infer = infer_matmul,
                  .reference = reference_matmul,
                  .flops = flops_matmul,
                  .fuses = {.activation = true, .residual = true, .bias = true}});
  list.push_back({.name = "Gemm",
                  .versions = {7, 9, 11, 13},
                  .infer = infer_gemm,
                  .reference = reference_gemm,
                  .flops = flops_gemm,
                  .fuses = {.activation = true, .residual = true}});
}

}  // namespace ember::ops
