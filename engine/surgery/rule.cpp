#include "surgery/rule.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>

#include "ops/movement.hpp"

namespace ember::surgery {

using graph::kNoValue;
using graph::ValueId;

namespace {

ValueId value_at(const std::vector<ValueId>& list, int i) {
  return i >= 0 && i < static_cast<int>(list.size()) ? list[static_cast<std::size_t>(i)] : kNoValue;
}

constexpr double kNotConstant = std::numeric_limits<double>::quiet_NaN();

}  // namespace

std::int64_t LinearRead::first_output(std::int64_t i) const {
  return i / inputs_per_group() * outputs_per_group();
}

std::int64_t LinearRead::offset(std::int64_t i, std::int64_t o) const {
  const std::int64_t in = in_local ? i % inputs_per_group() : i;
  const std::int64_t out = out_local ? o % outputs_per_group() : o;
  return in * in_stride + out * out_stride;
}

double LinearRead::weight_zero(std::int64_t o) const {
  return weight_zeros.empty() ? 0.0
                              : weight_zeros[weight_zeros.size() == 1 ? 0 : static_cast<std::size_t>(o)];
}

bool LinearRead::connects(std::int64_t i, std::int64_t o) const {
  if (weights == nullptr) return true;
  const std::int64_t first = offset(i, o);
  const double absent = weight_zero(o);
  if (weights->type() == DataType::Float32 && absent == 0.0) {
    const auto values = weights->data<float>();
    for (std::int64_t t = 0; t < taps; ++t) {
      if (values[static_cast<std::size_t>(first + t * tap_stride)] != 0.0F) return true;
    }
    return false;
  }
  for (std::int64_t t = 0; t < taps; ++t) {
    if (number_at(*weights, first + t * tap_stride) != absent) return true;
  }
  return false;
}

double LinearRead::weight(std::int64_t i, std::int64_t o) const {
  double sum = 0.0;
  for (std::int64_t t = 0; t < taps; ++t)
    sum += number_at(*weights, offset(i, o) + t * tap_stride) - weight_zero(o);
  return sum;
}

ValueId Linker::input(int i) const { return value_at(context_.node().inputs, i); }
ValueId Linker::output(int i) const { return value_at(context_.node().outputs, i); }

void Linker::join(ValueId a, int axis_a, ValueId b, int axis_b) {
  if (a == kNoValue || b == kNoValue) return;
  join(a, axis_a, 0, b, axis_b, 0, std::min(shape(a)[axis_a], shape(b)[axis_b]));
}

void Linker::join(ValueId a, int axis_a, std::int64_t offset_a, ValueId b, int axis_b, std::int64_t offset_b,
                  std::int64_t count) {
  // The only position of an axis cannot go, and a scalar shared by many nodes joins nothing.
  if (shape(a)[axis_a] == 1 && shape(b)[axis_b] == 1) return;
  for (std::int64_t i = 0; i < count; ++i)
    structure_.slots.join(slot(a, axis_a, offset_a + i), slot(b, axis_b, offset_b + i));
}

Refusal Linker::refusal(const std::string& why) const {
  return {.node = facts_.graph().label(context_.id()), .why = why};
}

void Linker::freeze_axis(ValueId value, int axis, const std::string& why) {
  if (value == kNoValue) return;
  for (std::int64_t i = 0; i < shape(value)[axis]; ++i) {
    structure_.slots.freeze(slot(value, axis, i), refusal(why));
  }
}

void Linker::freeze_value(ValueId value, const std::string& why) {
  if (value == kNoValue || facts_.shape(value) == nullptr) return;
  for (int axis = 0; axis < shape(value).rank(); ++axis) freeze_axis(value, axis, why);
}

void Linker::freeze_all(const std::string& why) {
  for (const auto* list : {&context_.node().inputs, &context_.node().outputs, &context_.node().captures}) {
    for (const ValueId value : *list) freeze_value(value, why);
  }
}

bool Linker::owns(ValueId value) const {
  const graph::Graph& graph = facts_.graph();
  return graph.constant(value) != nullptr && graph.users(value).size() == 1 && !graph.is_output(value);
}

ValueId Linker::own_weights(ValueId value) const {
  const DataType type = facts_.type(value);
  return owns(value) && (type == DataType::Float32 || type == DataType::Float64) ? value : kNoValue;
}

Constants::Constants(const Facts& facts, const Slots& slots)
    : facts_(facts), slots_(slots), values_(static_cast<std::size_t>(slots.count()), kNotConstant) {}

const std::vector<std::vector<double>>& Constants::table(ValueId value) const {
  const auto found = tables_.find(value);
  if (found != tables_.end()) return found->second;
  const Tensor& tensor = *facts_.known(value);
  std::vector<std::vector<double>> table;
  const ops::PerAxis strides = ops::dense_strides(tensor.shape());
  for (int axis = 0; axis < tensor.shape().rank(); ++axis) {
    const std::int64_t extent = tensor.shape()[axis];
    const std::int64_t inner = strides[static_cast<std::size_t>(axis)];
    const std::int64_t outer = extent == 0 || inner == 0 ? 0 : tensor.elements() / (extent * inner);
    std::vector<double> constants(static_cast<std::size_t>(extent), kNotConstant);
    for (std::int64_t at = 0; at < extent && tensor.elements() > 0; ++at) {
      const double first = number_at(tensor, at * inner);
      bool same = true;
      for (std::int64_t o = 0; o < outer && same; ++o) {
        for (std::int64_t i = 0; i < inner && same; ++i)
          same = number_at(tensor, (o * extent + at) * inner + i) == first;
      }
      if (same) constants[static_cast<std::size_t>(at)] = first;
    }
    table.push_back(std::move(constants));
  }
  return tables_.emplace(value, std::move(table)).first->second;
}

std::optional<double> Constants::of(ValueId value, int axis, std::int64_t index) const {
  double constant = kNotConstant;
  if (facts_.known(value) != nullptr) {
    constant = table(value)[static_cast<std::size_t>(axis)][static_cast<std::size_t>(index)];
  } else if (const Slot slot = slots_.at(value, axis, index); slot != kNoSlot) {
    constant = values_[static_cast<std::size_t>(slot)];
  }
  return std::isnan(constant) ? std::nullopt : std::optional(constant);
}

std::optional<double> Constants::of(Slot slot) const {
  const Slots::Place place = slots_.place(slot);
  return of(place.value, place.axis, place.index);
}

void Constants::set(ValueId value, int axis, std::int64_t index, double constant) {
  const Slot slot = slots_.at(value, axis, index);
  if (slot != kNoSlot && std::isfinite(constant)) values_[static_cast<std::size_t>(slot)] = constant;
}

void Constants::lose(ValueId value, int axis, std::int64_t index, const Refusal& reason) {
  const Slot slot = slots_.at(value, axis, index);
  if (slot != kNoSlot) lost_.emplace(slot, reason);
}

const Refusal* Constants::lost(Slot slot) const {
  const auto found = lost_.find(slot);
  return found == lost_.end() ? nullptr : &found->second;
}

ValueId Flow::input(int i) const { return value_at(context_.node().inputs, i); }
ValueId Flow::output(int i) const { return value_at(context_.node().outputs, i); }

void Flow::lose(ValueId value, int axis, std::int64_t index, const std::string& why) {
  constants_.lose(value, axis, index, {.node = facts_.graph().label(context_.id()), .why = why});
}

void Flow::copy_axis(ValueId from, int axis_from, ValueId to, int axis_to) {
  if (to == kNoValue) return;
  for (std::int64_t i = 0; i < shape(to)[axis_to] && i < shape(from)[axis_from]; ++i) {
    if (const auto constant = of(from, axis_from, i)) set(to, axis_to, i, *constant);
  }
}

const Rule* find_rule(const graph::Node& node) {
  static const std::map<std::string_view, const Rule*> kRules = [] {
    std::map<std::string_view, const Rule*> rules;
    for (const auto family :
         {concat_rules(), convolution_rules(), elementwise_rules(), normalization_rules(), product_rules(),
          recurrent_rules(), reduction_rules(), reshape_rules(), selection_rules(), window_rules()}) {
      for (const Rule& rule : family) rules.emplace(rule.op, &rule);
    }
    return rules;
  }();
  if (!node.domain.empty()) return nullptr;
  const auto found = kRules.find(node.op);
  return found == kRules.end() ? nullptr : found->second;
}

}  // namespace ember::surgery
