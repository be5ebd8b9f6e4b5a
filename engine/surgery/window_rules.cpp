#include <cstddef>
#include <string_view>

#include "ops/conv_geometry.hpp"
#include "ops/resize_geometry.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Pools and Resize: each channel alone, every position from its neighbours.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

void freeze_spatial(Linker& linker, const char* why) {
  for (int axis = 2; axis < linker.shape(linker.input(0)).rank(); ++axis) {
    linker.freeze_axis(linker.input(0), axis, why);
    linker.freeze_axis(linker.output(0), axis, why);
  }
}

void link_pool(Linker& linker) {
  if (linker.output(1) != kNoValue) return linker.freeze_all("its indices are read");
  linker.join(linker.input(0), 0, linker.output(0), 0);
  linker.join(linker.input(0), 1, linker.output(0), 1);
  freeze_spatial(linker, "a window slides along this axis");
}

bool averages_padding(const Flow& flow) {
  if (flow.context().op() != "AveragePool" || flow.context().integer("count_include_pad", 0) == 0)
    return false;
  const auto kernel = flow.context().integers("kernel_shape");
  const ops::Windows windows = ops::window_geometry(flow.context(), flow.shape(flow.input(0)), kernel,
                                                    flow.context().integer("ceil_mode", 0) != 0);
  for (const ops::WindowAxis& axis : windows.axes) {
    if (axis.pad_begin > 0 || axis.pad_end > 0) return true;
  }
  return false;
}

void flow_pool(Flow& flow) {
  const ValueId x = flow.input(0);
  const bool padded = averages_padding(flow);
  for (std::int64_t c = 0; c < flow.shape(x)[1]; ++c) {
    const auto constant = flow.of(x, 1, c);
    if (!constant.has_value()) continue;
    if (*constant == 0.0 || !padded) flow.set(flow.output(0), 1, c, *constant);
    else flow.lose(flow.output(0), 1, c, "it averages zeros of the padding with the constant");
  }
}

// ---- Resize, Upsample

ops::ResizeGeometry resize_of(const ops::NodeContext& context, const Facts& facts, bool& known) {
  const ops::ResizeInputs inputs = ops::resize_inputs(context);
  known = true;
  const auto operand = [&](int i) -> const Tensor* {
    if (i < 0 || !context.has_input(i)) return nullptr;
    const Tensor* tensor = facts.known(context.node().inputs[static_cast<std::size_t>(i)]);
    if (tensor == nullptr) known = false;
    return tensor == nullptr || tensor->elements() == 0 ? nullptr : tensor;
  };
  const ops::ResizeOperands operands{
      .roi = operand(inputs.roi), .scales = operand(inputs.scales), .sizes = operand(inputs.sizes)};
  if (!known) return {};
  return ops::resize_geometry(context, *facts.shape(context.node().inputs[0]), operands);
}

void link_resize(Linker& linker) {
  bool known = true;
  const ops::ResizeGeometry geometry = resize_of(linker.context(), linker.facts(), known);
  if (!known) return linker.freeze_all("its sizes are computed");
  for (int i = 1; i < linker.context().input_count(); ++i)
    linker.freeze_value(linker.input(i), "it holds sizes");
  for (std::size_t axis = 0; axis < geometry.axes.size(); ++axis) {
    const int at = static_cast<int>(axis);
    if (geometry.axes[axis].identity()) {
      linker.join(linker.input(0), at, linker.output(0), at);
    } else {
      linker.freeze_axis(linker.input(0), at, "it resizes this axis");
      linker.freeze_axis(linker.output(0), at, "it resizes this axis");
    }
  }
}

void flow_resize(Flow& flow) {
  bool known = true;
  const ops::ResizeGeometry geometry = resize_of(flow.context(), flow.facts(), known);
  const bool crops = flow.context().text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  if (!known) return;
  for (std::size_t axis = 0; axis < geometry.axes.size(); ++axis) {
    if (!geometry.axes[axis].identity()) continue;
    const int at = static_cast<int>(axis);
    for (std::int64_t i = 0; i < flow.shape(flow.input(0))[at]; ++i) {
      const auto constant = flow.of(flow.input(0), at, i);
      if (constant.has_value() && !crops) flow.set(flow.output(0), at, i, *constant);
    }
  }
}

/// Where the sizes are stated, those of the cut axes change.
void edit_resize(Surgeon& surgeon, NodeId id) {
  const ops::NodeContext context(surgeon.facts().graph(), id);
  const ValueId y = context.node().outputs[0];
  const ops::ResizeInputs inputs = ops::resize_inputs(context);
  if (surgeon.facts().shape(y) == nullptr || inputs.sizes < 0 || !context.has_input(inputs.sizes)) return;
  auto sizes = surgeon.facts().integers(context.node().inputs[static_cast<std::size_t>(inputs.sizes)]);
  const auto rank = static_cast<std::size_t>(surgeon.facts().shape(y)->rank());
  if (!sizes.has_value() || sizes->size() != rank) return;
  bool cut = false;
  for (int axis = 0; axis < static_cast<int>(rank); ++axis) {
    if (!surgeon.touches(y, axis)) continue;
    std::int64_t& size = (*sizes)[static_cast<std::size_t>(axis)];
    size = surgeon.kept_in(y, axis, 0, size);
    cut = true;
  }
  if (cut) surgeon.set_integers_input(id, inputs.sizes, *sizes);
}

constexpr Rule kRules[] = {
    {.op = "MaxPool", .link = link_pool, .flow = flow_pool},
    {.op = "AveragePool", .link = link_pool, .flow = flow_pool},
    {.op = "GlobalAveragePool", .link = link_pool, .flow = flow_pool},
    {.op = "GlobalMaxPool", .link = link_pool, .flow = flow_pool},
    {.op = "LpPool", .link = link_pool},
    {.op = "GlobalLpPool", .link = link_pool},
    {.op = "Resize", .link = link_resize, .flow = flow_resize, .edit = edit_resize},
    {.op = "Upsample", .link = link_resize, .flow = flow_resize, .edit = edit_resize},
};

}  // namespace

std::span<const Rule> window_rules() { return kRules; }

}  // namespace ember::surgery
