#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include "ops/matmul_geometry.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Gemm, MatMul, QLinearMatMul and MatMulInteger: rows of the one factor and columns of the other pass to the
// product; the axis between them is summed over.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

/// The axes of a matrix product's factors and result.
struct Axes {
  int a_rows = 0, a_inner = 1, b_inner = 0, b_columns = 1;
};

/// The read of one factor's inner axis when the other factor is known, or when neither is.
LinearRead read_of(Linker& linker, ValueId a, ValueId b, const Axes& axes, bool reads_a) {
  const ValueId y = linker.output(0);
  const int rank = linker.shape(y).rank();
  LinearRead read;
  read.node = linker.context().id();
  read.inputs = reads_a ? linker.slot(a, axes.a_inner) : linker.slot(b, axes.b_inner);
  read.count = linker.shape(a)[axes.a_inner];
  read.outputs = linker.slot(y, reads_a ? rank - 1 : rank - 2);
  read.output_count = linker.shape(y)[reads_a ? rank - 1 : rank - 2];
  const ValueId other = reads_a ? b : a;
  const Tensor* known = linker.facts().known(other);
  if (known == nullptr || known->shape().rank() != 2) {
    read.other = reads_a ? linker.slot(b, axes.b_inner) : linker.slot(a, axes.a_inner);
    read.no_fold =
        known == nullptr ? "both of its factors are computed" : "its weights are a stack of matrices";
    return read;
  }
  const int inner = reads_a ? axes.b_inner : axes.a_inner;
  const std::int64_t columns = known->shape()[1];
  read.weights = known;
  read.in_stride = inner == 0 ? columns : 1;
  read.out_stride = inner == 0 ? 1 : columns;
  read.own_weights = linker.own_weights(other);
  return read;
}

// ---- Gemm

void fold_into_gemm(Surgeon& surgeon, const LinearRead& read, std::span<const double> added) {
  const ops::NodeContext context(surgeon.facts().graph(), read.node);
  const auto alpha = static_cast<double>(context.real("alpha", 1.0F));
  const auto beta = static_cast<double>(context.real("beta", 1.0F));
  surgeon.add_to_bias(read.node, 2, added, 1, alpha / beta);
}

void link_gemm(Linker& linker) {
  const ValueId a = linker.input(0);
  const ValueId b = linker.input(1);
  const ValueId c = linker.input(2);
  const ValueId y = linker.output(0);
  const ops::GemmGeometry geometry = ops::gemm_geometry(linker.context(), linker.shape(a), linker.shape(b));
  const Axes axes{.a_rows = geometry.transpose_a ? 1 : 0,
                  .a_inner = geometry.transpose_a ? 0 : 1,
                  .b_inner = geometry.transpose_b ? 1 : 0,
                  .b_columns = geometry.transpose_b ? 0 : 1};
  linker.join(a, axes.a_rows, y, 0);
  linker.join(b, axes.b_columns, y, 1);
  linker.join(a, axes.a_inner, b, axes.b_inner);
  for (int axis = 0; c != kNoValue && axis < linker.shape(c).rank(); ++axis) {
    const int of_output = axis + 2 - linker.shape(c).rank();
    if (linker.shape(c)[axis] == linker.shape(y)[of_output]) linker.join(c, axis, y, of_output);
  }
  const bool b_known = linker.facts().known(b) != nullptr;
  const bool reads_a = b_known || linker.facts().known(a) == nullptr;
  LinearRead read = read_of(linker, a, b, axes, reads_a);
  read.fold = fold_into_gemm;
  if (read.no_fold.empty()) {
    if (!reads_a) read.no_fold = "its weights are the left factor, whose rows have no bias";
    else if (geometry.beta == 0.0F || geometry.alpha == 0.0F) read.no_fold = "its alpha or beta is 0";
    else if (c != kNoValue && linker.facts().known(c) == nullptr) read.no_fold = "its bias is computed";
    else if (c != kNoValue && linker.shape(c).elements() != 1 && linker.shape(c).elements() != geometry.n)
      read.no_fold = "its bias is a matrix";
    else if (c != kNoValue && linker.shape(c).rank() == 2 && linker.shape(c)[1] != geometry.n &&
             geometry.n != 1)
      read.no_fold = "its bias is a column";
  }
  linker.structure().reads.push_back(std::move(read));
}

void flow_gemm(Flow& flow) {
  const ValueId a = flow.input(0);
  const ValueId c = flow.input(2);
  const Tensor* weights = flow.facts().known(flow.input(1));
  const Tensor* bias = flow.facts().known(c);
  if (weights == nullptr || (c != kNoValue && bias == nullptr)) return;
  const ops::GemmGeometry geometry = ops::gemm_geometry(flow.context(), flow.shape(a), weights->shape());
  const bool row = bias == nullptr || bias->elements() == 1 ||
                   (bias->elements() == geometry.n && bias->shape()[bias->shape().rank() - 1] == geometry.n);
  if (!row || geometry.transpose_a) return;
  const std::int64_t columns = weights->shape()[1];
  for (std::int64_t o = 0; o < geometry.n; ++o) {
    double sum = 0.0;
    bool constant = true;
    for (std::int64_t i = 0; i < geometry.k && constant; ++i) {
      const auto given = flow.of(a, 1, i);
      if (given == 0.0) continue;
      const double weight = number_at(*weights, geometry.transpose_b ? o * columns + i : i * columns + o);
      if (weight == 0.0) continue;
      constant = given.has_value();
      if (constant) sum += *given * weight;
    }
    if (!constant) continue;
    const double offset =
        bias == nullptr ? 0.0 : number_at(*bias, bias->elements() == 1 ? std::int64_t{0} : o);
    flow.set(flow.output(0), 1, o,
             static_cast<double>(geometry.alpha) * sum + static_cast<double>(geometry.beta) * offset);
  }
}

// ---- MatMul

/// Its result gets an Add behind it that takes over its name.
void fold_behind_matmul(Surgeon& surgeon, const LinearRead& read, std::span<const double> added) {
  graph::Graph& graph = surgeon.graph();
  const ValueId y = graph.node(read.node).outputs[0];
  const int rank = surgeon.facts().shape(y)->rank();
  const bool by_column =
      read.outputs == kNoSlot || surgeon.facts().known(graph.node(read.node).inputs[1]) != nullptr;
  const int axis = by_column ? rank - 1 : rank - 2;
  std::vector<double> kept;
  for (std::size_t o = 0; o < added.size(); ++o) {
    if (!surgeon.removed(y, axis, static_cast<std::int64_t>(o))) kept.push_back(added[o]);
  }
  const auto count = static_cast<std::int64_t>(kept.size());
  const Shape shape = by_column ? Shape{count} : Shape{count, 1};
  const ValueId bias =
      graph.add_constant(graph.value(y).name + "_bias", tensor_of(surgeon.facts().type(y), shape, kept));
  const ValueId product = graph.add_value(graph.value(y).name + "_product", graph.value(y).type);
  graph.set_output(read.node, 0, product);
  graph::Node add;
  add.name = graph.label(read.node) + "_bias";
  add.op = "Add";
  add.inputs = {product, bias};
  add.outputs = {y};
  const auto& order = graph.order();
  const auto after = std::ranges::find(order, read.node) + 1;
  graph.add_node(std::move(add), after == order.end() ? graph::kNoNode : *after);
}

/// What two matrices, or stacks of them, have to do with their product.
Axes link_factors(Linker& linker, ValueId a, ValueId b) {
  const ValueId y = linker.output(0);
  const int rank_a = linker.shape(a).rank();
  const int rank_b = linker.shape(b).rank();
  const int rank = linker.shape(y).rank();
  const Axes axes{
      .a_rows = rank_a - 2, .a_inner = rank_a - 1, .b_inner = rank_b - 2, .b_columns = rank_b - 1};
  linker.join(a, axes.a_rows, y, rank - 2);
  linker.join(b, axes.b_columns, y, rank - 1);
  linker.join(a, axes.a_inner, b, axes.b_inner);
  for (int axis = 0; axis < rank - 2; ++axis) {
    for (const ValueId x : {a, b}) {
      const int own = axis - (rank - linker.shape(x).rank());
      if (own >= 0 && linker.shape(x)[own] == linker.shape(y)[axis]) linker.join(x, own, y, axis);
    }
  }
  return axes;
}

bool multiplies_vector(Linker& linker, ValueId a, ValueId b) {
  if (linker.shape(a).rank() >= 2 && linker.shape(b).rank() >= 2) return false;
  linker.freeze_all("one of its factors is a vector");
  return true;
}

void link_matmul(Linker& linker) {
  const ValueId a = linker.input(0);
  const ValueId b = linker.input(1);
  if (multiplies_vector(linker, a, b)) return;
  const Axes axes = link_factors(linker, a, b);
  const bool reads_a = linker.facts().known(b) != nullptr || linker.facts().known(a) == nullptr;
  LinearRead read = read_of(linker, a, b, axes, reads_a);
  read.fold = fold_behind_matmul;
  linker.structure().reads.push_back(std::move(read));
}

/// The second factor may have scales and zero points by column, all others are one number.
void link_quantised_matmul(Linker& linker) {
  const bool integer = linker.context().op() == "MatMulInteger";
  const ValueId a = linker.input(0);
  const ValueId b = linker.input(integer ? 1 : 3);
  if (multiplies_vector(linker, a, b)) return;
  const ValueId zero_a = linker.input(2);
  const ValueId zero_b = linker.input(integer ? 3 : 5);
  for (int i = 1; i < linker.context().input_count(); ++i) {
    const ValueId parameter = linker.input(i);
    if (parameter == kNoValue || parameter == b || linker.shape(parameter).elements() == 1) continue;
    const bool by_column = (parameter == zero_b || (!integer && i == 4)) && linker.shape(b).rank() == 2 &&
                           linker.shape(parameter).rank() == 1;
    if (!by_column) return linker.freeze_all("its scales or zero points are by row or by matrix");
    linker.join(parameter, 0, b, 1);
  }
  const Axes axes = link_factors(linker, a, b);
  const bool reads_a = linker.facts().known(b) != nullptr || linker.facts().known(a) == nullptr;
  LinearRead read = read_of(linker, a, b, axes, reads_a);
  const auto numbers = [&](ValueId value) {
    std::vector<double> list;
    const Tensor* known = linker.facts().known(value);
    for (std::int64_t i = 0; known != nullptr && i < known->elements(); ++i)
      list.push_back(number_at(*known, i));
    return list;
  };
  const auto told = [&](ValueId value) {
    return value == kNoValue || linker.facts().known(value) != nullptr;
  };
  const std::vector<double> zeros = numbers(reads_a ? zero_a : zero_b);
  read.weight_zeros = numbers(reads_a ? zero_b : zero_a);
  read.zero = zeros.empty() ? 0.0 : zeros.front();
  read.no_fold = "it has no bias";
  // Rows that are summed over have to have one zero point, and both have to be known.
  if (!told(zero_a) || !told(zero_b) || zeros.size() > 1) {
    read.weights = nullptr;
    read.zero = NAN;
  }
  // Where both factors are computed, a 0 in the other one is its own zero point.
  read.other = kNoSlot;
  linker.structure().reads.push_back(std::move(read));
}

void flow_matmul(Flow& flow) {
  const ValueId a = flow.input(0);
  const Tensor* weights = flow.facts().known(flow.input(1));
  const int rank = flow.shape(flow.output(0)).rank();
  if (weights == nullptr || weights->shape().rank() != 2 || flow.shape(a).rank() < 2) return;
  const std::int64_t columns = weights->shape()[1];
  for (std::int64_t o = 0; o < columns; ++o) {
    double sum = 0.0;
    bool constant = true;
    for (std::int64_t i = 0; i < weights->shape()[0] && constant; ++i) {
      const auto given = flow.of(a, flow.shape(a).rank() - 1, i);
      if (given == 0.0) continue;
      const double weight = number_at(*weights, i * columns + o);
      if (weight == 0.0) continue;
      constant = given.has_value();
      if (constant) sum += *given * weight;
    }
    if (constant) flow.set(flow.output(0), rank - 1, o, sum);
  }
}

constexpr Rule kRules[] = {
    {.op = "Gemm", .link = link_gemm, .flow = flow_gemm},
    {.op = "MatMul", .link = link_matmul, .flow = flow_matmul},
    {.op = "QLinearMatMul", .link = link_quantised_matmul},
    {.op = "MatMulInteger", .link = link_quantised_matmul},
};

}  // namespace

std::span<const Rule> product_rules() { return kRules; }

}  // namespace ember::surgery
