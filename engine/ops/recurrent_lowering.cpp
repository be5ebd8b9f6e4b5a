#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/gemm.hpp"
#include "kernels/recurrent.hpp"
#include "kernels/table.hpp"
#include "ops/product_lowering.hpp"
#include "ops/recurrent.hpp"

// LSTM, GRU and RNN in float32. What comes from the inputs is one matrix product per sequence and block of
// steps; what comes from the state is one product per step over a chunk of sequences.

namespace ember::ops {

namespace {

/// One direction's weights, packed for products from the right.
struct DirectionWeights {
  PackedWeights w;          ///< inputs × gates
  PackedWeights r;          ///< hidden × gates; of a GRU the first two gates only
  PackedWeights r_hidden;   ///< GRU: hidden × last gate
  PackedWeights bias;       ///< what is added to the input's share of the gates; null: nothing
  PackedWeights r_bias;     ///< GRU with linear_before_reset: what the reset gate scales
  PackedWeights peepholes;  ///< three vectors, or null
  std::array<kernels::Activation, 3> act;
};

struct RecurrentPlan {
  RecurrentSpec spec;
  std::vector<std::int64_t> lengths;
  std::vector<DirectionWeights> directions;
  PackedWeights initial_h, initial_c;  ///< when they are constant
  const kernels::GemmKernels* gemm = nullptr;
  const kernels::RecurrentKernels* cell = nullptr;
  const kernels::ActivationKernels* activation = nullptr;
};

/// Sequences per task: enough to reuse the weights, few enough to share among workers.
constexpr std::int64_t kRows = 8;

class RecurrentStep final : public Step {
 public:
  explicit RecurrentStep(RecurrentPlan plan) : plan_(std::move(plan)) {
    const RecurrentSpec& s = plan_.spec;
    gates_ = s.gates * s.hidden;
    rows_ = std::min(kRows, s.batch);
    // Gates of a block of steps stay in the second-level cache.
    constexpr std::int64_t kGateFloats = 1 << 16;
    block_ = std::clamp<std::int64_t>(kGateFloats / std::max<std::int64_t>(1, rows_ * gates_), 1,
                                      std::max<std::int64_t>(1, s.steps));
    region_ = align_up(static_cast<std::size_t>(rows_ * (block_ * gates_ + 3 * s.hidden)) * sizeof(float));
    work_ = product_nanoseconds(
        2.0 * static_cast<double>(s.directions * s.steps * s.batch * gates_ * (s.inputs + s.hidden)), 0);
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return region_ * static_cast<std::size_t>(workers);
  }

  void run(const StepContext& context) const override {
    const RecurrentSpec& s = plan_.spec;
    const std::int64_t chunks = ceil_div(s.batch, rows_);
    context.parallel.for_each(s.directions * chunks, work_, [&](std::int64_t task, int worker) {
      Chunk chunk{.direction = task / chunks, .first = task % chunks * rows_};
      chunk.rows = std::min(rows_, s.batch - chunk.first);
      chunk.gates = reinterpret_cast<float*>(context.scratch + region_ * static_cast<std::size_t>(worker));
      chunk.h = chunk.gates + rows_ * block_ * gates_;
      chunk.c = chunk.h + rows_ * s.hidden;
      chunk.extra = chunk.c + rows_ * s.hidden;
      run_chunk(context, chunk);
    });
  }

 private:
  /// One task: consecutive sequences of one direction, and its working memory.
  struct Chunk {
    std::int64_t direction, first, rows;
    float* gates;  ///< [row][step of the block][gate]
    float* h;      ///< [row][hidden], as c and extra
    float* c;
    float* extra;
  };

  [[nodiscard]] const DirectionWeights& weights(const Chunk& chunk) const {
    return plan_.directions[static_cast<std::size_t>(chunk.direction)];
  }
  [[nodiscard]] std::int64_t length(const Chunk& chunk, std::int64_t row) const {
    return plan_.lengths[static_cast<std::size_t>(chunk.first + row)];
  }
  static float* output(const StepContext& context, std::size_t i) {
    return i < context.outputs.size() ? static_cast<float*>(context.outputs[i]) : nullptr;
  }

  void run_chunk(const StepContext& context, const Chunk& chunk) const {
    load_state(context, chunk, kRecurrentInitialH, plan_.initial_h.get(), chunk.h);
    load_state(context, chunk, kRecurrentInitialC, plan_.initial_c.get(), chunk.c);
    std::int64_t longest = 0;
    for (std::int64_t row = 0; row < chunk.rows; ++row) longest = std::max(longest, length(chunk, row));
    for (std::int64_t begin = 0; begin < longest; begin += block_) {
      project(context, chunk, begin);
      for (std::int64_t i = begin; i < std::min(longest, begin + block_); ++i) {
        advance(chunk, i, i - begin);
        write_step(context, chunk, i);
      }
    }
    finish(context, chunk);
  }

  void load_state(const StepContext& context, const Chunk& chunk, int input, const float* constant,
                  float* to) const {
    const auto at = static_cast<std::size_t>(input);
    const float* from = constant;
    if (from == nullptr && at < context.inputs.size()) from = static_cast<const float*>(context.inputs[at]);
    const RecurrentSpec& s = plan_.spec;
    const auto bytes = static_cast<std::size_t>(s.hidden) * sizeof(float);
    for (std::int64_t row = 0; row < chunk.rows; ++row, to += s.hidden) {
      if (from == nullptr) std::memset(to, 0, bytes);
      else std::memcpy(to, from + s.state_offset(chunk.direction, chunk.first + row), bytes);
    }
  }

  /// Step i of a sequence reads and writes this position.
  [[nodiscard]] std::int64_t position(const Chunk& chunk, std::int64_t row, std::int64_t i) const {
    return plan_.spec.backwards(chunk.direction) ? length(chunk, row) - 1 - i : i;
  }

  /// The input's share of the gates for a block of steps.
  void project(const StepContext& context, const Chunk& chunk, std::int64_t begin) const {
    const RecurrentSpec& s = plan_.spec;
    const auto* x = static_cast<const float*>(context.inputs[kRecurrentX]);
    const std::int64_t stride = s.x_offset(1, 0);
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      const std::int64_t steps = std::min(block_, length(chunk, row) - begin);
      if (steps <= 0) continue;
      kernels::GemmJob job{.m = steps, .n = gates_, .k = s.inputs};
      job.a = x + s.x_offset(position(chunk, row, begin), chunk.first + row);
      job.a_row = s.backwards(chunk.direction) ? -stride : stride;
      job.b = weights(chunk).w.get();
      job.c = chunk.gates + row * block_ * gates_;
      job.c_row = gates_;
      job.epilogue.bias = weights(chunk).bias.get();
      multiply(job);
    }
  }

  void multiply(const kernels::GemmJob& job) const {
    plan_.gemm->run(job, 0, job.m, 0, ceil_div(job.n, plan_.gemm->tile.columns));
  }

  /// gates[column...] += state · packed for every row (or, with a bias, to = state · packed + bias).
  void add_product(const Chunk& chunk, const float* state, const float* packed, std::int64_t columns,
                   float* to, std::int64_t to_row, const float* bias = nullptr, bool resume = true) const {
    kernels::GemmJob job{.m = chunk.rows, .n = columns, .k = plan_.spec.hidden};
    job.a = state;
    job.a_row = plan_.spec.hidden;
    job.b = packed;
    job.c = to;
    job.c_row = to_row;
    job.resume = resume;
    job.epilogue.bias = bias;
    multiply(job);
  }

  void activate(const Chunk& chunk, int which, const float* x, float* y, std::int64_t n) const {
    const float clip = plan_.spec.clip;
    if (clip > 0.0F) {
      const kernels::Activation limit{.kind = kernels::ActivationKind::Clip, .alpha = -clip, .beta = clip};
      plan_.activation->apply_channel(limit, x, y, n, 0);
      x = y;
    }
    plan_.activation->apply_channel(weights(chunk).act[static_cast<std::size_t>(which)], x, y, n, 0);
  }

  /// One step of every sequence that has it; `local` counts from the block's begin.
  void advance(const Chunk& chunk, std::int64_t i, std::int64_t local) const {
    const DirectionWeights& w = weights(chunk);
    const std::int64_t hidden = plan_.spec.hidden;
    float* gates = chunk.gates + local * gates_;
    const std::int64_t row_step = block_ * gates_;
    clear_finished(chunk, i, gates);
    const bool gru = plan_.spec.kind == CellKind::Gru;
    add_product(chunk, chunk.h, w.r.get(), gru ? 2 * hidden : gates_, gates, row_step);
    if (gru) reset(chunk, gates);
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      if (i >= length(chunk, row)) continue;
      float* own = gates + row * row_step;
      float* h = chunk.h + row * hidden;
      if (gru) {
        activate(chunk, 1, own + 2 * hidden, own + 2 * hidden, hidden);
        plan_.cell->gru_state(own, own + 2 * hidden, h, hidden);
      } else if (plan_.spec.kind == CellKind::Lstm) {
        lstm(chunk, own, h, chunk.c + row * hidden, chunk.extra);
      } else {
        activate(chunk, 0, own, h, hidden);
      }
    }
  }

  /// Products run over all rows: those of finished sequences get gates that are numbers.
  void clear_finished(const Chunk& chunk, std::int64_t i, float* gates) const {
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      if (i >= length(chunk, row))
        std::memset(gates + row * block_ * gates_, 0, static_cast<std::size_t>(gates_) * sizeof(float));
    }
  }

  /// GRU: activates gates z and r and adds the state's share of gate h, which r scales.
  void reset(const Chunk& chunk, float* gates) const {
    const DirectionWeights& w = weights(chunk);
    const std::int64_t hidden = plan_.spec.hidden;
    const std::int64_t row_step = block_ * gates_;
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      float* own = gates + row * row_step;
      activate(chunk, 0, own, own, 2 * hidden);
      if (!plan_.spec.linear_before_reset)
        plan_.cell->multiply(own + hidden, chunk.h + row * hidden, chunk.extra + row * hidden, hidden);
    }
    if (!plan_.spec.linear_before_reset) {
      add_product(chunk, chunk.extra, w.r_hidden.get(), hidden, gates + 2 * hidden, row_step);
      return;
    }
    add_product(chunk, chunk.h, w.r_hidden.get(), hidden, chunk.extra, hidden, w.r_bias.get(), false);
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      float* own = gates + row * row_step;
      plan_.cell->accumulate(own + hidden, chunk.extra + row * hidden, own + 2 * hidden, hidden);
    }
  }

  /// Gates i, o, f, c of one sequence.
  void lstm(const Chunk& chunk, float* gates, float* h, float* c, float* extra) const {
    const std::int64_t n = plan_.spec.hidden;
    const float* p = weights(chunk).peepholes.get();
    float* input = gates;
    float* out = gates + n;
    float* forget = gates + 2 * n;
    float* candidate = gates + 3 * n;
    if (p != nullptr) {
      plan_.cell->accumulate(p, c, input, n);
      plan_.cell->accumulate(p + 2 * n, c, forget, n);
    }
    activate(chunk, 0, input, input, n);
    activate(chunk, 0, forget, forget, n);
    activate(chunk, 1, candidate, candidate, n);
    plan_.cell->lstm_state(forget, input, candidate, c, n);
    if (p != nullptr) plan_.cell->accumulate(p + n, c, out, n);
    activate(chunk, 0, out, out, n);
    activate(chunk, 2, c, extra, n);
    plan_.cell->multiply(out, extra, h, n);
  }

  void write_step(const StepContext& context, const Chunk& chunk, std::int64_t i) const {
    float* y = output(context, 0);
    if (y == nullptr) return;
    const RecurrentSpec& s = plan_.spec;
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      if (i >= length(chunk, row)) continue;
      std::memcpy(y + s.y_offset(position(chunk, row, i), chunk.direction, chunk.first + row),
                  chunk.h + row * s.hidden, static_cast<std::size_t>(s.hidden) * sizeof(float));
    }
  }

  /// Final states, and zeros behind the end of each sequence.
  void finish(const StepContext& context, const Chunk& chunk) const {
    const RecurrentSpec& s = plan_.spec;
    const auto bytes = static_cast<std::size_t>(s.hidden) * sizeof(float);
    float* y = output(context, 0);
    float* last = output(context, 1);
    float* state = output(context, 2);
    for (std::int64_t row = 0; row < chunk.rows; ++row) {
      const std::int64_t at = s.state_offset(chunk.direction, chunk.first + row);
      if (last != nullptr) std::memcpy(last + at, chunk.h + row * s.hidden, bytes);
      if (state != nullptr) std::memcpy(state + at, chunk.c + row * s.hidden, bytes);
      for (std::int64_t t = length(chunk, row); y != nullptr && t < s.steps; ++t)
        std::memset(y + s.y_offset(t, chunk.direction, chunk.first + row), 0, bytes);
    }
  }

  RecurrentPlan plan_;
  std::int64_t gates_ = 0, rows_ = 0, block_ = 0;
  std::size_t region_ = 0;
  std::int64_t work_ = 0;
};

std::optional<kernels::Activation> vectorised(const kernels::CellActivation& a) {
  using kernels::ActivationKind;
  using kernels::CellFunction;
  const auto make = [&](ActivationKind kind) {
    return kernels::Activation{.kind = kind, .alpha = a.alpha, .beta = a.beta};
  };
  switch (a.function) {
    case CellFunction::Sigmoid: return make(ActivationKind::Sigmoid);
    case CellFunction::Tanh: return make(ActivationKind::Tanh);
    case CellFunction::Relu: return make(ActivationKind::Relu);
    case CellFunction::LeakyRelu: return make(ActivationKind::LeakyRelu);
    case CellFunction::ThresholdedRelu: return make(ActivationKind::ThresholdedRelu);
    case CellFunction::HardSigmoid: return make(ActivationKind::HardSigmoid);
    case CellFunction::Elu: return make(ActivationKind::Elu);
    case CellFunction::Softsign: return make(ActivationKind::Softsign);
    case CellFunction::Softplus: return make(ActivationKind::Softplus);
    case CellFunction::Affine:
    case CellFunction::ScaledTanh: break;
  }
  return std::nullopt;
}

/// Rows [first, first + columns) of direction d of W or R, transposed and packed.
PackedWeights pack_rows(LowerContext& c, int input, std::int64_t d, std::int64_t first,
                        std::int64_t columns) {
  const Tensor& tensor = *c.constants[static_cast<std::size_t>(input)];
  const kernels::GemmKernels& gemm = *c.kernels().gemm;
  const std::int64_t k = tensor.shape()[2];
  const std::int64_t tiles = ceil_div(columns, gemm.tile.columns);
  return c.pack(tensor, fmt::format("recurrent {} {}+{}", d, first, columns),
                static_cast<std::size_t>(tiles * gemm.tile.columns * k),
                [=, pack = gemm.pack](const Tensor& source, float* to) {
                  const float* from = source.data<float>().data() + (d * source.shape()[1] + first) * k;
                  pack({.b = from, .row_step = 1, .column_step = k}, k, columns, to, 0, tiles);
                });
}

/// `count` floats of direction d of B, made by element(from, i).
template <class Element>
PackedWeights pack_bias(LowerContext& c, std::int64_t d, const char* what, std::int64_t count,
                        const Element& element) {
  const Tensor& tensor = *c.constants[kRecurrentB];
  const std::int64_t columns = c.kernels().gemm->tile.columns;
  return c.pack(tensor, fmt::format("recurrent {} {}", what, d),
                static_cast<std::size_t>(ceil_div(count, columns) * columns),
                [d, count, element](const Tensor& source, float* to) {
                  const float* from = source.data<float>().data() + d * source.shape()[1];
                  for (std::int64_t i = 0; i < count; ++i) to[i] = element(from, i);
                });
}

DirectionWeights pack_direction(LowerContext& c, const RecurrentSpec& s, std::int64_t d) {
  DirectionWeights w;
  const std::int64_t gates = s.gates * s.hidden;
  const bool gru = s.kind == CellKind::Gru;
  w.w = pack_rows(c, kRecurrentW, d, 0, gates);
  w.r = pack_rows(c, kRecurrentR, d, 0, gru ? 2 * s.hidden : gates);
  if (gru) w.r_hidden = pack_rows(c, kRecurrentR, d, 2 * s.hidden, s.hidden);
  if (c.has_input(kRecurrentB)) {
    // The reset gate scales the recurrent bias of gate h when it acts after the product.
    const std::int64_t summed = gru && s.linear_before_reset ? 2 * s.hidden : gates;
    w.bias =
        pack_bias(c, d, summed == gates ? "bias" : "bias part", gates,
                  [=](const float* b, std::int64_t i) { return i < summed ? b[i] + b[gates + i] : b[i]; });
    if (summed != gates)
      w.r_bias = pack_bias(c, d, "reset bias", s.hidden,
                           [=](const float* b, std::int64_t i) { return b[gates + summed + i]; });
  }
  if (c.has_input(kRecurrentPeepholes)) {
    const Tensor& p = *c.constants[kRecurrentPeepholes];
    w.peepholes = c.pack(p, fmt::format("recurrent {}", d), static_cast<std::size_t>(3 * s.hidden),
                         [d, count = 3 * s.hidden](const Tensor& source, float* to) {
                           std::copy_n(source.data<float>().data() + d * count, count, to);
                         });
  }
  for (std::size_t i = 0; i < w.act.size(); ++i)
    w.act[i] = *vectorised(s.activations[static_cast<std::size_t>(d)][i]);
  return w;
}

/// Why the step does not take the node; "" when it does.
std::string refusal(const LowerContext& c, const RecurrentSpec& s) {
  for (const int i : {kRecurrentW, kRecurrentR, kRecurrentB, kRecurrentPeepholes, kRecurrentLengths}) {
    if (c.has_input(i) && c.constants[static_cast<std::size_t>(i)] == nullptr)
      return fmt::format("input {} is not constant", i);
  }
  if (c.inputs[kRecurrentX].type != DataType::Float32) return "not float32";
  if (c.inputs[kRecurrentX].shape.elements() == 0 || s.hidden == 0) return "nothing to compute";
  if (s.input_forget) return "input_forget";
  for (const auto& functions : s.activations) {
    if (!std::ranges::all_of(functions, [](const auto& a) { return vectorised(a).has_value(); }))
      return "activation Affine or ScaledTanh";
  }
  return {};
}

LowerResult consider_recurrent(LowerContext& c) {
  RecurrentPlan plan;
  plan.spec = recurrent_spec(c, c.inputs[kRecurrentX].shape, c.inputs[kRecurrentR].shape);
  const std::string reason = refusal(c, plan.spec);
  if (!reason.empty()) return Refusal{reason};
  const auto constant = [&](int i) {
    return c.has_input(i) ? c.constants[static_cast<std::size_t>(i)] : nullptr;
  };
  std::optional<ConstTensorView> lengths;
  if (const Tensor* given = constant(kRecurrentLengths)) lengths = given->view();
  plan.lengths = sequence_lengths(c, plan.spec, lengths ? &*lengths : nullptr);
  if (const Tensor* h = constant(kRecurrentInitialH)) plan.initial_h = keep_constant(c, *h, "plain");
  if (const Tensor* state = constant(kRecurrentInitialC)) plan.initial_c = keep_constant(c, *state, "plain");
  for (std::int64_t d = 0; d < plan.spec.directions; ++d)
    plan.directions.push_back(pack_direction(c, plan.spec, d));
  plan.gemm = c.kernels().gemm;
  plan.cell = c.kernels().recurrent;
  plan.activation = c.kernels().activation;
  Lowered lowered;
  lowered.step = std::make_unique<RecurrentStep>(std::move(plan));
  return lowered;
}

}  // namespace

void add_recurrent_candidates(CandidateMap& map) {
  for (const char* name : {"LSTM", "GRU", "RNN"})
    map[name].push_back({"recurrent_packed", consider_recurrent});
}

}  // namespace ember::ops
