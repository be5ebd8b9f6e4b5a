#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <ember/tensor.hpp>

#include "core/parallel.hpp"
#include "plan/plan.hpp"
#include "runtime/probe.hpp"

namespace ember::runtime {

/// Time of each step of a plan, summed over runs.
struct StepTimes {
  std::vector<double> milliseconds;
  std::int64_t runs = 0;
};

/// A plan with memory to run it in. One thread at a time.
class Execution {
 public:
  /// `workers`: how many threads the Parallel given to run() may use.
  Execution(std::shared_ptr<const plan::Plan> plan, int workers);

  /// Runs all steps. `probes` in the order of PlanOptions::probes; `times` may be null.
  void run(Parallel& parallel, std::span<Probe* const> probes, StepTimes* times);

  /// Time of each step of the micro-batches that step `at` runs, summed over them; when profiled.
  [[nodiscard]] std::vector<double> part_times(std::size_t at) const;
  void reset_part_times();
  /// Bytes of activations, those of micro-batches included.
  [[nodiscard]] std::size_t arena_bytes() const;

  [[nodiscard]] TensorView input(std::size_t i) const;
  [[nodiscard]] ConstTensorView output(std::size_t i) const { return view(plan_->outputs[i]); }
  [[nodiscard]] const plan::Plan& plan() const noexcept { return *plan_; }

 private:
  /// A worker's memory for micro-batches.
  struct Part {
    std::unique_ptr<Execution> execution;
    StepTimes times;
  };
  /// The pointers of a step, resolved once.
  struct Binding {
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    std::unique_ptr<Execution> then_branch, else_branch;
    std::vector<Part> parts;                      ///< micro-batches: one per worker
    std::vector<std::shared_ptr<void>> gathered;  ///< memory of `pieces`
    std::vector<kernels::PieceTotals*> pieces;    ///< by PlannedStep::gathered; empty between runs
  };

  void bind(std::size_t step);
  [[nodiscard]] void* address(int slot) const;
  [[nodiscard]] ConstTensorView view(int slot) const;
  void run_step(std::size_t at, Parallel& parallel, std::span<Probe* const> probes, bool timed);
  void run_kernel(const plan::PlannedStep& step, const Binding& binding, Parallel& parallel,
                  std::span<Probe* const> probes);
  void run_dynamic(const plan::PlannedStep& step);
  void run_branch(const plan::PlannedStep& step, Binding& binding, Parallel& parallel);
  void run_micro_batches(const plan::PlannedStep& step, Binding& binding, Parallel& parallel, bool timed);
  /// Runs on other captured values than before.
  void rebind();
  void run_probe(const plan::PlannedStep& step, Parallel& parallel, std::span<Probe* const> probes);
  /// Gives an output slot its content: into the arena, or as a tensor of its own.
  void store(int slot, Tensor value);

  std::shared_ptr<const plan::Plan> plan_;
  std::shared_ptr<void> arena_, scratch_;
  std::vector<Binding> bindings_;
  std::vector<Tensor> dynamic_;            ///< by slot; empty for the others
  std::vector<ConstTensorView> captured_;  ///< branches and micro-batches only
  std::vector<std::size_t> capturing_;     ///< steps that read them
};

}  // namespace ember::runtime
