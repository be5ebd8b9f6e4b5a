#include "runtime/execution.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "core/aligned_memory.hpp"
#include "ops/interpreter.hpp"

namespace ember::runtime {

using plan::PlannedStep;
using plan::Slot;

Execution::Execution(std::shared_ptr<const plan::Plan> plan, int workers)
    : plan_(std::move(plan)), bindings_(plan_->steps.size()), dynamic_(plan_->slots.size()) {
  // Inputs that are run before they are filled read zeros, and channel padding is finite.
  arena_ = allocate_zeroed(plan_->arena_bytes);
  std::size_t scratch = 0;
  for (const PlannedStep& step : plan_->steps) {
    if (step.step != nullptr) scratch = std::max(scratch, step.step->scratch_bytes(workers));
  }
  scratch_ = allocate_aligned(scratch);
  for (std::size_t at = 0; at < plan_->steps.size(); ++at) {
    bind(at);
    const PlannedStep& step = plan_->steps[at];
    for (const plan::Gathered& gathered : step.gathered) {
      std::shared_ptr<void> memory;
      if (gathered.probe >= 0) {
        memory =
            allocate_zeroed(static_cast<std::size_t>(gathered.grid.count()) * sizeof(kernels::PieceTotals));
      }
      bindings_[at].pieces.push_back(static_cast<kernels::PieceTotals*>(memory.get()));
      bindings_[at].gathered.push_back(std::move(memory));
    }
    if (step.then_plan != nullptr)
      bindings_[at].then_branch = std::make_unique<Execution>(step.then_plan, workers);
    if (step.else_plan != nullptr)
      bindings_[at].else_branch = std::make_unique<Execution>(step.else_plan, workers);
    if (step.part_plan != nullptr) {
      bindings_[at].parts.resize(static_cast<std::size_t>(workers));
      for (Part& part : bindings_[at].parts) {
        part.execution = std::make_unique<Execution>(step.part_plan, 1);
        part.execution->captured_.resize(step.inputs.size());
      }
    }
    const bool captures = std::ranges::any_of(step.inputs, [&](int slot) {
      return slot != plan::kNoSlot &&
             plan_->slots[static_cast<std::size_t>(slot)].kind == Slot::Kind::Captured;
    });
    if (captures) capturing_.push_back(at);
  }
}

void Execution::rebind() {
  for (const std::size_t at : capturing_) bind(at);
}

void* Execution::address(int slot) const {
  if (slot == plan::kNoSlot) return nullptr;
  const Slot& held = plan_->slots[static_cast<std::size_t>(slot)];
  switch (held.kind) {
    case Slot::Kind::Arena: return static_cast<std::byte*>(arena_.get()) + held.offset;
    case Slot::Kind::Constant: return const_cast<void*>(held.constant->raw());
    case Slot::Kind::Captured:
      return captured_.empty() ? nullptr
                               : const_cast<void*>(captured_[static_cast<std::size_t>(held.captured)].raw());
    case Slot::Kind::Dynamic: return const_cast<void*>(dynamic_[static_cast<std::size_t>(slot)].raw());
  }
  return nullptr;
}

ConstTensorView Execution::view(int slot) const {
  const Slot& held = plan_->slots[static_cast<std::size_t>(slot)];
  if (held.kind == Slot::Kind::Dynamic) return dynamic_[static_cast<std::size_t>(slot)].view();
  if (held.kind == Slot::Kind::Captured) return captured_[static_cast<std::size_t>(held.captured)];
  return {held.desc.type, held.desc.shape, address(slot)};
}

TensorView Execution::input(std::size_t i) const {
  const int slot = plan_->inputs[i];
  const ops::TensorDesc& desc = plan_->slots[static_cast<std::size_t>(slot)].desc;
  return {desc.type, desc.shape, address(slot)};
}

void Execution::bind(std::size_t at) {
  const PlannedStep& step = plan_->steps[at];
  Binding& binding = bindings_[at];
  binding.inputs.clear();
  binding.outputs.clear();
  for (const int slot : step.inputs) binding.inputs.push_back(address(slot));
  for (const int slot : step.outputs) binding.outputs.push_back(address(slot));
}

void Execution::run(Parallel& parallel, std::span<Probe* const> probes, StepTimes* times) {
  if (times == nullptr) {
    for (std::size_t at = 0; at < bindings_.size(); ++at) run_step(at, parallel, probes, false);
    return;
  }
  times->milliseconds.resize(bindings_.size());
  ++times->runs;
  for (std::size_t at = 0; at < bindings_.size(); ++at) {
    const auto start = std::chrono::steady_clock::now();
    run_step(at, parallel, probes, true);
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    times->milliseconds[at] += elapsed.count();
  }
}

void Execution::run_step(std::size_t at, Parallel& parallel, std::span<Probe* const> probes, bool timed) {
  const PlannedStep& step = plan_->steps[at];
  Binding& binding = bindings_[at];
  switch (step.kind) {
    case PlannedStep::Kind::Kernel:
    case PlannedStep::Kind::Reference: run_kernel(step, binding, parallel, probes); return;
    case PlannedStep::Kind::Copy: {
      const ConstTensorView from = view(step.inputs[0]);
      if (from.bytes() != 0) std::memcpy(binding.outputs[0], from.raw(), from.bytes());
      return;
    }
    case PlannedStep::Kind::Dynamic: run_dynamic(step); return;
    case PlannedStep::Kind::Conditional: run_branch(step, binding, parallel); return;
    case PlannedStep::Kind::Probe: run_probe(step, parallel, probes); return;
    case PlannedStep::Kind::MicroBatches: run_micro_batches(step, binding, parallel, timed); return;
  }
}

void Execution::run_kernel(const PlannedStep& step, const Binding& binding, Parallel& parallel,
                           std::span<Probe* const> probes) {
  step.step->run({.inputs = binding.inputs,
                  .outputs = binding.outputs,
                  .scratch = static_cast<std::byte*>(scratch_.get()),
                  .pieces = binding.pieces,
                  .parallel = parallel});
  for (std::size_t i = 0; i < step.gathered.size(); ++i) {
    const plan::Gathered& gathered = step.gathered[i];
    if (gathered.probe < 0) continue;
    probes[static_cast<std::size_t>(gathered.probe)]->observe(PieceData{.pieces = binding.pieces[i],
                                                                        .grid = gathered.grid,
                                                                        .desc = gathered.desc,
                                                                        .kernels = kernels::table(plan_->isa),
                                                                        .parallel = parallel});
  }
}

void Execution::run_dynamic(const PlannedStep& step) {
  std::vector<Tensor> wrapped;
  wrapped.reserve(step.inputs.size());
  std::vector<const Tensor*> inputs;
  for (const int slot : step.inputs) {
    if (slot == plan::kNoSlot) {
      inputs.push_back(nullptr);
      continue;
    }
    const Slot& held = plan_->slots[static_cast<std::size_t>(slot)];
    if (held.kind == Slot::Kind::Constant) {
      inputs.push_back(held.constant.get());
    } else if (held.kind == Slot::Kind::Dynamic) {
      inputs.push_back(&dynamic_[static_cast<std::size_t>(slot)]);
    } else {
      const ConstTensorView content = view(slot);
      inputs.push_back(&wrapped.emplace_back(
          Tensor::adopt(content.type(), content.shape(), nullptr, const_cast<void*>(content.raw()))));
    }
  }
  std::vector<Tensor> results = ops::evaluate_node(plan_->network.graph, step.node_id, inputs);
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    if (step.outputs[i] != plan::kNoSlot) store(step.outputs[i], std::move(results[i]));
  }
}

void Execution::run_branch(const PlannedStep& step, Binding& binding, Parallel& parallel) {
  const bool taken = view(step.inputs[0]).data<bool>()[0];
  Execution& branch = taken ? *binding.then_branch : *binding.else_branch;
  branch.captured_.clear();
  for (const int slot : taken ? step.then_captures : step.else_captures)
    branch.captured_.push_back(view(slot));
  branch.rebind();
  branch.run(parallel, {}, nullptr);
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    if (step.outputs[i] != plan::kNoSlot) store(step.outputs[i], Tensor(branch.output(i)));
  }
}

void Execution::run_micro_batches(const PlannedStep& step, Binding& binding, Parallel& parallel, bool timed) {
  std::mutex failing;
  std::exception_ptr failure;  // a reference may refuse what it is given, which a loop's body must not
  const auto run_part = [&](std::int64_t at, int worker) {
    Part& part = binding.parts[static_cast<std::size_t>(worker)];
    Execution& execution = *part.execution;
    const plan::Plan& plan = execution.plan();
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const ops::TensorDesc& desc = plan.slots[static_cast<std::size_t>(plan.inputs[i])].desc;
      const auto offset = static_cast<std::size_t>(at) * desc.bytes();
      execution.captured_[i] = {desc.type, desc.shape,
                                static_cast<const std::byte*>(binding.inputs[i]) + offset};
    }
    execution.rebind();
    SerialParallel serial;
    try {
      execution.run(serial, {}, timed ? &part.times : nullptr);
    } catch (...) {
      const std::scoped_lock lock(failing);
      failure = std::current_exception();
      return;
    }
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      const ConstTensorView result = execution.output(i);
      std::memcpy(static_cast<std::byte*>(binding.outputs[i]) + static_cast<std::size_t>(at) * result.bytes(),
                  result.raw(), result.bytes());
    }
  };
  // Every part is a whole network: worth handing over, however small.
  constexpr std::int64_t kAlways = std::int64_t{1} << 40;
  parallel.for_each(step.parts, kAlways, run_part);
  if (failure != nullptr) std::rethrow_exception(failure);
}

std::vector<double> Execution::part_times(std::size_t at) const {
  std::vector<double> sum(plan_->steps[at].part_plan->steps.size(), 0.0);
  for (const Part& part : bindings_[at].parts) {
    for (std::size_t i = 0; i < part.times.milliseconds.size(); ++i) sum[i] += part.times.milliseconds[i];
  }
  return sum;
}

void Execution::reset_part_times() {
  for (Binding& binding : bindings_) {
    for (Part& part : binding.parts) part.times = {};
  }
}

std::size_t Execution::arena_bytes() const {
  std::size_t bytes = plan_->arena_bytes;
  for (const Binding& binding : bindings_) {
    for (const Part& part : binding.parts) bytes += part.execution->arena_bytes();
  }
  return bytes;
}

void Execution::run_probe(const PlannedStep& step, Parallel& parallel, std::span<Probe* const> probes) {
  const int slot = step.inputs[0];
  ops::TensorDesc desc = plan_->slots[static_cast<std::size_t>(slot)].desc;
  if (plan_->slots[static_cast<std::size_t>(slot)].kind == Slot::Kind::Dynamic) {
    const Tensor& tensor = dynamic_[static_cast<std::size_t>(slot)];
    desc = {tensor.type(), tensor.shape(), ops::Layout::Plain, 1};
  }
  probes[static_cast<std::size_t>(step.probe)]->observe(
      ProbeData{.data = static_cast<const float*>(address(slot)),
                .desc = desc,
                .kernels = kernels::table(plan_->isa),
                .parallel = parallel});
}

void Execution::store(int slot, Tensor value) {
  if (plan_->slots[static_cast<std::size_t>(slot)].kind == Slot::Kind::Arena) {
    if (value.bytes() != 0) std::memcpy(address(slot), value.raw(), value.bytes());
  } else {
    dynamic_[static_cast<std::size_t>(slot)] = std::move(value);
  }
}

}  // namespace ember::runtime
