#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ops/interpreter.hpp"
#include "support/graph_builder.hpp"
#include "support/tensor_of.hpp"

namespace ember::test {

/// Runs one operator by its reference. An empty Tensor among `inputs` means: left out.
inline std::vector<Tensor> run_op(const std::string& op, int opset, const std::vector<Tensor>& inputs,
                                  GraphBuilder::Attributes attributes = {}, int outputs = 1) {
  GraphBuilder builder(opset);
  std::vector<graph::ValueId> ids;
  std::vector<const Tensor*> values;
  for (const Tensor& tensor : inputs) {
    const auto dims = tensor.shape().dims();
    ids.push_back(tensor.empty() ? graph::kNoValue
                                 : builder.input("in" + std::to_string(ids.size()), tensor.type(),
                                                 {dims.begin(), dims.end()}));
    values.push_back(tensor.empty() ? nullptr : &tensor);
  }
  for (const graph::ValueId id : builder.node(op, "out", ids, std::move(attributes), outputs))
    builder.output(id);
  return ops::evaluate_node(builder.graph(), builder.graph().order().front(), values);
}

}  // namespace ember::test
