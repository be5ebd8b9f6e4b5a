#include "graph/graph.hpp"

#include <algorithm>
#include <iterator>
#include <queue>
#include <ranges>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::graph {

namespace {

bool reads(const Node& node, ValueId value) {
  return std::ranges::find(node.inputs, value) != node.inputs.end() ||
         std::ranges::find(node.captures, value) != node.captures.end();
}

}  // namespace

std::string Graph::fresh_name(std::string_view base) const {
  std::string candidate(base.empty() ? "value" : base);
  for (int suffix = 1; by_name_.contains(candidate); ++suffix) {
    candidate = fmt::format("{}_{}", base.empty() ? "value" : base, suffix);
  }
  return candidate;
}

ValueId Graph::add_value(std::string_view wanted, DataType type, std::optional<std::vector<Dim>> dims) {
  const auto id = static_cast<ValueId>(values_.size());
  std::string unique = fresh_name(wanted);
  by_name_.emplace(unique, id);
  Value value;
  value.name = std::move(unique);
  value.type = type;
  value.dims = std::move(dims);
  values_.push_back(std::move(value));
  users_.emplace_back();
  return id;
}

ValueId Graph::add_constant(std::string_view wanted, std::shared_ptr<const Tensor> tensor) {
  const ValueId id = add_value(wanted);
  make_constant(id, std::move(tensor));
  return id;
}

ValueId Graph::add_constant(std::string_view wanted, Tensor tensor) {
  return add_constant(wanted, std::make_shared<const Tensor>(std::move(tensor)));
}

ValueId Graph::find_value(std::string_view wanted) const {
  const auto found = by_name_.find(wanted);
  return found == by_name_.end() ? kNoValue : found->second;
}

void Graph::rename_value(ValueId id, std::string_view wanted) {
  if (value(id).name == wanted) return;
  by_name_.erase(value(id).name);
  value(id).name = fresh_name(wanted);
  by_name_.emplace(value(id).name, id);
}

bool Graph::is_output(ValueId id) const { return std::ranges::find(outputs, id) != outputs.end(); }
bool Graph::is_input(ValueId id) const { return std::ranges::find(inputs, id) != inputs.end(); }

bool Graph::is_available(ValueId id) const {
  return id != kNoValue && (value(id).producer != kNoNode || value(id).constant != nullptr || is_input(id) ||
                            std::ranges::find(captured, id) != captured.end());
}

void Graph::add_user(ValueId value, NodeId node) {
  if (value == kNoValue) return;
  auto& list = users_[static_cast<std::size_t>(value)];
  if (std::ranges::find(list, node) == list.end()) list.push_back(node);
}

void Graph::drop_user(ValueId value, NodeId node) {
  if (value == kNoValue || reads(this->node(node), value)) return;
  // Late users tend to go first.
  auto& list = users_[static_cast<std::size_t>(value)];
  const auto found = std::find(list.rbegin(), list.rend(), node);
  if (found != list.rend()) list.erase(std::next(found).base());
}

NodeId Graph::add_node(Node added, NodeId before) {
  const auto id = static_cast<NodeId>(nodes_.size());
  for (const ValueId output : added.outputs) {
    if (output == kNoValue) continue;
    if (value(output).producer != kNoNode || value(output).constant != nullptr) {
      throw Error(ErrorCode::InvalidModel, "the value is produced twice",
                  {.node = added.name, .op = added.op, .tensor = value(output).name});
    }
    value(output).producer = id;
  }
  nodes_.push_back(std::move(added));
  for (const auto* list : {&nodes_.back().inputs, &nodes_.back().captures}) {
    for (const ValueId read : *list) {
      if (read == kNoValue) continue;
      // The newest node can only be listed last; a search would cost the square of the users.
      auto& users = users_[static_cast<std::size_t>(read)];
      if (users.empty() || users.back() != id) users.push_back(id);
    }
  }
  const auto at = before == kNoNode ? order_.end() : std::ranges::find(order_, before);
  order_.insert(at, id);
  return id;
}

std::string Graph::label(NodeId id) const {
  return node(id).name.empty() ? fmt::format("#{}", id) : node(id).name;
}

int Graph::opset(const Node& of) const {
  const auto found = metadata.opsets.find(of.domain);
  return found == metadata.opsets.end() ? 0 : found->second;
}

void Graph::set_input(NodeId id, int index, ValueId value) {
  Node& target = node(id);
  const auto at = static_cast<std::size_t>(index);
  if (target.inputs.size() <= at) target.inputs.resize(at + 1, kNoValue);
  const ValueId old = std::exchange(target.inputs[at], value);
  drop_user(old, id);
  add_user(value, id);
}

void Graph::set_capture(NodeId id, int index, ValueId value) {
  const ValueId old = std::exchange(node(id).captures[static_cast<std::size_t>(index)], value);
  drop_user(old, id);
  add_user(value, id);
}

void Graph::set_output(NodeId id, int index, ValueId output) {
  Node& target = node(id);
  const auto at = static_cast<std::size_t>(index);
  if (target.outputs.size() <= at) target.outputs.resize(at + 1, kNoValue);
  if (target.outputs[at] != kNoValue) value(target.outputs[at]).producer = kNoNode;
  target.outputs[at] = output;
  if (output != kNoValue) value(output).producer = id;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  const std::vector<NodeId> readers = users(from);
  for (const NodeId reader : readers) {
    Node& target = node(reader);
    std::ranges::replace(target.inputs, from, to);
    std::ranges::replace(target.captures, from, to);
    add_user(to, reader);
  }
  users_[static_cast<std::size_t>(from)].clear();
  if (!is_output(from)) return;
  // The outside knows the output by name, so the name has to survive. That works by renaming unless
  // the replacement's own name is already known outside.
  if (is_input(to) || is_output(to) || value(to).constant != nullptr ||
      std::ranges::find(captured, to) != captured.end()) {
    Node identity;
    identity.op = "Identity";
    identity.inputs = {to};
    if (value(from).producer != kNoNode) {
      const NodeId producer = value(from).producer;
      auto& produced = node(producer).outputs;
      std::ranges::replace(produced, from, kNoValue);
      value(from).producer = kNoNode;
    }
    identity.outputs = {from};
    add_node(std::move(identity));
    return;
  }
  const std::string outside = value(from).name;
  rename_value(from, outside + "_replaced");
  rename_value(to, outside);
  if (!value(to).dims.has_value()) value(to).dims = value(from).dims;
  if (value(to).type == DataType::Undefined) value(to).type = value(from).type;
  std::ranges::replace(outputs, from, to);
}

void Graph::remove_node(NodeId id) {
  const Node removed = std::exchange(node(id), Node{});
  for (const ValueId output : removed.outputs) {
    if (output != kNoValue && value(output).producer == id) value(output).producer = kNoNode;
  }
  for (const ValueId input : removed.inputs) drop_user(input, id);
  for (const ValueId capture : removed.captures) drop_user(capture, id);
  std::erase(order_, id);
}

void Graph::make_constant(ValueId id, std::shared_ptr<const Tensor> tensor) {
  Value& target = value(id);
  if (target.producer != kNoNode) {
    std::ranges::replace(node(target.producer).outputs, id, kNoValue);
    target.producer = kNoNode;
  }
  target.type = tensor->type();
  std::vector<Dim> dims;
  for (const std::int64_t extent : tensor->shape()) dims.push_back({.size = extent, .symbol = {}});
  target.dims = std::move(dims);
  target.constant = std::move(tensor);
}

void Graph::sort() {
  // Kahn's algorithm with the present position as priority: a graph already in order keeps it.
  std::vector<int> position(nodes_.size(), 0);
  for (std::size_t at = 0; at < order_.size(); ++at)
    position[static_cast<std::size_t>(order_[at])] = static_cast<int>(at);
  std::vector<int> missing(nodes_.size(), 0);
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  const auto dependencies = [&](const Node& of) {
    std::set<ValueId> distinct(of.inputs.begin(), of.inputs.end());
    distinct.insert(of.captures.begin(), of.captures.end());
    std::erase_if(distinct, [&](ValueId id) { return id == kNoValue || value(id).producer == kNoNode; });
    return distinct;
  };
  for (const NodeId id : order_) {
    missing[static_cast<std::size_t>(id)] = static_cast<int>(dependencies(node(id)).size());
    if (missing[static_cast<std::size_t>(id)] == 0) ready.push(position[static_cast<std::size_t>(id)]);
  }
  std::vector<NodeId> sorted;
  sorted.reserve(order_.size());
  while (!ready.empty()) {
    const NodeId id = order_[static_cast<std::size_t>(ready.top())];
    ready.pop();
    sorted.push_back(id);
    for (const ValueId output : node(id).outputs) {
      if (output == kNoValue) continue;
      for (const NodeId reader : users(output)) {
        if (--missing[static_cast<std::size_t>(reader)] == 0)
          ready.push(position[static_cast<std::size_t>(reader)]);
      }
    }
  }
  if (sorted.size() != order_.size()) {
    const auto stuck =
        std::ranges::find_if(order_, [&](NodeId id) { return missing[static_cast<std::size_t>(id)] > 0; });
    throw Error(ErrorCode::InvalidModel, "the node depends on its own output: the graph has a cycle",
                {.model = metadata.model_name, .node = label(*stuck), .op = node(*stuck).op});
  }
  order_ = std::move(sorted);
}

int Graph::remove_dead() {
  std::vector<bool> wanted(values_.size(), false);
  for (const ValueId id : outputs) wanted[static_cast<std::size_t>(id)] = true;
  // The order is taken apart and put together again, so that removing many nodes stays linear.
  const std::vector<NodeId> before = std::exchange(order_, {});
  std::vector<NodeId> kept;
  for (const NodeId id : std::views::reverse(before)) {
    const bool read = std::ranges::any_of(node(id).outputs, [&](ValueId output) {
      return output != kNoValue && (!users(output).empty() || wanted[static_cast<std::size_t>(output)]);
    });
    if (read) {
      kept.push_back(id);
    } else {
      remove_node(id);
    }
  }
  order_.assign(kept.rbegin(), kept.rend());
  for (std::size_t at = 0; at < values_.size(); ++at) {
    if (values_[at].constant != nullptr && users_[at].empty() && !wanted[at]) values_[at].constant.reset();
  }
  return static_cast<int>(before.size() - kept.size());
}

}  // namespace ember::graph
