#include <cmath>

#include "surgery/rule.hpp"

// BatchNormalization and InstanceNormalization: parameters per channel of axis 1.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::ValueId;

void link_parameters(Linker& linker) {
  const ValueId x = linker.input(0);
  for (int i = 1; i < linker.context().input_count(); ++i) {
    if (linker.shape(linker.input(i)).rank() != 1)
      return linker.freeze_all("its parameters are not by channel");
    linker.join(linker.input(i), 0, x, 1);
  }
}

void link_batch_normalization(Linker& linker) {
  if (linker.context().integer("training_mode", 0) != 0)
    return linker.freeze_all("it normalises by the batch");
  for (int i = 1; i < linker.context().output_count(); ++i) {
    if (linker.output(i) != kNoValue) return linker.freeze_all("its statistics are read");
  }
  const ValueId x = linker.input(0);
  for (int axis = 0; axis < linker.shape(x).rank(); ++axis) linker.join(x, axis, linker.output(0), axis);
  link_parameters(linker);
}

void flow_batch_normalization(Flow& flow) {
  const Tensor* parameters[4];
  for (int i = 0; i < 4; ++i) {
    parameters[i] = flow.facts().known(flow.input(i + 1));
    if (parameters[i] == nullptr) return;
  }
  const auto epsilon = static_cast<double>(flow.context().real("epsilon", 1e-5F));
  for (std::int64_t c = 0; c < flow.shape(flow.input(0))[1]; ++c) {
    const double scale = number_at(*parameters[0], c) / std::sqrt(number_at(*parameters[3], c) + epsilon);
    const auto constant = scale == 0.0 ? 0.0 : flow.of(flow.input(0), 1, c);
    if (!constant.has_value()) continue;
    flow.set(flow.output(0), 1, c,
             number_at(*parameters[1], c) + scale * (*constant - number_at(*parameters[2], c)));
  }
}

void link_instance_normalization(Linker& linker) {
  const ValueId x = linker.input(0);
  linker.join(x, 0, linker.output(0), 0);
  linker.join(x, 1, linker.output(0), 1);
  for (int axis = 2; axis < linker.shape(x).rank(); ++axis) {
    linker.freeze_axis(x, axis, "it normalises over this axis");
    linker.freeze_axis(linker.output(0), axis, "it normalises over this axis");
  }
  link_parameters(linker);
}

constexpr Rule kRules[] = {
    {.op = "BatchNormalization", .link = link_batch_normalization, .flow = flow_batch_normalization},
    {.op = "InstanceNormalization", .link = link_instance_normalization},
};

}  // namespace

std::span<const Rule> normalization_rules() { return kRules; }

}  // namespace ember::surgery
