#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "ops/movement.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// Reshape, Flatten, Squeeze, Unsqueeze, Transpose and Expand: the same elements under other axes. Channels
// stay apart where axes are kept, merged (a channel becomes a run or a comb of positions) or split.

namespace ember::surgery {

namespace {

using graph::NodeId;
using graph::ValueId;

/// Axes of the input and of the output that hold the same elements in the same order.
struct Block {
  std::vector<int> from, to;
};

/// The finest such blocks, axes of extent 1 left out.
std::vector<Block> blocks_of(const Shape& from, const Shape& to) {
  std::vector<Block> blocks;
  int f = 0;
  int t = 0;
  while (f < from.rank() || t < to.rank()) {
    Block block;
    std::int64_t product_from = 1;
    std::int64_t product_to = 1;
    const auto take = [](const Shape& shape, int& at, std::int64_t& product, std::vector<int>& axes) {
      product *= shape[at];
      if (shape[at] != 1) axes.push_back(at);
      ++at;
    };
    if (f < from.rank()) take(from, f, product_from, block.from);
    if (t < to.rank()) take(to, t, product_to, block.to);
    while (product_from != product_to) {
      if (product_from < product_to && f < from.rank()) take(from, f, product_from, block.from);
      else if (t < to.rank()) take(to, t, product_to, block.to);
      else break;
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

/// Elements of the block behind one of its axes.
std::int64_t inner_of(const Shape& shape, const std::vector<int>& axes, std::size_t place) {
  std::int64_t inner = 1;
  for (std::size_t i = place + 1; i < axes.size(); ++i) inner *= shape[axes[i]];
  return inner;
}

std::int64_t constants_along(const Linker& linker, ValueId value, int axis) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < linker.shape(value)[axis]; ++i)
    count += linker.constants().of(value, axis, i).has_value() ? 1 : 0;
  return count;
}

/// The axis of a block's several that channels are cut from: of those that something can be cut from the one
/// with most constants, the last of several.
std::optional<std::size_t> cut_axis(Linker& linker, ValueId value, const std::vector<int>& axes) {
  std::optional<std::size_t> found;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (linker.structure().slots.frozen(value, axes[i], linker.shape(value)[axes[i]])) continue;
    const std::int64_t constants = constants_along(linker, value, axes[i]);
    if (found.has_value() && constants < most) continue;
    found = i;
    most = constants;
  }
  return found;
}

/// One axis of `whole` holds several of `parts`. Cuts along parts' axis `place` are cuts of combs in `whole`.
void link_merged(Linker& linker, ValueId parts, const std::vector<int>& axes, std::size_t place,
                 ValueId whole, int axis) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (i != place) linker.freeze_axis(parts, axes[i], "it shares one axis with others");
  }
  const std::int64_t inner = inner_of(linker.shape(parts), axes, place);
  const std::int64_t extent = linker.shape(parts)[axes[place]];
  for (std::int64_t i = 0; i < linker.shape(whole)[axis]; ++i)
    linker.structure().slots.join(linker.slot(parts, axes[place], i / inner % extent),
                                  linker.slot(whole, axis, i));
}

void freeze_block(Linker& linker, const Block& block) {
  for (const int axis : block.from)
    linker.freeze_axis(linker.input(0), axis, "it mixes axes that do not divide each other");
  for (const int axis : block.to)
    linker.freeze_axis(linker.output(0), axis, "it mixes axes that do not divide each other");
}

/// Of the axes that one axis is split into, the longest is cut: a channel shuffle's channels, not its groups.
std::size_t longest(const Shape& shape, const std::vector<int>& axes) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < axes.size(); ++i) {
    if (shape[axes[i]] > shape[axes[best]]) best = i;
  }
  return best;
}

void link_reshape(Linker& linker) {
  const ValueId x = linker.input(0);
  const ValueId y = linker.output(0);
  for (int i = 1; i < linker.context().input_count(); ++i)
    linker.freeze_value(linker.input(i), "it holds a shape");
  if (linker.shape(x).elements() == 0) return linker.freeze_all("it is empty");
  for (const Block& block : blocks_of(linker.shape(x), linker.shape(y))) {
    if (block.from.size() == 1 && block.to.size() == 1) {
      linker.join(x, block.from[0], y, block.to[0]);
    } else if (block.to.size() == 1) {
      const auto place = cut_axis(linker, x, block.from);
      if (place.has_value()) link_merged(linker, x, block.from, *place, y, block.to[0]);
      else freeze_block(linker, block);
    } else if (block.from.size() == 1) {
      link_merged(linker, y, block.to, longest(linker.shape(y), block.to), x, block.from[0]);
    } else {
      freeze_block(linker, block);
    }
  }
}

/// Every position of a merged axis has the constant of any of its parts; a part is constant when all that it
/// holds is, and alike.
void flow_block(Flow& flow, const Block& block) {
  const ValueId x = flow.input(0);
  const ValueId y = flow.output(0);
  if (block.to.size() == 1) {
    for (std::size_t p = 0; p < block.from.size(); ++p) {
      const std::int64_t inner = inner_of(flow.shape(x), block.from, p);
      const std::int64_t extent = flow.shape(x)[block.from[p]];
      for (std::int64_t i = 0; i < flow.shape(y)[block.to[0]]; ++i) {
        const auto constant = flow.of(x, block.from[p], i / inner % extent);
        if (constant.has_value()) flow.set(y, block.to[0], i, *constant);
      }
    }
    return;
  }
  if (block.from.size() != 1) return;
  const std::int64_t whole = flow.shape(x)[block.from[0]];
  for (std::size_t p = 0; p < block.to.size(); ++p) {
    const std::int64_t inner = inner_of(flow.shape(y), block.to, p);
    const std::int64_t extent = flow.shape(y)[block.to[p]];
    std::vector<std::optional<double>> common(static_cast<std::size_t>(extent));
    std::vector<bool> seen(static_cast<std::size_t>(extent), false);
    for (std::int64_t i = 0; i < whole; ++i) {
      const auto at = static_cast<std::size_t>(i / inner % extent);
      const auto constant = flow.of(x, block.from[0], i);
      if (!seen[at]) common[at] = constant;
      else if (common[at] != constant) common[at].reset();
      seen[at] = true;
    }
    for (std::int64_t i = 0; i < extent; ++i) {
      if (const auto& constant = common[static_cast<std::size_t>(i)]) flow.set(y, block.to[p], i, *constant);
    }
  }
}

void flow_reshape(Flow& flow) {
  if (flow.shape(flow.input(0)).elements() == 0) return;
  for (const Block& block : blocks_of(flow.shape(flow.input(0)), flow.shape(flow.output(0)))) {
    if (!block.from.empty() && !block.to.empty()) flow_block(flow, block);
  }
}

/// A stated shape follows the cut; -1 and 0 follow by themselves.
void edit_reshape(Surgeon& surgeon, NodeId id) {
  const ops::NodeContext context(surgeon.facts().graph(), id);
  const ValueId y = context.node().outputs[0];
  const ValueId stated = context.node().inputs[1];
  if (surgeon.facts().shape(y) == nullptr) return;
  const graph::NodeId producer = surgeon.facts().graph().value(stated).producer;
  const bool computed = producer != graph::kNoNode && surgeon.facts().graph().node(producer).op != "Constant";
  auto shape = surgeon.facts().integers(stated);
  // What is computed from shapes follows by itself, which is checked afterwards.
  if (computed || !shape.has_value()) return;
  if (static_cast<int>(shape->size()) != surgeon.facts().shape(y)->rank()) return;
  bool cut = false;
  for (int axis = 0; axis < surgeon.facts().shape(y)->rank(); ++axis) {
    std::int64_t& extent = (*shape)[static_cast<std::size_t>(axis)];
    if (extent <= 0 || !surgeon.touches(y, axis)) continue;
    extent = surgeon.kept_in(y, axis, 0, extent);
    cut = true;
  }
  if (cut) surgeon.set_integers_input(id, 1, *shape);
}

// ---- Transpose

std::vector<std::int64_t> permutation(const ops::NodeContext& context, int rank) {
  std::vector<std::int64_t> reversed;
  for (int axis = rank - 1; axis >= 0; --axis) reversed.push_back(axis);
  return context.integers("perm", reversed);
}

void link_transpose(Linker& linker) {
  const auto perm = permutation(linker.context(), linker.shape(linker.input(0)).rank());
  for (std::size_t axis = 0; axis < perm.size(); ++axis)
    linker.join(linker.input(0), static_cast<int>(perm[axis]), linker.output(0), static_cast<int>(axis));
}

void flow_transpose(Flow& flow) {
  const auto perm = permutation(flow.context(), flow.shape(flow.input(0)).rank());
  for (std::size_t axis = 0; axis < perm.size(); ++axis)
    flow.copy_axis(flow.input(0), static_cast<int>(perm[axis]), flow.output(0), static_cast<int>(axis));
}

// ---- Expand

void link_expand(Linker& linker) {
  const Shape& x = linker.shape(linker.input(0));
  const Shape& y = linker.shape(linker.output(0));
  linker.freeze_value(linker.input(1), "it holds a shape");
  for (int axis = 0; axis < y.rank(); ++axis) {
    const int own = axis - (y.rank() - x.rank());
    if (own >= 0 && x[own] == y[axis]) linker.join(linker.input(0), own, linker.output(0), axis);
    else linker.freeze_axis(linker.output(0), axis, "it repeats one position along this axis");
  }
}

void flow_expand(Flow& flow) {
  const Shape& x = flow.shape(flow.input(0));
  const Shape& y = flow.shape(flow.output(0));
  for (int axis = 0; axis < y.rank(); ++axis) {
    const int own = axis - (y.rank() - x.rank());
    if (own >= 0 && x[own] == y[axis]) flow.copy_axis(flow.input(0), own, flow.output(0), axis);
  }
}

// ---- Shape, Size and Constant read no element

void link_extents(Linker& linker) { linker.freeze_value(linker.output(0), "it holds extents"); }

void link_nothing(Linker& /*linker*/) {}

constexpr Rule kRules[] = {
    {.op = "Reshape", .link = link_reshape, .flow = flow_reshape, .edit = edit_reshape},
    {.op = "Flatten", .link = link_reshape, .flow = flow_reshape},
    {.op = "Squeeze", .link = link_reshape, .flow = flow_reshape},
    {.op = "Unsqueeze", .link = link_reshape, .flow = flow_reshape},
    {.op = "Transpose", .link = link_transpose, .flow = flow_transpose},
    {.op = "Expand", .link = link_expand, .flow = flow_expand, .edit = edit_reshape},
    {.op = "Shape", .link = link_extents},
    {.op = "Size", .link = link_extents},
    {.op = "Constant", .link = link_nothing},
};

}  // namespace

std::span<const Rule> reshape_rules() { return kRules; }

}  // namespace ember::surgery
