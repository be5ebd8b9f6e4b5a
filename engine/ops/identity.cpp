#include <cstring>

#include "ops/movement.hpp"
#include "ops/registry.hpp"

// Identity and inference-time Dropout: the output is the input.

namespace ember::ops {

namespace {

void infer_identity(InferContext& c) { c.set_output(0, c.type(0), c.shape(0)); }

void reference_identity(EvalContext& c) { copy_elements(c.input(0), c.output(0)); }

void check_dropout(const NodeContext& c, std::vector<std::string>& reasons) {
  if (!c.has_input(2)) return;
  const Tensor* training = c.graph().constant(c.node().inputs[2]);
  if (training == nullptr || training->type() != DataType::Bool || training->elements() != 1 ||
      training->data<bool>()[0]) {
    reasons.emplace_back("training mode; only inference is run");
  }
}

void infer_dropout(InferContext& c) {
  c.set_output(0, c.type(0), c.shape(0));
  c.set_output(1, c.opset() < 10 ? c.type(0) : DataType::Bool, c.shape(0));
}

void reference_dropout(EvalContext& c) {
  copy_elements(c.input(0), c.output(0));
  if (!c.has_output(1)) return;
  // Everything is kept: the mask is all ones (true).
  const TensorView mask = c.output(1);
  if (mask.type() == DataType::Float32) {
    for (float& kept : mask.data<float>()) kept = 1.0F;
  } else {
    if (mask.bytes() != 0) std::memset(mask.raw(), 1, mask.bytes());
  }
}

}  // namespace

void add_identity_operators(OperatorList& list) {
  list.push_back({.name = "Identity",
                  .versions = {1, 13, 14, 16, 19, 21, 23, 24, 25},
                  .infer = infer_identity,
                  .reference = reference_identity});
  list.push_back({.name = "Dropout",
                  .versions = {7, 10, 12, 13, 22},
                  .check = check_dropout,
                  .infer = infer_dropout,
                  .reference = reference_dropout});
}

}  // namespace ember::ops
