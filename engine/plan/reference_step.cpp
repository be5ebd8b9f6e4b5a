#include "plan/reference_step.hpp"

#include <cstddef>
#include <utility>

#include "ops/op.hpp"

namespace ember::plan {

namespace {

class ReferenceStep final : public ops::Step {
 public:
  ReferenceStep(const graph::Graph& graph, graph::NodeId id, std::vector<ConstTensorView> inputs,
                std::vector<TensorView> outputs)
      : graph_(graph), id_(id), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  void run(const ops::StepContext& context) const override {
    std::vector<ConstTensorView> inputs = inputs_;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].raw() == nullptr) inputs[i] = {inputs[i].type(), inputs[i].shape(), context.inputs[i]};
    }
    std::vector<TensorView> outputs = outputs_;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      outputs[i] = {outputs[i].type(), outputs[i].shape(), context.outputs[i]};
    }
    ops::EvalContext eval(graph_, id_, inputs, outputs);
    ops::operator_of(graph_, id_).reference(eval);
  }

 private:
  const graph::Graph& graph_;  ///< the plan's own
  graph::NodeId id_;
  std::vector<ConstTensorView> inputs_;  ///< data of constants; null for what the run provides
  std::vector<TensorView> outputs_;
};

}  // namespace

std::unique_ptr<const ops::Step> make_reference_step(const graph::Graph& graph, graph::NodeId id,
                                                     std::vector<ConstTensorView> inputs,
                                                     std::vector<TensorView> outputs) {
  return std::make_unique<ReferenceStep>(graph, id, std::move(inputs), std::move(outputs));
}

}  // namespace ember::plan
