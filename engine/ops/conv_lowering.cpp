#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/table.hpp"
#include "ops/depthwise_conv.hpp"
#include "ops/direct_conv.hpp"
#include "ops/one_pixel_conv.hpp"
#include "ops/winograd_conv.hpp"

// Conv and ConvTranspose: depthwise, Winograd, direct on blocks, direct on a plain input with few channels,
// and direct on plain tensors for everything else.

namespace ember::ops {

namespace {

using GeometryOf = ConvGeometry (*)(const NodeContext&, const Shape&, const Shape&);

enum class Form {
  Blocked,         ///< blocked to blocked
  PlainToBlocked,  ///< a plain input with fewer channels than a block
  Plain,           ///< plain to plain, whatever the groups, and with weights that only a run knows
};

bool constant_filters(const LowerContext& c) {
  return c.constants[1] != nullptr && (!c.has_input(2) || c.constants[2] != nullptr);
}

/// Whether every group's channels fill whole blocks.
bool aligned(const ConvGeometry& g, std::int64_t block) {
  return g.groups == 1 || (g.in_per_group() % block == 0 && g.out_per_group() % block == 0);
}

std::vector<ConvPhase> phases_of(const ConvGeometry& g, std::int64_t block, std::int64_t columns, bool plain,
                                 bool transposed) {
  if (transposed) return conv_transpose_phases(g, block, columns, plain);
  return {conv_phase(g, block, columns, plain)};
}

}  // namespace

void take_filters(LowerContext& c, DirectConvPlan& plan) {
  const FilterPacking& first = plan.phases.front().packing;
  if (c.constants[1] != nullptr) {
    std::string key = fmt::format("direct {}x{} of {}", first.lanes, first.columns, plan.phases.size());
    for (const ConvPhase& phase : plan.phases) {
      for (const TapSet& taps : phase.packing.taps)
        key += fmt::format(" {}+{}*{}", taps.first, taps.count, taps.step);
    }
    plan.weights = c.pack(*c.constants[1], key, static_cast<std::size_t>(plan.weight_floats()),
                          [phases = plan.phases](const Tensor& source, float* to) {
                            for (const ConvPhase& phase : phases)
                              pack_filters(phase.packing, source.data<float>().data(), to + phase.weights);
                          });
  }
  if (!c.has_input(2)) return;
  plan.runtime_bias = c.constants[2] == nullptr;
  if (plan.runtime_bias) return;
  plan.bias = c.pack(*c.constants[2], fmt::format("bias {}/{}", first.columns, first.groups),
                     static_cast<std::size_t>(plan.bias_floats()), [first](const Tensor& source, float* to) {
                       pack_bias(first, source.data<float>().data(), to);
                     });
}

namespace {

template <GeometryOf kGeometry, Form kForm>
LowerResult consider_direct(LowerContext& c) {
  if (!all_float32(c)) return Refusal{"an element type other than float32, or nothing to compute"};
  DirectConvPlan plan;
  plan.g = kGeometry(c, c.inputs[0].shape, c.inputs[1].shape);
  plan.block = c.block();
  plan.plain_input = kForm != Form::Blocked;
  plan.plain_output = kForm == Form::Plain;
  if constexpr (kForm != Form::Plain) {
    if (!constant_filters(c)) return Refusal{"weights that only a run knows"};
    if (!aligned(plan.g, plan.block)) return Refusal{"groups that do not fill blocks of channels"};
    if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  }
  if constexpr (kForm == Form::PlainToBlocked) {
    if (plan.g.in_channels >= plan.block) return Refusal{"at least a block of input channels"};
    if (c.inputs[0].layout != Layout::Plain) return Refusal{"an input that is blocked already"};
  }
  plan.phases = phases_of(plan.g, plan.block, c.kernels().conv->tile.columns, plan.plain_input,
                          kGeometry == conv_transpose_geometry);
  if (c.constants[0] != nullptr) plan.constant_input = keep_constant(c, *c.constants[0], "plain");
  take_filters(c, plan);
  plan.epilogue = c.epilogue;
  plan.residual = c.inputs.size() - 1;
  Lowered lowered;
  if constexpr (kForm != Form::Plain) {
    lowered.input_layouts.assign(c.inputs.size(), Layout::Plain);
    if (!plan.plain_input) lowered.input_layouts[0] = Layout::Blocked;
    if (c.epilogue.residual) lowered.input_layouts.back() = Layout::Blocked;
    lowered.output_layouts = {Layout::Blocked};
  }
  if (c.epilogue.watched()) {
    if (const auto pieces = direct_conv_pieces(plan, c.kernels())) lowered.pieces = {*pieces};
  }
  lowered.step = make_direct_conv(std::move(plan), c.kernels());
  return lowered;
}

}  // namespace

void add_conv_candidates(CandidateMap& map) {
  map["Conv"] = {{"conv_depthwise", consider_depthwise_conv},
                 {"conv_one_pixel", consider_one_pixel_conv},
                 {"conv_few_channels", consider_direct<conv_geometry, Form::PlainToBlocked>},
                 {"conv_winograd_f4", consider_winograd_f4},
                 {"conv_winograd_f2", consider_winograd_f2},
                 {"conv_direct", consider_direct<conv_geometry, Form::Blocked>},
                 {"conv_plain", consider_direct<conv_geometry, Form::Plain>}};
  map["ConvTranspose"] = {
      {"conv_transpose_few_channels", consider_direct<conv_transpose_geometry, Form::PlainToBlocked>},
      {"conv_transpose_direct", consider_direct<conv_transpose_geometry, Form::Blocked>},
      {"conv_transpose_plain", consider_direct<conv_transpose_geometry, Form::Plain>}};
}

}  // namespace ember::ops
