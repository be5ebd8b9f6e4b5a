#include "surgery/surgeon.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "ops/movement.hpp"
#include "ops/typed.hpp"

namespace ember::surgery {

using graph::kNoNode;
using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

Tensor take(const Tensor& tensor, int axis, std::span<const std::int64_t> positions) {
  const Shape shape = tensor.shape().with(axis, static_cast<std::int64_t>(positions.size()));
  Tensor result(tensor.type(), shape);
  const std::int64_t outer = tensor.shape().elements(0, axis);
  const std::size_t run = static_cast<std::size_t>(tensor.shape().elements(axis + 1, tensor.shape().rank())) *
                          size_of(tensor.type());
  auto* to = static_cast<std::byte*>(result.raw());
  const auto* from = static_cast<const std::byte*>(tensor.raw());
  for (std::int64_t o = 0; o < outer && run > 0; ++o) {
    for (const std::int64_t at : positions) {
      std::memcpy(to, from + static_cast<std::size_t>(o * tensor.shape()[axis] + at) * run, run);
      to += run;
    }
  }
  return result;
}

Tensor tensor_of(DataType type, const Shape& shape, std::span<const double> numbers) {
  Tensor tensor(type, shape);
  ops::dispatch_type(type, [&](auto zero) {
    using T = decltype(zero);
    const auto elements = tensor.data<T>();
    for (std::size_t i = 0; i < elements.size(); ++i)
      elements[i] = ops::narrow<T>(static_cast<ops::Wide<T>>(numbers[i]));
  });
  return tensor;
}

bool Surgeon::removed(ValueId value, int axis, std::int64_t index) const {
  const Slot slot = structure_.slots.at(value, axis, index);
  return slot != kNoSlot && removed(slot);
}

std::vector<std::int64_t> Surgeon::kept(ValueId value, int axis) const {
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < (*facts_.shape(value))[axis]; ++i) {
    if (!removed(value, axis, i)) positions.push_back(i);
  }
  return positions;
}

std::int64_t Surgeon::kept_in(ValueId value, int axis, std::int64_t begin, std::int64_t end) const {
  std::int64_t count = 0;
  for (std::int64_t i = begin; i < end; ++i) count += removed(value, axis, i) ? 0 : 1;
  return count;
}

bool Surgeon::touches(ValueId value, int axis) const {
  const std::int64_t extent = (*facts_.shape(value))[axis];
  return kept_in(value, axis, 0, extent) != extent;
}

void Surgeon::set_constant_input(NodeId id, int input, Tensor tensor, const std::string& name) {
  const auto at = static_cast<std::size_t>(input);
  const ValueId old = at < graph_.node(id).inputs.size() ? graph_.node(id).inputs[at] : kNoValue;
  auto shared = std::make_shared<const Tensor>(std::move(tensor));
  const bool own = old != kNoValue && graph_.value(old).constant != nullptr &&
                   graph_.users(old).size() == 1 && !graph_.is_output(old) &&
                   std::ranges::count(graph_.node(id).inputs, old) == 1;
  if (own) {
    graph_.make_constant(old, std::move(shared));
    claim(old);
    return;
  }
  const ValueId made = graph_.add_constant(name, std::move(shared));
  graph_.set_input(id, input, made);
}

void Surgeon::set_integers_input(NodeId id, int input, const std::vector<std::int64_t>& values) {
  const ValueId old = graph_.node(id).inputs[static_cast<std::size_t>(input)];
  const Tensor& known = *facts_.known(old);
  const std::vector<double> numbers(values.begin(), values.end());
  const Shape shape = known.shape().rank() == 0 ? Shape{} : Shape{static_cast<std::int64_t>(values.size())};
  set_constant_input(id, input, tensor_of(known.type(), shape, numbers), graph_.value(old).name);
}

void Surgeon::add_to_bias(NodeId id, int input, std::span<const double> added, int output_axis, double scale,
                          DataType type) {
  const graph::Node& node = graph_.node(id);
  const ValueId output = node.outputs[0];
  const auto at = static_cast<std::size_t>(input);
  const ValueId old = at < node.inputs.size() ? node.inputs[at] : kNoValue;
  const Tensor* bias = facts_.known(old);
  std::vector<double> sums;
  for (std::size_t o = 0; o < added.size(); ++o) {
    const auto element = static_cast<std::int64_t>(o);
    if (removed(output, output_axis, element)) continue;
    const double present =
        bias == nullptr ? 0.0 : number_at(*bias, bias->elements() == 1 ? std::int64_t{0} : element);
    sums.push_back(present + added[o] * scale);
  }
  if (bias != nullptr) type = bias->type();
  else if (type == DataType::Undefined) type = facts_.type(output);
  const std::string name = old != kNoValue ? graph_.value(old).name : graph_.value(output).name + "_bias";
  const Shape shape{static_cast<std::int64_t>(sums.size())};
  set_constant_input(id, input, tensor_of(type, shape, sums), name);
}

void Surgeon::fold(const LinearRead& read) {
  std::vector<double> added(static_cast<std::size_t>(read.output_count), 0.0);
  bool any = false;
  for (std::int64_t i = 0; i < read.count; ++i) {
    if (!removed(read.inputs + static_cast<Slot>(i)) || read.weights == nullptr) continue;
    const double constant = constants_.of(read.inputs + static_cast<Slot>(i)).value_or(read.zero) - read.zero;
    if (constant == 0.0) continue;
    const std::int64_t first = read.first_output(i);
    for (std::int64_t o = first; o < first + read.outputs_per_group(); ++o) {
      if (removed(read.outputs + static_cast<Slot>(o)) || !read.connects(i, o)) continue;
      added[static_cast<std::size_t>(o)] += constant * read.weight(i, o);
      any = true;
    }
  }
  if (any) read.fold(*this, read, added);
}

/// The stand-in's weights take over what the removed constants gave, in proportion of the constants.
void Surgeon::merge(const LinearRead& read, std::int64_t stand_in) {
  const double unit = *constants_.of(read.inputs + static_cast<Slot>(stand_in)) - read.zero;
  std::vector<double> elements;
  for (std::int64_t at = 0; at < read.weights->elements(); ++at)
    elements.push_back(number_at(*read.weights, at));
  for (std::int64_t i = 0; i < read.count; ++i) {
    if (!removed(read.inputs + static_cast<Slot>(i))) continue;
    const double constant = constants_.of(read.inputs + static_cast<Slot>(i)).value_or(read.zero) - read.zero;
    for (std::int64_t o = 0; constant != 0.0 && o < read.output_count; ++o) {
      for (std::int64_t t = 0; t < read.taps; ++t) {
        const double given =
            number_at(*read.weights, read.offset(i, o) + t * read.tap_stride) * constant / unit;
        elements[static_cast<std::size_t>(read.offset(stand_in, o) + t * read.tap_stride)] += given;
      }
    }
  }
  graph_.make_constant(read.own_weights, std::make_shared<const Tensor>(tensor_of(
                                             read.weights->type(), read.weights->shape(), elements)));
}

void Surgeon::cut_dims(ValueId id) {
  auto& dims = graph_.value(id).dims;
  const Shape* shape = facts_.shape(id);
  if (!dims.has_value() || shape == nullptr || static_cast<int>(dims->size()) != shape->rank()) return;
  for (int axis = 0; axis < shape->rank(); ++axis) {
    graph::Dim& dim = (*dims)[static_cast<std::size_t>(axis)];
    if (dim.size >= 0 && touches(id, axis)) dim.size = kept_in(id, axis, 0, (*shape)[axis]);
  }
}

void Surgeon::cut_values() {
  for (std::size_t at = 0; at < facts_.graph().value_count(); ++at) {
    const auto id = static_cast<ValueId>(at);
    const Shape* shape = facts_.shape(id);
    if (shape == nullptr || !facts_.graph().is_available(id) || claimed_.contains(id)) continue;
    const NodeId producer = graph_.value(id).producer;
    const bool stated = producer != kNoNode && graph_.node(producer).op == "Constant";
    const Tensor* held = stated ? facts_.known(id) : graph_.constant(id);
    if (held == nullptr) {
      cut_dims(id);
      continue;
    }
    std::shared_ptr<Tensor> cut;
    for (int axis = 0; axis < shape->rank(); ++axis) {
      if (touches(id, axis))
        cut = std::make_shared<Tensor>(take(cut == nullptr ? *held : *cut, axis, kept(id, axis)));
    }
    if (cut == nullptr) continue;
    if (stated) {
      cut_dims(id);
      graph_.node(producer).attributes.clear();
      graph_.node(producer).attributes["value"] = std::shared_ptr<const Tensor>(std::move(cut));
    } else {
      graph_.make_constant(id, std::move(cut));
    }
  }
}

void Surgeon::operate() {
  for (const LinearRead& read : structure_.reads) {
    const auto stand_in = stand_ins_.find(&read);
    if (stand_in != stand_ins_.end()) merge(read, stand_in->second);
    else fold(read);
  }
  const std::vector<NodeId> nodes = facts_.graph().order();
  for (const NodeId id : nodes) {
    const Rule* rule = find_rule(graph_.node(id));
    if (rule != nullptr && rule->edit != nullptr) rule->edit(*this, id);
  }
  cut_values();
}

}  // namespace ember::surgery
