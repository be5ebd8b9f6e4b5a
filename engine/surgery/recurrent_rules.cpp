#include <cstddef>
#include <string>
#include <vector>

#include "ops/recurrent.hpp"
#include "surgery/rule.hpp"
#include "surgery/surgeon.hpp"

// LSTM, GRU and RNN: a hidden unit owns a row of every gate, a column of the recurrent weights and its place
// in the states and outputs. It goes, in both directions, when nobody reads it, its own layer included.

namespace ember::surgery {

namespace {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::RecurrentSpec;

/// The output that has the hidden units on its last axis at every step, or at the last one; kNoValue if none.
ValueId shown(const Linker& linker) {
  for (const int i : {0, 1}) {
    if (linker.output(i) != kNoValue) return linker.output(i);
  }
  return kNoValue;
}

void join_units(Linker& linker, const RecurrentSpec& spec) {
  const ValueId w = linker.input(ops::kRecurrentW);
  const ValueId r = linker.input(ops::kRecurrentR);
  const auto rows = [&](ValueId value, std::int64_t blocks) {
    for (std::int64_t block = 0; value != kNoValue && block < blocks; ++block)
      linker.join(r, 2, 0, value, 1, block * spec.hidden, spec.hidden);
  };
  rows(w, spec.gates);
  rows(r, spec.gates);
  rows(linker.input(ops::kRecurrentB), std::int64_t{2} * spec.gates);
  rows(linker.input(ops::kRecurrentPeepholes), 3);
  for (const ValueId state : {linker.input(ops::kRecurrentInitialH), linker.input(ops::kRecurrentInitialC),
                              linker.output(0), linker.output(1), linker.output(2)}) {
    if (state != kNoValue) linker.join(r, 2, state, linker.shape(state).rank() - 1);
  }
}

/// What the gates read: rows of W are their outputs.
LinearRead gate_read(Linker& linker, const RecurrentSpec& spec, Slot inputs, int weights_input) {
  const ValueId weights = linker.input(weights_input);
  const std::int64_t count = linker.shape(weights)[2];
  LinearRead read;
  read.node = linker.context().id();
  read.inputs = inputs;
  read.count = count;
  read.outputs = linker.slot(linker.input(ops::kRecurrentW), 1);
  read.output_count = spec.gates * spec.hidden;
  read.weights = linker.facts().known(weights);
  read.in_stride = 1;
  read.out_stride = count;
  read.taps = spec.directions;
  read.tap_stride = read.output_count * count;
  read.no_fold = "the bias of a recurrent layer does not take constants over";
  return read;
}

void link_recurrent(Linker& linker) {
  const ValueId x = linker.input(ops::kRecurrentX);
  const RecurrentSpec spec =
      ops::recurrent_spec(linker.context(), linker.shape(x), linker.shape(linker.input(ops::kRecurrentR)));
  constexpr const char* kSteps = "a recurrent layer steps along this axis";
  for (const ValueId value : {x, linker.output(0), linker.output(1), linker.output(2),
                              linker.input(ops::kRecurrentInitialH), linker.input(ops::kRecurrentInitialC)}) {
    for (int axis = 0; value != kNoValue && axis < linker.shape(value).rank() - 1; ++axis)
      linker.freeze_axis(value, axis, kSteps);
  }
  linker.freeze_value(linker.input(ops::kRecurrentLengths), "it holds lengths");
  join_units(linker, spec);
  linker.join(x, 2, linker.input(ops::kRecurrentW), 2);
  LinearRead inputs = gate_read(linker, spec, linker.slot(x, 2), ops::kRecurrentW);
  inputs.own_weights = linker.own_weights(linker.input(ops::kRecurrentW));
  linker.structure().reads.push_back(std::move(inputs));
  const ValueId states = shown(linker);
  if (states == kNoValue) return linker.freeze_all("only its cell state is read");
  const Slot units = linker.slot(states, linker.shape(states).rank() - 1);
  linker.structure().reads.push_back(gate_read(linker, spec, units, ops::kRecurrentR));
}

/// The state at a unit is absent or 0 to begin with.
bool starts_at_zero(const Flow& flow, int input, std::int64_t unit) {
  const ValueId state = flow.input(input);
  return state == kNoValue || flow.of(state, flow.shape(state).rank() - 1, unit) == 0.0;
}

/// A unit whose candidate gate has no weights and no bias stays at tanh(0) = 0.
void flow_recurrent(Flow& flow) {
  const Tensor* w = flow.facts().known(flow.input(ops::kRecurrentW));
  const Tensor* r = flow.facts().known(flow.input(ops::kRecurrentR));
  const Tensor* b = flow.facts().known(flow.input(ops::kRecurrentB));
  if (w == nullptr || r == nullptr || (flow.input(ops::kRecurrentB) != kNoValue && b == nullptr)) return;
  if (flow.context().has("activations")) return;
  const RecurrentSpec spec = ops::recurrent_spec(flow.context(), flow.shape(flow.input(0)), r->shape());
  const std::int64_t candidate = spec.gates - 1;  // the last gate of LSTM (iofc), GRU (zrh) and RNN
  const auto empty = [&](const Tensor& weights, std::int64_t direction, std::int64_t row) {
    const std::int64_t columns = weights.shape()[2];
    for (std::int64_t i = 0; i < columns; ++i) {
      if (number_at(weights, (direction * weights.shape()[1] + row) * columns + i) != 0.0) return false;
    }
    return true;
  };
  for (std::int64_t unit = 0; unit < spec.hidden; ++unit) {
    bool zero = starts_at_zero(flow, ops::kRecurrentInitialH, unit) &&
                starts_at_zero(flow, ops::kRecurrentInitialC, unit);
    const std::int64_t row = candidate * spec.hidden + unit;
    for (std::int64_t d = 0; d < spec.directions && zero; ++d) {
      zero = empty(*w, d, row) && empty(*r, d, row);
      for (const std::int64_t half : {std::int64_t{0}, spec.gates * spec.hidden}) {
        zero = zero && (b == nullptr || number_at(*b, d * 2 * spec.gates * spec.hidden + half + row) == 0.0);
      }
    }
    for (int i = 0; zero && i < 3; ++i) {
      if (flow.output(i) != kNoValue)
        flow.set(flow.output(i), flow.shape(flow.output(i)).rank() - 1, unit, 0.0);
    }
  }
}

void edit_recurrent(Surgeon& surgeon, NodeId id) {
  const ValueId r = surgeon.facts().graph().node(id).inputs[static_cast<std::size_t>(ops::kRecurrentR)];
  if (surgeon.facts().shape(r) == nullptr || !surgeon.touches(r, 2)) return;
  surgeon.graph().node(id).attributes["hidden_size"] =
      surgeon.kept_in(r, 2, 0, (*surgeon.facts().shape(r))[2]);
}

constexpr Rule kRules[] = {
    {.op = "LSTM", .link = link_recurrent, .flow = flow_recurrent, .edit = edit_recurrent},
    {.op = "GRU", .link = link_recurrent, .flow = flow_recurrent, .edit = edit_recurrent},
    {.op = "RNN", .link = link_recurrent, .flow = flow_recurrent, .edit = edit_recurrent},
};

}  // namespace

std::span<const Rule> recurrent_rules() { return kRules; }

}  // namespace ember::surgery
