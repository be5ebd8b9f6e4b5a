#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/gemm.hpp"
#include "kernels/table.hpp"
#include "ops/conv_geometry.hpp"
#include "ops/matmul_geometry.hpp"
#include "ops/one_pixel_conv.hpp"
#include "ops/product_lowering.hpp"

// MatMul, Gemm and convolutions of one pixel as packed matrix products.

namespace ember::ops {

namespace {

/// A stack of products c = epilogue(alpha a·b + addend), each operand constant or not.
struct ProductPlan {
  MatMulGeometry g;
  bool transpose_a = false;
  bool transpose_b = false;
  float alpha = 1.0F;

  PackedWeights constant_a;  ///< as is
  PackedWeights packed_b;    ///< every matrix of b's stack, packed; null: packed by each run
  PackedWeights bias;        ///< one per column
  std::int64_t b_matrices = 1;

  // An addend that is no constant row: spread over the output before the products are added.
  bool addend = false;
  PackedWeights constant_addend;
  BroadcastMatrix addend_steps;
  float beta = 1.0F;

  /// Few rows against constant finite weights: steps at which every row is zero may be left out.
  bool may_skip = false;

  Epilogue epilogue;
};

class ProductStep final : public Step {
 public:
  ProductStep(ProductPlan plan, const kernels::GemmKernels& kernels, int lanes, std::size_t residual)
      : plan_(std::move(plan)), kernels_(&kernels), residual_(residual) {
    const MatMulGeometry& g = plan_.g;
    tiles_ = ceil_div(g.n, kernels.tile.columns);
    packed_size_ = tiles_ * kernels.tile.columns * g.k;
    constexpr std::int64_t kRowTiles = 12;
    rows_ = Chunks(g.m, kRowTiles * kernels.tile.rows, kernels.tile.rows);
    const auto flops = [&](std::int64_t rows, std::int64_t columns) {
      return 2.0 * static_cast<double>(rows) * static_cast<double>(columns * g.k);
    };
    const double all = static_cast<double>(g.count);
    const double work = nanoseconds(all * flops(g.m, g.n),
                                    4.0 * all * static_cast<double>(g.n) * static_cast<double>(g.k), lanes);
    const double tile_work = work * static_cast<double>(rows_.chunk * kernels.tile.columns) /
                             (all * static_cast<double>(g.m * g.n));
    // Few rows go several tiles at a time.
    const std::int64_t together = g.m == 1 ? 4 : g.m <= kernels::GemmKernels::kFewRows ? 3 : 1;
    columns_ = Chunks(tiles_, static_cast<std::int64_t>(kProductTask / (1.0 + tile_work)), together);
    work_ = static_cast<std::int64_t>(work);
    row_parts_ = rows_.parts();
    parts_ = row_parts_ * columns_.parts();
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    (void)workers;
    return steps_at() + (plan_.may_skip ? floats(plan_.g.k + kernels::GemmKernels::kStepPadding) : 0);
  }

  void run(const StepContext& context) const override {
    const auto* a = plan_.constant_a ? plan_.constant_a.get() : static_cast<const float*>(context.inputs[0]);
    const float* b = plan_.packed_b.get();
    if (b == nullptr) b = pack_b(context);
    if (plan_.transpose_a) a = transpose_a(context, a);
    if (plan_.addend) spread_addend(context);
    multiply(context, a, b);
  }

 private:
  static std::size_t floats(std::int64_t count) {
    return align_up(static_cast<std::size_t>(count) * sizeof(float));
  }
  [[nodiscard]] std::size_t transposed_at() const {
    return plan_.packed_b ? 0 : floats(packed_size_ * plan_.b_matrices);
  }

  [[nodiscard]] std::size_t steps_at() const {
    return transposed_at() + (plan_.transpose_a ? floats(plan_.g.m * plan_.g.k) : 0);
  }

  const float* pack_b(const StepContext& context) const {
    const MatMulGeometry& g = plan_.g;
    auto* packed = reinterpret_cast<float*>(context.scratch);
    const auto* b = static_cast<const float*>(context.inputs[1]);
    const Chunks chunks(tiles_, 1 + 16384 / std::max<std::int64_t>(1, kernels_->tile.columns * g.k));
    const std::int64_t parts = chunks.parts();
    context.parallel.for_each(
        plan_.b_matrices * parts, packed_size_ * plan_.b_matrices, [&](std::int64_t task, int) {
          const std::int64_t matrix = task / parts;
          kernels_->pack(source_of(b + matrix * g.n * g.k), g.k, g.n, packed + matrix * packed_size_,
                         chunks.begin(task % parts), chunks.end(task % parts));
        });
    return packed;
  }

  [[nodiscard]] kernels::PackSource source_of(const float* b) const {
    return {.b = b,
            .row_step = plan_.transpose_b ? 1 : plan_.g.n,
            .column_step = plan_.transpose_b ? plan_.g.k : 1,
            .scale = plan_.alpha};
  }

  const float* transpose_a(const StepContext& context, const float* a) const {
    auto* to = reinterpret_cast<float*>(context.scratch + transposed_at());
    const Chunks rows(plan_.g.k, 64);
    context.parallel.for_each(rows.parts(), plan_.g.m * plan_.g.k, [&](std::int64_t part, int) {
      kernels_->transpose(a, plan_.g.k, plan_.g.m, to, rows.begin(part), rows.end(part));
    });
    return to;
  }

  void spread_addend(const StepContext& context) const {
    const MatMulGeometry& g = plan_.g;
    const auto* addend =
        plan_.constant_addend ? plan_.constant_addend.get() : static_cast<const float*>(context.inputs[2]);
    auto* y = static_cast<float*>(context.outputs[0]);
    const BroadcastMatrix steps = plan_.addend_steps;
    context.parallel.for_each(g.m, g.m * g.n, [&](std::int64_t row, int) {
      const float* from = addend + row * steps.row_stride;
      for (std::int64_t i = 0; i < g.n; ++i) y[row * g.n + i] = plan_.beta * from[i * steps.column_stride];
    });
  }

  void multiply(const StepContext& context, const float* a, const float* b) const {
    const MatMulGeometry& g = plan_.g;
    const auto* residual =
        plan_.epilogue.residual ? static_cast<const float*>(context.inputs[residual_]) : nullptr;
    auto* y = static_cast<float*>(context.outputs[0]);
    const std::int32_t* steps = nullptr;
    std::int64_t step_count = -1;
    if (plan_.may_skip) {
      auto* list = reinterpret_cast<std::int32_t*>(context.scratch + steps_at());
      step_count = kernels_->nonzero(a, g.m, g.k, g.k, g.k * kSparse / 16, list);
      steps = step_count < 0 ? nullptr : list;
    }
    kernels::GemmJob job{.m = g.m, .n = g.n, .k = g.k, .a_row = g.k, .c_row = g.n, .resume = plan_.addend};
    job.steps = steps;
    job.step_count = step_count;
    if (g.count * parts_ == 1) {
      job.a = a;
      job.b = b;
      job.c = y;
      job.epilogue = product_epilogue(plan_.epilogue, plan_.bias.get(), residual);
      kernels_->run(job, 0, g.m, 0, tiles_);
      return;
    }
    context.parallel.for_each(g.count * parts_, work_, [&](std::int64_t task, int) {
      const auto matrix = static_cast<std::size_t>(task / parts_);
      const std::int64_t output = task / parts_ * g.m * g.n;
      kernels::GemmJob part = job;
      part.a = a + g.a_matrix[matrix] * g.m * g.k;
      part.b = b + g.b_matrix[matrix] * packed_size_;
      part.c = y + output;
      part.epilogue = product_epilogue(plan_.epilogue, plan_.bias.get(),
                                       residual == nullptr ? nullptr : residual + output);
      const std::int64_t row_part = task % parts_ % row_parts_;
      const std::int64_t column_part = task % parts_ / row_parts_;
      kernels_->run(part, rows_.begin(row_part), rows_.end(row_part), columns_.begin(column_part),
                    columns_.end(column_part));
    });
  }

  /// Serial nanoseconds that a product takes at least, roughly: multiply-adds (counting two), or weights that
  /// come from the second-level cache, the third-level one, or memory.
  static double nanoseconds(double flops, double bytes, int lanes) {
    const double bandwidth = bytes < 1e6 ? 100.0 : bytes < 16e6 ? 60.0 : 30.0;
    return std::max(flops / (12.0 * lanes), bytes / bandwidth);
  }

  /// Nanoseconds a task should take: little enough to balance, enough to outweigh its start.
  static constexpr double kProductTask = 15e3;

  /// When so many of 16 steps count, or fewer, the others are worth skipping: rows of weights on their own
  /// arrive at most of the speed of a stream.
  static constexpr std::int64_t kSparse = 9;

  ProductPlan plan_;
  const kernels::GemmKernels* kernels_;
  std::size_t residual_;
  std::int64_t tiles_ = 0;
  std::int64_t packed_size_ = 0;
  Chunks rows_, columns_;
  std::int64_t row_parts_ = 1, parts_ = 1;
  std::int64_t work_ = 0;
};

/// Packs a constant b, and keeps a constant a.
void take_constants(LowerContext& c, ProductPlan& plan) {
  const MatMulGeometry& g = plan.g;
  if (c.constants[0] != nullptr) plan.constant_a = keep_constant(c, *c.constants[0], "plain");
  const Tensor* b = c.constants[1];
  if (b == nullptr) return;
  const kernels::GemmKernels& kernels = *c.kernels().gemm;
  const std::int64_t tiles = ceil_div(g.n, kernels.tile.columns);
  const std::int64_t packed = tiles * kernels.tile.columns * g.k;
  // A list of steps is worth its while where there is much to skip.
  constexpr std::int64_t kWeights = 8192;
  plan.may_skip = g.count == 1 && g.m <= kernels::GemmKernels::kFewRows && packed >= kWeights &&
                  !plan.constant_a &&
                  std::ranges::all_of(b->data<float>(), [](float w) { return std::isfinite(w); });
  const auto key = fmt::format("gemm {} {}x{} t{} a{}", kernels.tile.columns, g.k, g.n,
                               static_cast<int>(plan.transpose_b), plan.alpha);
  const kernels::PackSource form{
      .row_step = plan.transpose_b ? 1 : g.n, .column_step = plan.transpose_b ? g.k : 1, .scale = plan.alpha};
  plan.packed_b = c.pack(*b, key, static_cast<std::size_t>(packed * plan.b_matrices),
                         [form, k = g.k, n = g.n, tiles, packed, matrices = plan.b_matrices,
                          pack = kernels.pack](const Tensor& constant, float* to) {
                           kernels::PackSource source = form;
                           for (std::int64_t matrix = 0; matrix < matrices; ++matrix) {
                             source.b = constant.data<float>().data() + matrix * k * n;
                             pack(source, k, n, to + matrix * packed, 0, tiles);
                           }
                         });
}

LowerResult finish(LowerContext& c, ProductPlan plan) {
  if (per_channel_slopes(c.epilogue) && c.outputs[0].shape.rank() != 2)
    return Refusal{"PRelu slopes that are not per column"};
  take_constants(c, plan);
  plan.epilogue = c.epilogue;
  Lowered lowered;
  lowered.step = std::make_unique<ProductStep>(std::move(plan), *c.kernels().gemm, c.kernels().lanes,
                                               c.inputs.size() - 1);
  return lowered;
}

/// scale · the first n elements of a constant, a stride apart, as the bias of n columns.
PackedWeights pack_bias_row(LowerContext& c, const Tensor& constant, std::int64_t n, std::int64_t stride,
                            float scale) {
  const int columns = c.kernels().gemm->tile.columns;
  const auto padded = static_cast<std::size_t>(ceil_div(n, columns) * columns);
  return c.pack(constant, fmt::format("gemm bias {} {} b{}", columns, n, scale), padded,
                [=](const Tensor& source, float* to) {
                  const float* from = source.data<float>().data();
                  for (std::int64_t i = 0; i < n; ++i) to[i] = scale * from[i * stride];
                });
}

LowerResult consider_matmul(LowerContext& c) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to multiply"};
  ProductPlan plan;
  plan.g = matmul_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  MatMulGeometry& g = plan.g;
  plan.b_matrices = c.inputs[1].shape.elements() / (g.n * g.k);
  if (plan.b_matrices == 1) {
    // One matrix for the whole stack: its rows are as good as one tall matrix.
    g.m *= g.count;
    g.count = 1;
    g.a_matrix = {0};
    g.b_matrix = {0};
  }
  if (c.bias != nullptr) plan.bias = pack_bias_row(c, *c.bias, g.n, 1, 1.0F);
  return finish(c, std::move(plan));
}

/// The addend as a constant row if it is one, else as something to spread first.
void take_addend(LowerContext& c, ProductPlan& plan) {
  const std::int64_t n = plan.g.n;
  const Tensor* constant = c.constants[2];
  plan.addend_steps = broadcast_matrix(c.inputs[2].shape);
  if (constant == nullptr || plan.addend_steps.row_stride != 0) {
    plan.addend = true;
    if (constant != nullptr) plan.constant_addend = keep_constant(c, *constant, "plain");
    return;
  }
  plan.bias = pack_bias_row(c, *constant, n, plan.addend_steps.column_stride, plan.beta);
}

LowerResult consider_gemm(LowerContext& c) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to multiply"};
  const GemmGeometry gemm = gemm_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  ProductPlan plan;
  plan.g.m = gemm.m;
  plan.g.n = gemm.n;
  plan.g.k = gemm.k;
  plan.g.a_matrix = {0};
  plan.g.b_matrix = {0};
  plan.transpose_a = gemm.transpose_a;
  plan.transpose_b = gemm.transpose_b;
  plan.alpha = gemm.alpha;
  plan.beta = gemm.beta;
  if (c.has_input(2)) take_addend(c, plan);
  return finish(c, std::move(plan));
}

}  // namespace

LowerResult consider_one_pixel_conv(LowerContext& c) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to compute"};
  const ConvGeometry conv = conv_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  if (conv.windows.inputs() != 1 || conv.windows.outputs() != 1 || conv.windows.taps() != 1)
    return Refusal{"not 1x1 images"};
  if (conv.windows.axes[0].pad_begin != 0 || conv.windows.axes[1].pad_begin != 0 ||
      conv.windows.axes[2].pad_begin != 0)
    return Refusal{"padding"};
  if (conv.groups != 1) return Refusal{"groups"};
  if (c.constants[1] == nullptr || (c.has_input(2) && c.constants[2] == nullptr))
    return Refusal{"weights that only a run knows"};
  ProductPlan plan;
  plan.g.m = conv.batch;
  plan.g.n = conv.out_channels;
  plan.g.k = conv.in_channels;
  plan.g.a_matrix = {0};
  plan.g.b_matrix = {0};
  plan.transpose_b = true;
  take_constants(c, plan);
  if (c.has_input(2)) plan.bias = pack_bias_row(c, *c.constants[2], conv.out_channels, 1, 1.0F);
  plan.epilogue = c.epilogue;
  // Whole blocks of channels of one pixel are a plain row.
  const auto layout = [&](std::int64_t channels) {
    return channels % c.block() == 0 && c.inputs[0].layout == Layout::Blocked ? Layout::Blocked
                                                                              : Layout::Plain;
  };
  Lowered lowered;
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = layout(conv.in_channels);
  lowered.output_layouts = {layout(conv.out_channels)};
  if (c.epilogue.residual) lowered.input_layouts.back() = lowered.output_layouts[0];
  lowered.step = std::make_unique<ProductStep>(std::move(plan), *c.kernels().gemm, c.kernels().lanes,
                                               c.inputs.size() - 1);
  return lowered;
}

void add_matmul_candidates(CandidateMap& map) {
  map["MatMul"].push_back({"gemm_packed", consider_matmul});
  map["Gemm"].push_back({"gemm_packed", consider_gemm});
}

}  // namespace ember::ops
