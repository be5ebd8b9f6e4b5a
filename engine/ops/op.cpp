#include "ops/op.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::ops {

namespace {

template <class T>
const T* attribute(const NodeContext& node, std::string_view name) {
  const auto found = node.node().attributes.find(name);
  if (found == node.node().attributes.end()) return nullptr;
  const T* held = std::get_if<T>(&found->second);
  if (held == nullptr)
    node.fail(ErrorCode::InvalidModel, fmt::format("attribute '{}' has the wrong type", name));
  return held;
}

std::vector<std::int64_t> as_integers(const NodeContext& node, ConstTensorView view, int i) {
  if (view.type() == DataType::Int64) {
    const auto data = view.data<std::int64_t>();
    return {data.begin(), data.end()};
  }
  if (view.type() == DataType::Int32) {
    const auto data = view.data<std::int32_t>();
    return {data.begin(), data.end()};
  }
  node.fail(ErrorCode::InvalidModel,
            fmt::format("input {} must be int64 or int32, not {}", i, to_string(view.type())));
}

}  // namespace

std::int64_t NodeContext::integer(std::string_view name, std::int64_t otherwise) const {
  const auto* held = attribute<std::int64_t>(*this, name);
  return held != nullptr ? *held : otherwise;
}
float NodeContext::real(std::string_view name, float otherwise) const {
  const auto* held = attribute<float>(*this, name);
  return held != nullptr ? *held : otherwise;
}
std::string NodeContext::text(std::string_view name, std::string_view otherwise) const {
  const auto* held = attribute<std::string>(*this, name);
  return held != nullptr ? *held : std::string(otherwise);
}
std::vector<std::int64_t> NodeContext::integers(std::string_view name,
                                                std::vector<std::int64_t> otherwise) const {
  const auto* held = attribute<std::vector<std::int64_t>>(*this, name);
  if (held != nullptr) return *held;
  return otherwise;
}
std::vector<float> NodeContext::reals(std::string_view name, std::vector<float> otherwise) const {
  const auto* held = attribute<std::vector<float>>(*this, name);
  if (held != nullptr) return *held;
  return otherwise;
}
std::vector<std::string> NodeContext::texts(std::string_view name, std::vector<std::string> otherwise) const {
  const auto* held = attribute<std::vector<std::string>>(*this, name);
  if (held != nullptr) return *held;
  return otherwise;
}
const Tensor* NodeContext::tensor(std::string_view name) const {
  const auto* held = attribute<std::shared_ptr<const Tensor>>(*this, name);
  return held != nullptr ? held->get() : nullptr;
}
const graph::Graph* NodeContext::subgraph(std::string_view name) const {
  const auto* held = attribute<std::shared_ptr<const graph::Graph>>(*this, name);
  return held != nullptr ? held->get() : nullptr;
}

void NodeContext::fail(ErrorCode code, const std::string& reason, const std::string& cure) const {
  throw Error(code, reason,
              {.model = graph_->metadata.model_name,
               .node = graph_->label(id_),
               .op = node_->op,
               .opset = opset_,
               .cure = cure});
}

int normalize_axis(const NodeContext& node, std::int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    node.fail(ErrorCode::InvalidModel, fmt::format("axis {} is outside a tensor of rank {}", axis, rank));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Shape broadcast(const NodeContext& node, const Shape& a, const Shape& b) {
  std::vector<std::int64_t> dims(static_cast<std::size_t>(std::max(a.rank(), b.rank())));
  for (int back = 1; back <= static_cast<int>(dims.size()); ++back) {
    const std::int64_t from_a = back <= a.rank() ? a[a.rank() - back] : 1;
    const std::int64_t from_b = back <= b.rank() ? b[b.rank() - back] : 1;
    if (from_a != from_b && from_a != 1 && from_b != 1) {
      node.fail(ErrorCode::InvalidModel,
                fmt::format("shapes {} and {} cannot be broadcast together", to_string(a), to_string(b)));
    }
    dims[dims.size() - static_cast<std::size_t>(back)] = from_a == 1 ? from_b : from_a;
  }
  return Shape(dims);
}

const InferContext::Input& InferContext::input(int i) const {
  if (!has_input(i)) fail(ErrorCode::InvalidModel, fmt::format("input {} is missing", i));
  return inputs_[static_cast<std::size_t>(i)];
}

const Tensor& InferContext::required_value(int i) const {
  const Tensor* known = input(i).value;
  if (known == nullptr) throw DataDependent{};
  return *known;
}

std::vector<std::int64_t> InferContext::required_integers(int i) const {
  return as_integers(*this, required_value(i).view(), i);
}

void InferContext::set_output(int i, DataType type, const Shape& shape) {
  if (!has_output(i)) return;
  outputs_[static_cast<std::size_t>(i)] = {.type = type, .shape = shape};
}

const ConstTensorView& EvalContext::input(int i) const {
  if (!has_input(i)) fail(ErrorCode::InvalidModel, fmt::format("input {} is missing", i));
  return inputs_[static_cast<std::size_t>(i)];
}

const TensorView& EvalContext::output(int i) const {
  if (!has_output(i)) fail(ErrorCode::Internal, fmt::format("output {} is not wanted", i));
  return outputs_[static_cast<std::size_t>(i)];
}

std::vector<std::int64_t> EvalContext::integers_of(int i) const { return as_integers(*this, input(i), i); }

}  // namespace ember::ops
