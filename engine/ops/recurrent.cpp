#include "ops/recurrent.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "ops/registry.hpp"
#include "ops/typed.hpp"

// LSTM, GRU and RNN: check, shape rule, reference.

namespace ember::ops {

namespace {

using kernels::CellActivation;
using kernels::CellFunction;

void check_recurrent(const NodeContext& c, std::vector<std::string>& reasons) {
  for (const int i : {kRecurrentX, kRecurrentW, kRecurrentR}) {
    if (!c.has_input(i)) reasons.push_back(fmt::format("input {} is missing", i));
  }
  const std::int64_t layout = c.integer("layout", 0);
  if (layout != 0 && layout != 1) reasons.push_back(fmt::format("layout {}", layout));
}

void require_shape(const InferContext& c, int i, const char* name, const Shape& wanted) {
  if (!c.has_input(i)) return;
  c.require(c.shape(i) == wanted,
            fmt::format("{} must have shape {}, not {}", name, to_string(wanted), to_string(c.shape(i))));
}

void infer_recurrent(InferContext& c) {
  const RecurrentSpec s = recurrent_spec(c, c.shape(kRecurrentX), c.shape(kRecurrentR));
  const std::int64_t rows = s.gates * s.hidden;
  const Shape state =
      s.batch_first ? Shape{s.batch, s.directions, s.hidden} : Shape{s.directions, s.batch, s.hidden};
  require_shape(c, kRecurrentW, "W", {s.directions, rows, s.inputs});
  require_shape(c, kRecurrentR, "R", {s.directions, rows, s.hidden});
  require_shape(c, kRecurrentB, "B", {s.directions, 2 * rows});
  require_shape(c, kRecurrentLengths, "sequence_lens", {s.batch});
  require_shape(c, kRecurrentInitialH, "initial_h", state);
  require_shape(c, kRecurrentInitialC, "initial_c", state);
  require_shape(c, kRecurrentPeepholes, "P", {s.directions, 3 * s.hidden});
  const DataType type = c.type(kRecurrentX);
  c.set_output(0, type,
               s.batch_first ? Shape{s.batch, s.steps, s.directions, s.hidden}
                             : Shape{s.steps, s.directions, s.batch, s.hidden});
  c.set_output(1, type, state);
  c.set_output(2, type, state);
}

double apply(const CellActivation& a, double x) {
  const auto alpha = static_cast<double>(a.alpha);
  const auto beta = static_cast<double>(a.beta);
  switch (a.function) {
    case CellFunction::Sigmoid: return 1.0 / (1.0 + std::exp(-x));
    case CellFunction::Tanh: return std::tanh(x);
    case CellFunction::Relu: return x > 0.0 ? x : 0.0;
    case CellFunction::Affine: return alpha * x + beta;
    case CellFunction::LeakyRelu: return x < 0.0 ? alpha * x : x;
    case CellFunction::ThresholdedRelu: return x > alpha ? x : 0.0;
    case CellFunction::ScaledTanh: return alpha * std::tanh(beta * x);
    case CellFunction::HardSigmoid: return std::clamp(alpha * x + beta, 0.0, 1.0);
    case CellFunction::Elu: return x < 0.0 ? alpha * std::expm1(x) : x;
    case CellFunction::Softsign: return x / (1.0 + std::abs(x));
    case CellFunction::Softplus: return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  }
  return x;
}

using Doubles = std::vector<double>;

/// An input in double; zeros when it is left out.
Doubles widened(const EvalContext& c, int i, std::int64_t elements) {
  Doubles out(static_cast<std::size_t>(elements), 0.0);
  if (!c.has_input(i)) return out;
  dispatch_floating(c, c.input(i).type(), [&](auto zero) {
    const auto data = c.input(i).data<decltype(zero)>();
    std::ranges::transform(data, out.begin(), [](auto v) { return static_cast<double>(widen(v)); });
  });
  return out;
}

/// One direction's weights as the formulas of the specification name them; W, R and B are rows of
/// gates, P three peephole vectors.
struct Cell {
  const RecurrentSpec& s;
  std::array<CellActivation, 3> act;
  const double *w, *r, *b, *p;

  [[nodiscard]] double limited(double x) const {
    const auto clip = static_cast<double>(s.clip);
    return clip > 0.0 ? std::clamp(x, -clip, clip) : x;
  }
  [[nodiscard]] double activate(int which, double x) const {
    return apply(act[static_cast<std::size_t>(which)], limited(x));
  }
  [[nodiscard]] double from_input(std::int64_t row, const double* x) const {
    double sum = b[row];
    for (std::int64_t k = 0; k < s.inputs; ++k) sum += w[row * s.inputs + k] * x[k];
    return sum;
  }
  [[nodiscard]] double from_state(std::int64_t row, const double* h) const {
    double sum = b[s.gates * s.hidden + row];
    for (std::int64_t k = 0; k < s.hidden; ++k) sum += r[row * s.hidden + k] * h[k];
    return sum;
  }

  void rnn(const double* x, Doubles& h) const {
    Doubles next(h.size());
    for (std::int64_t j = 0; j < s.hidden; ++j)
      next[static_cast<std::size_t>(j)] = activate(0, from_input(j, x) + from_state(j, h.data()));
    h = next;
  }

  // Gates z, r, h.
  void gru(const double* x, Doubles& h) const {
    const std::int64_t n = s.hidden;
    Doubles z(h.size()), reset(h.size()), next(h.size());
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(j);
      z[at] = activate(0, from_input(j, x) + from_state(j, h.data()));
      reset[at] = activate(0, from_input(n + j, x) + from_state(n + j, h.data()));
    }
    Doubles gated(h.size());
    for (std::size_t j = 0; j < h.size(); ++j) gated[j] = reset[j] * h[j];
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const double recurrent = s.linear_before_reset ? reset[at] * from_state(2 * n + j, h.data())
                                                     : from_state(2 * n + j, gated.data());
      const double candidate = activate(1, from_input(2 * n + j, x) + recurrent);
      next[at] = (1.0 - z[at]) * candidate + z[at] * h[at];
    }
    h = next;
  }

  // Gates i, o, f, c; peepholes i, o, f.
  void lstm(const double* x, Doubles& h, Doubles& c) const {
    const std::int64_t n = s.hidden;
    Doubles next(h.size());
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const auto gate = [&](std::int64_t g) {
        return from_input(g * n + j, x) + from_state(g * n + j, h.data());
      };
      const double forget = activate(0, gate(2) + p[2 * n + j] * c[at]);
      const double input = s.input_forget ? 1.0 - forget : activate(0, gate(0) + p[j] * c[at]);
      c[at] = forget * c[at] + input * activate(1, gate(3));
      const double output = activate(0, gate(1) + p[n + j] * c[at]);
      next[at] = output * activate(2, c[at]);
    }
    h = next;
  }
};

void reference_recurrent(EvalContext& c) {
  const RecurrentSpec s = recurrent_spec(c, c.input(kRecurrentX).shape(), c.input(kRecurrentR).shape());
  const std::vector<std::int64_t> lengths =
      sequence_lengths(c, s, c.has_input(kRecurrentLengths) ? &c.input(kRecurrentLengths) : nullptr);
  const std::int64_t rows = s.gates * s.hidden;
  const std::int64_t states = s.directions * s.batch * s.hidden;
  const bool lstm = s.kind == CellKind::Lstm;
  const Doubles x = widened(c, kRecurrentX, s.steps * s.batch * s.inputs);
  const Doubles w = widened(c, kRecurrentW, s.directions * rows * s.inputs);
  const Doubles r = widened(c, kRecurrentR, s.directions * rows * s.hidden);
  const Doubles b = widened(c, kRecurrentB, s.directions * 2 * rows);
  const Doubles p = widened(c, kRecurrentPeepholes, s.directions * 3 * s.hidden);
  const Doubles h0 = widened(c, kRecurrentInitialH, states);
  const Doubles c0 = widened(c, kRecurrentInitialC, states);

  const auto store = [&](int i, std::int64_t at, const Doubles& values) {
    if (!c.has_output(i)) return;
    dispatch_floating(c, c.output(i).type(), [&](auto zero) {
      using T = decltype(zero);
      const auto out = c.output(i).data<T>().subspan(static_cast<std::size_t>(at), values.size());
      std::ranges::transform(values, out.begin(),
                             [](double v) { return narrow<T>(static_cast<Wide<T>>(v)); });
    });
  };

  for (std::int64_t d = 0; d < s.directions; ++d) {
    const Cell cell{s,
                    s.activations[static_cast<std::size_t>(d)],
                    w.data() + d * rows * s.inputs,
                    r.data() + d * rows * s.hidden,
                    b.data() + d * 2 * rows,
                    p.data() + d * 3 * s.hidden};
    for (std::int64_t n = 0; n < s.batch; ++n) {
      const std::int64_t at = s.state_offset(d, n);
      Doubles h(h0.begin() + at, h0.begin() + at + s.hidden);
      Doubles state(c0.begin() + at, c0.begin() + at + s.hidden);
      const std::int64_t length = lengths[static_cast<std::size_t>(n)];
      for (std::int64_t i = 0; i < length; ++i) {
        const std::int64_t t = s.backwards(d) ? length - 1 - i : i;
        const double* input = x.data() + s.x_offset(t, n);
        if (lstm) cell.lstm(input, h, state);
        else if (s.kind == CellKind::Gru) cell.gru(input, h);
        else cell.rnn(input, h);
        store(0, s.y_offset(t, d, n), h);
      }
      const Doubles zeros(h.size(), 0.0);
      for (std::int64_t t = length; t < s.steps; ++t) store(0, s.y_offset(t, d, n), zeros);
      store(1, at, h);
      if (lstm) store(2, at, state);
    }
  }
}

double flops_recurrent(const NodeContext& node, std::span<const Shape> inputs, std::span<const Shape>) {
  const RecurrentSpec s = recurrent_spec(node, inputs[kRecurrentX], inputs[kRecurrentR]);
  return 2.0 * static_cast<double>(s.directions * s.gates) * static_cast<double>(s.steps * s.batch) *
         static_cast<double>(s.hidden) * static_cast<double>(s.inputs + s.hidden);
}

}  // namespace

void add_recurrent_operators(OperatorList& list) {
  for (const char* name : {"LSTM", "GRU", "RNN"}) {
    list.push_back({.name = name,
                    .versions = {7, 14, 22},
                    .check = check_recurrent,
                    .infer = infer_recurrent,
                    .reference = reference_recurrent,
                    .flops = flops_recurrent});
  }
}

}  // namespace ember::ops
