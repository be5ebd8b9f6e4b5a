#include "ops/winograd_conv.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/table.hpp"
#include "ops/conv_geometry.hpp"
#include "ops/product_lowering.hpp"

namespace ember::ops {

namespace {

using kernels::WinogradForm;
using kernels::WinogradJob;

std::int64_t tiles_of(const ConvGeometry& g, std::int64_t outputs) {
  return ceil_div(g.windows.axes[1].output, outputs) * ceil_div(g.windows.axes[2].output, outputs);
}

double filter_bytes(const ConvGeometry& g, std::int64_t points) {
  return 4.0 * static_cast<double>(points * g.in_channels * g.out_channels);
}

/// What a core surely has near it, whatever else it works on.
constexpr double kNearBytes = 1e6;

/// Floats filled up to an odd number of cache lines, so that blocks and points do not all fall on the same
/// few sets of the cache.
std::int64_t odd_lines(std::int64_t floats) {
  constexpr std::int64_t kLine = 16;
  return (ceil_div(floats, kLine) | 1) * kLine;
}

struct WinogradPlan {
  ConvGeometry g;
  std::int64_t block = 8;
  PackedWeights weights, bias;
  Epilogue epilogue;
  std::size_t residual = 0;  ///< input index
};

class WinogradStep final : public Step {
 public:
  WinogradStep(WinogradPlan plan, const WinogradForm& form, const kernels::WinogradKernels& kernels)
      : plan_(std::move(plan)), form_(&form), points_(form.window * form.window) {
    const ConvGeometry& g = plan_.g;
    columns_ = ceil_div(g.out_channels, kernels.tile.columns);
    job_.in_height = g.windows.axes[1].input;
    job_.in_width = g.windows.axes[2].input;
    job_.out_height = g.windows.axes[1].output;
    job_.out_width = g.windows.axes[2].output;
    job_.pad_top = g.windows.axes[1].pad_begin;
    job_.pad_left = g.windows.axes[2].pad_begin;
    job_.in_channels = g.in_channels;
    job_.out_channels = g.out_channels;
    job_.filters = plan_.weights.get();
    tiles_ = g.batch * tiles_of(g, form.outputs);
    if (plan_.epilogue.watched()) cut_by_samples();
    else parts_ = Chunks(tiles_, rows_of_part());
    job_.sample_pieces = pieces().parts * pieces().blocks;
    job_.transformed_block = job_.products_block = odd_lines(parts_.chunk * part_rows_ * plan_.block);
    job_.transformed_point = odd_lines(ceil_div(g.in_channels, plan_.block) * job_.transformed_block);
    job_.products_point = odd_lines(columns_ * kernels.tile.columns / plan_.block * job_.products_block);
    work_ = product_nanoseconds(
        2.0 * static_cast<double>(tiles_ * points_) * static_cast<double>(g.in_channels * g.out_channels),
        4.0 * static_cast<double>(points_ * g.in_channels * g.out_channels));
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return region_bytes() * static_cast<std::size_t>(parts() > 1 ? workers : 1);
  }

  void run(const StepContext& context) const override {
    WinogradJob job = job_;
    job.input = static_cast<const float*>(context.inputs[0]);
    job.output = static_cast<float*>(context.outputs[0]);
    job.epilogue = product_epilogue(plan_.epilogue, plan_.bias.get(),
                                    plan_.epilogue.residual ? context.inputs[plan_.residual] : nullptr);
    watch(job.epilogue, plan_.epilogue, context, 0);
    if (parts() > 1) run_parts(context, job);
    else run_whole(context, job);
  }

  [[nodiscard]] PieceGrid pieces() const {
    return {.samples = plan_.g.batch, .parts = within_.parts(), .blocks = piece_blocks(plan_.g.out_channels)};
  }

 private:
  /// Enough tiles for each pass over the filters to be worth it, and few enough that their transformed input
  /// and products stay in cache: 28 rows fill the register tiles of every instruction set.
  static constexpr std::int64_t kRows = 28;
  [[nodiscard]] static std::int64_t rows_per_part(std::int64_t tiles) {
    // An even number of parts, for two threads to share.
    const std::int64_t parts = ceil_div(tiles, kRows);
    return parts == 1 ? tiles : ceil_div(tiles, ceil_div(parts, 2) * 2);
  }

  /// Tiles of a part: few, which stay near, unless less comes from afar when many tiles take each of the
  /// filters in turn, and their transformed input and products go there and back.
  [[nodiscard]] std::int64_t rows_of_part() const {
    constexpr double kThereAndBack = 3;  // in many thin streams, of which half are written
    constexpr double kMostBytes = 16e6;  // what other cores leave of their common cache
    const double filters = filter_bytes(plan_.g, points_);
    const double row = 4.0 * static_cast<double>(points_ * (plan_.g.in_channels + plan_.g.out_channels));
    const std::int64_t few = rows_per_part(tiles_);
    const std::int64_t many = Chunks(tiles_, static_cast<std::int64_t>(kMostBytes / row)).chunk;
    const auto fetched = [&](std::int64_t rows) {
      return filters * static_cast<double>(ceil_div(tiles_, rows));
    };
    const bool near = filters <= kNearBytes || many <= few;
    return near || fetched(many) + kThereAndBack * row * static_cast<double>(tiles_) > fetched(few) ? few
                                                                                                    : many;
  }

  /// Parts that are watched hold whole samples, or are cut from one as they would be from any: what is added
  /// up of a sample must not depend on the others.
  void cut_by_samples() {
    const std::int64_t per_sample = tiles_ / plan_.g.batch;
    constexpr std::int64_t kMostRows = 64;  // cut in half, such a sample costs more than the cache gives back
    if (per_sample > kMostRows) {
      within_ = Chunks(per_sample, rows_per_part(per_sample));
      parts_ = Chunks(plan_.g.batch, 1);
      part_rows_ = within_.chunk;
    } else {
      parts_ = Chunks(plan_.g.batch, std::max<std::int64_t>(1, (kRows + per_sample / 2) / per_sample));
      part_rows_ = per_sample;
    }
  }

  [[nodiscard]] std::int64_t parts() const { return parts_.parts() * within_.parts(); }
  struct Part {
    std::int64_t first, rows;
    std::int64_t piece;  ///< of a sample
  };
  [[nodiscard]] Part part(std::int64_t index) const {
    if (!plan_.epilogue.watched()) return {parts_.begin(index), parts_.end(index) - parts_.begin(index), 0};
    const std::int64_t per_sample = tiles_ / plan_.g.batch;
    const std::int64_t outer = index / within_.parts();
    const std::int64_t piece = index % within_.parts();
    if (within_.parts() > 1) {
      return {outer * per_sample + within_.begin(piece), within_.end(piece) - within_.begin(piece), piece};
    }
    return {parts_.begin(outer) * per_sample, (parts_.end(outer) - parts_.begin(outer)) * per_sample, 0};
  }

  [[nodiscard]] std::size_t transformed_bytes() const {
    return align_up(static_cast<std::size_t>(points_ * job_.transformed_point) * sizeof(float));
  }
  [[nodiscard]] std::size_t region_bytes() const {
    return transformed_bytes() +
           align_up(static_cast<std::size_t>(points_ * job_.products_point) * sizeof(float));
  }

  /// Working memory of one worker.
  void aim(WinogradJob& job, std::byte* region) const {
    job.transformed = reinterpret_cast<float*>(region);
    job.products = reinterpret_cast<float*>(region + transformed_bytes());
  }

  /// Each part from input to output by one worker, all of it in its cache.
  void run_parts(const StepContext& context, const WinogradJob& shared) const {
    context.parallel.for_each(parts(), work_, [&](std::int64_t index, int worker) {
      WinogradJob job = shared;
      aim(job, context.scratch + static_cast<std::size_t>(worker) * region_bytes());
      const auto [first, rows, piece] = part(index);
      watch(job.epilogue, plan_.epilogue, context, piece * pieces().blocks);
      form_->transform(job, first, 0, rows);
      for (std::int64_t point = 0; point < points_; ++point) form_->multiply(job, point, rows, 0, columns_);
      form_->finish(job, first, 0, rows);
    });
  }

  /// Few tiles: the filters are most of the traffic, so each is read by one worker only.
  void run_whole(const StepContext& context, WinogradJob job) const {
    aim(job, context.scratch);
    const Chunks rows(tiles_, std::min<std::int64_t>(4, ceil_div(tiles_, 2)));
    const std::int64_t around = work_ / 4;
    context.parallel.for_each(rows.parts(), around, [&](std::int64_t part, int) {
      form_->transform(job, rows.begin(part), rows.begin(part), rows.end(part) - rows.begin(part));
    });
    context.parallel.for_each(
        points_, work_, [&](std::int64_t point, int) { form_->multiply(job, point, tiles_, 0, columns_); });
    // Of a sample that is watched, one tile is added up after the other.
    const Chunks ends = plan_.epilogue.watched() ? Chunks(tiles_, tiles_ / plan_.g.batch) : rows;
    context.parallel.for_each(ends.parts(), around, [&](std::int64_t part, int) {
      form_->finish(job, ends.begin(part), ends.begin(part), ends.end(part) - ends.begin(part));
    });
  }

  WinogradPlan plan_;
  const WinogradForm* form_;
  std::int64_t points_;
  std::int64_t columns_ = 0;    ///< column tiles of the filters
  std::int64_t tiles_ = 0;      ///< of all samples
  Chunks parts_;                ///< of all tiles, or of samples where they are watched
  Chunks within_;               ///< watched: of one sample's tiles
  std::int64_t part_rows_ = 1;  ///< tiles for each of what parts_ counts, at most
  WinogradJob job_;
  std::int64_t work_ = 0;
};

// What a form costs, in nanoseconds of one sample, from measurements on a Zen 5 core. Neither the batch nor
// the number of threads takes part, so that they change no result.

/// Multiply-adds, counting two, of a core at 4.3 GHz that fills two vectors per step of a register tile.
double flops_per_nanosecond(std::int64_t columns) { return 8.0 * static_cast<double>(columns); }

/// Products, during which filters that no cache near the core holds arrive from far away.
double products_cost(std::int64_t rows, const ConvGeometry& g, std::int64_t points, std::int64_t block,
                     std::int64_t columns) {
  constexpr double kBytesPerNanosecond = 20.0;  // desktop memory gives twice as much, a shared server's half
  const std::int64_t blocks = ceil_div(g.out_channels, block);
  // A lone block of output channels leaves half of each register tile empty.
  const double share = blocks == 1 && columns > block ? 0.6 : 0.94;
  const double compute = 2.0 * static_cast<double>(rows * g.in_channels * blocks * block) /
                         (share * flops_per_nanosecond(columns));
  return std::max(compute, (filter_bytes(g, points) - kNearBytes) / kBytesPerNanosecond);
}

double direct_cost(const ConvGeometry& g, std::int64_t block, std::int64_t columns) {
  return products_cost(9 * g.windows.outputs(), g, 9, block, columns);
}

double winograd_cost(const ConvGeometry& g, std::int64_t block, std::int64_t columns,
                     const WinogradForm& form) {
  const std::int64_t points = std::int64_t{form.window} * form.window;
  const std::int64_t rows = points * tiles_of(g, form.outputs);
  // Operations per channel and point of both transforms, where they come from and go to included.
  const double in = form.outputs == 4 ? 20 : 13;
  const double out = form.outputs == 4 ? 14 : 10;
  const auto padded = [&](std::int64_t channels) {
    return static_cast<double>(ceil_div(channels, block) * block);
  };
  return products_cost(rows, g, points, block, columns) +
         static_cast<double>(rows) * (in * padded(g.in_channels) + out * padded(g.out_channels)) /
             flops_per_nanosecond(columns);
}

/// Why another form is better, or nothing. A form with more points, and so more error and larger filters, has
/// to be clearly faster.
std::string dearer(const ConvGeometry& g, std::int64_t block, const kernels::WinogradKernels& kernels,
                   const WinogradForm& form) {
  constexpr double kClearly = 0.9;
  const std::int64_t columns = kernels.tile.columns;
  const double cost = winograd_cost(g, block, columns, form);
  const auto loses = [&](double other, const char* name) {
    return cost > kClearly * other
               ? fmt::format("estimated {:.3g} µs, {} {:.3g} µs", cost / 1e3, name, other / 1e3)
               : std::string();
  };
  const std::string reason = loses(direct_cost(g, block, columns), "direct");
  if (!reason.empty() || form.outputs == 2) return reason;
  return loses(winograd_cost(g, block, columns, kernels.f2), "F(2x2)");
}

/// Whether some output may be zero, or as good as zero, by nothing but the absence of input. A direct sum of
/// zeros is zero; here the neighbours within a tile leave a rounding error, and whoever watches signs would
/// see a channel fire that cannot. A bias well above that error, relative to the filter, rules it out.
bool may_hover_at_zero(const ConvGeometry& g, std::span<const float> filters, const Tensor* bias) {
  constexpr double kRelativeError = 0x1p-13;
  if (bias == nullptr) return true;
  const auto size = static_cast<std::size_t>(g.in_channels * 9);
  for (std::size_t m = 0; m < static_cast<std::size_t>(g.out_channels); ++m) {
    double square = 0;
    for (const float w : filters.subspan(m * size, size)) square += double{w} * double{w};
    if (std::abs(double{bias->data<float>()[m]}) < kRelativeError * std::sqrt(square)) return true;
  }
  return false;
}

LowerResult consider(LowerContext& c, const WinogradForm& form) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to compute"};
  WinogradPlan plan;
  plan.g = conv_geometry(c, c.inputs[0].shape, c.inputs[1].shape);
  const ConvGeometry& g = plan.g;
  const auto& [depth, height, width] = g.windows.axes;
  if (depth.kernel != 1 || depth.input != 1 || height.kernel != 3 || width.kernel != 3)
    return Refusal{"not 3x3"};
  if (depth.output != 1 || height.stride != 1 || width.stride != 1 || height.dilation != 1 ||
      width.dilation != 1)
    return Refusal{"strides or dilations"};
  if (g.groups != 1) return Refusal{"groups"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  if (c.constants[1] == nullptr || (c.has_input(2) && c.constants[2] == nullptr))
    return Refusal{"weights that only a run knows"};
  const auto filters = c.constants[1]->data<float>();
  if (!std::ranges::all_of(filters, [](float w) { return std::isfinite(w); }))
    return Refusal{"weights that are not finite"};
  plan.block = c.block();
  const kernels::WinogradKernels& kernels = *c.kernels().winograd;
  if (std::string reason = dearer(g, plan.block, kernels, form); !reason.empty())
    return Refusal{std::move(reason)};
  if (c.watched && may_hover_at_zero(g, filters, c.has_input(2) ? c.constants[2] : nullptr))
    return Refusal{"watched, and a bias too small to keep rounding from deciding signs"};
  const std::int64_t columns = ceil_div(g.out_channels, kernels.tile.columns) * kernels.tile.columns;
  const std::int64_t points = form.window * form.window;
  plan.weights =
      c.pack(*c.constants[1], fmt::format("winograd {} {}", form.outputs, kernels.tile.columns),
             static_cast<std::size_t>(points * g.in_channels * columns),
             [pack = form.pack, out = g.out_channels, in = g.in_channels](const Tensor& source, float* to) {
               pack(source.data<float>().data(), out, in, to);
             });
  if (c.has_input(2)) {
    plan.bias = c.pack(*c.constants[2], fmt::format("winograd bias {}", kernels.tile.columns),
                       static_cast<std::size_t>(columns),
                       [](const Tensor& source, float* to) { std::ranges::copy(source.data<float>(), to); });
  }
  plan.epilogue = c.epilogue;
  plan.residual = c.inputs.size() - 1;
  Lowered lowered;
  lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
  lowered.input_layouts[0] = Layout::Blocked;
  if (c.epilogue.residual) lowered.input_layouts.back() = Layout::Blocked;
  lowered.output_layouts = {Layout::Blocked};
  auto step = std::make_unique<WinogradStep>(std::move(plan), form, kernels);
  if (c.epilogue.watched()) lowered.pieces = {step->pieces()};
  lowered.step = std::move(step);
  return lowered;
}

}  // namespace

LowerResult consider_winograd_f4(LowerContext& c) { return consider(c, c.kernels().winograd->f4); }
LowerResult consider_winograd_f2(LowerContext& c) { return consider(c, c.kernels().winograd->f2); }

}  // namespace ember::ops
