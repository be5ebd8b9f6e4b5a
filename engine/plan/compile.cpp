#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "kernels/table.hpp"
#include "ops/conv_chain.hpp"
#include "ops/op.hpp"
#include "plan/conv_chains.hpp"
#include "plan/fuse.hpp"
#include "plan/micro_batch.hpp"
#include "plan/pack_cache.hpp"
#include "plan/plan.hpp"
#include "plan/probes.hpp"
#include "plan/reference_step.hpp"
#include "plan/slots.hpp"
#include "plan/widen_halves.hpp"

namespace ember::plan {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;
using ops::Layout;
using ops::TensorDesc;

namespace {

class PlanLowerContext final : public ops::LowerContext {
 public:
  PlanLowerContext(const graph::Graph& graph, const Group& group, const kernels::KernelTable& table,
                   Packing& packs)
      : LowerContext(graph, group.main), table_(table), packs_(packs), bias_(group.bias) {
    bias = graph.constant(group.bias);
  }

  [[nodiscard]] const kernels::KernelTable& kernels() const override { return table_; }
  [[nodiscard]] int block() const override { return table_.block; }

  ops::PackedWeights pack(const Tensor& source, std::string_view key, std::size_t count,
                          ops::PackFill fill) override {
    const auto from = [&](ValueId v) {
      // Another instruction set packs differently under the same key.
      return packs_.get(graph().value(v).constant, fmt::format("{}:{}", simd::to_string(table_.isa), key),
                        count, std::move(fill));
    };
    if (bias != nullptr && &source == bias) return from(bias_);
    for (const ValueId v : node().inputs) {
      if (v != kNoValue && graph().constant(v) == &source) return from(v);
    }
    fail(ErrorCode::Internal, "packs a tensor that is not its constant input");
  }

 private:
  const kernels::KernelTable& table_;
  Packing& packs_;
  ValueId bias_;
};

class Compiler {
 public:
  /// `shown`: watched values that have to be shown to their probes as they are.
  Compiler(Specialized network, const PlanOptions& options, Packing& packs,
           const std::set<std::string>& shown = {})
      : plan_(std::make_shared<Plan>()),
        options_(options),
        packs_(packs),
        table_(kernels::table(options.isa)),
        slots_(*plan_, table_),
        probes_(options, shown) {
    plan_->network = std::move(network);
    plan_->isa = options.isa;
  }

  /// The plan of a micro-batch, which reads its inputs where the whole batch has them.
  std::shared_ptr<Plan> run_part() {
    reads_in_place_ = true;
    return run();
  }

  /// A plan that runs `part` on each of `parts` parts of its inputs.
  std::shared_ptr<Plan> run_whole(std::shared_ptr<const Plan> part, std::int64_t parts) {
    PlannedStep step;
    step.kind = PlannedStep::Kind::MicroBatches;
    step.op = "batch";
    step.implementation = "micro_batches";
    for (const ValueId v : graph().inputs) step.inputs.push_back(slots_.define(v, Layout::Plain));
    for (const ValueId v : graph().outputs) step.outputs.push_back(slots_.define(v, Layout::Plain));
    plan_->inputs = step.inputs;
    plan_->outputs = step.outputs;
    plan_->fully_static = part->fully_static;
    step.part_plan = std::move(part);
    step.parts = parts;
    plan_->steps.push_back(std::move(step));
    assign_memory(*plan_);
    release_constants(*plan_);
    return plan_;
  }

  std::shared_ptr<Plan> run() {
    widen_halves(plan_->network);
    probes_.find(graph());
    const std::set<ValueId> seen = probes_.values();
    merged_ = merge_activations(plan_->network, seen);
    if (options_.reference_only.empty()) {
      labels_ = merge_attention(plan_->network, seen);
      labels_.merge(merge_channel_moves(plan_->network, seen));
      labels_.merge(spread_small_groups(plan_->network, table_.block, seen));
      labels_.merge(flatten_narrow_transposed(plan_->network, table_.block));
      labels_.merge(merge_siblings(plan_->network, table_.block, seen));
    }
    labels_.insert(merged_.begin(), merged_.end());
    for (const ValueId v : graph().inputs) plan_->inputs.push_back(define_input(v));
    for (std::size_t i = 0; i < graph().captured.size(); ++i) {
      const ValueId v = graph().captured[i];
      if (graph().constant(v) == nullptr) slots_.define_captured(v, static_cast<int>(i));
    }
    for (const ValueId v : graph().inputs) probe(v);
    for (const Chain& chain : chain_convolutions(
             plan_->network, fuse(plan_->network, probes_.kept(), probes_.watched()), probes_.kept()))
      emit_chain(chain);
    for (const ValueId v : graph().outputs) plan_->outputs.push_back(finish_output(v));
    assign_memory(*plan_);
    release_constants(*plan_);
    return plan_;
  }

  /// Values that were to be watched in passing, which the kernel chosen for them cannot do. Unless empty, the
  /// plan is of no use: compile again with these shown.
  [[nodiscard]] const std::set<std::string>& unwatched() const { return unwatched_; }

 private:
  [[nodiscard]] const graph::Graph& graph() const { return plan_->network.graph; }
  [[nodiscard]] const Fact& fact(ValueId v) const { return plan_->network.fact(v); }

  int define_input(ValueId v) {
    return reads_in_place_ ? slots_.define_captured(v, static_cast<int>(plan_->inputs.size()))
                           : slots_.define(v, Layout::Plain);
  }

  /// Shows a value to those of its probes that want it as it is.
  void probe(ValueId v) {
    for (const int index : probes_.of(v)) {
      PlannedStep step;
      step.kind = PlannedStep::Kind::Probe;
      step.inputs = {probes_.request(index).plain ? slots_.in_layout(v, Layout::Plain) : slots_.made_in(v)};
      step.probe = index;
      step.node = graph().value(v).name;
      step.op = "probe";
      step.implementation = "probe";
      plan_->steps.push_back(std::move(step));
    }
  }

  /// As one step where that is offered, else its longest parts that are.
  void emit_chain(std::span<const Group> chain) {
    std::string refused;
    for (std::size_t length = chain.size(); length > 1; --length) {
      for (std::size_t first = 0; first + length <= chain.size(); ++first) {
        ops::LowerResult result = consider_chain(chain.subspan(first, length));
        if (const auto* refusal = std::get_if<ops::Refusal>(&result)) {
          if (refused.empty()) refused = fmt::format("conv_chain: {}", refusal->reason);
          continue;
        }
        for (std::size_t i = 0; i < first; ++i) emit(chain[i]);
        accept_chain(chain.subspan(first, length), std::get<ops::Lowered>(std::move(result)));
        for (std::size_t i = first + length; i < chain.size(); ++i) emit(chain[i]);
        return;
      }
    }
    for (const Group& group : chain) {
      chain_refusal_ = refused;
      emit(group);
    }
    chain_refusal_.clear();
  }

  ops::LowerResult consider_chain(std::span<const Group> chain) {
    std::vector<PlanLowerContext> contexts;
    contexts.reserve(chain.size());
    std::vector<ops::LowerContext*> stages;
    for (const Group& group : chain) {
      if (!is_static(group) || forced_to_reference(group.main))
        return ops::Refusal{"a shape only a run knows"};
      contexts.push_back(context_of(group));
      if (stages.empty()) {
        stages.push_back(&contexts.back());
        continue;
      }
      TensorDesc& between = contexts.back().inputs[0];
      between.layout = Layout::Blocked;
      between.block = table_.block;
      stages.push_back(&contexts.back());
    }
    return ops::consider_conv_chain(stages);
  }

  void accept_chain(std::span<const Group> chain, ops::Lowered lowered) {
    Group whole = chain.front();
    for (const Group& group : chain.subspan(1))
      whole.nodes.insert(whole.nodes.end(), group.nodes.begin(), group.nodes.end());
    whole.output = chain.back().output;
    std::vector<ValueId> inputs = {graph().node(whole.main).inputs[0]};
    if (chain.back().residual != kNoValue) inputs.push_back(chain.back().residual);
    std::vector<ops::PieceGrid> pieces = std::exchange(lowered.pieces, {});
    accept(whole, inputs, std::move(lowered), "conv_chain");
    if (!pieces.empty()) {
      for (std::size_t i = 0; i < chain.size(); ++i) gather(chain[i], pieces[i]);
    }
    probe(whole.output);
  }

  /// The last step gathers what is watched of a group that it runs.
  void gather(const Group& group, const ops::PieceGrid& grid) {
    for (const ValueId v : {group.watched_before, group.watched_after}) {
      plan_->steps.back().gathered.push_back(
          {probes_.watching(v),
           grid,
           {fact(group.output).type, *fact(group.output).shape, Layout::Plain, 1}});
    }
  }

  void emit(const Group& group) {
    const bool as_one = emit_steps(group);
    const bool gathered = as_one && !plan_->steps.empty() && !plan_->steps.back().gathered.empty();
    for (const ValueId v : {group.watched_before, group.watched_after}) {
      if (v != kNoValue && !gathered) unwatched_.insert(graph().value(v).name);
    }
    if (!as_one) return;  // each node has shown its own
    for (const ValueId v : graph().node(group.nodes.back()).outputs) {
      if (v != kNoValue) probe(v);
    }
  }

  /// False: as one group per node.
  bool emit_steps(const Group& group) {
    const auto branches = plan_->network.branches.find(group.main);
    if (branches != plan_->network.branches.end()) {
      emit_conditional(group.main, branches->second);
    } else if (!is_static(group)) {
      emit_dynamic(group.main);
    } else if (!emit_kernel(group)) {
      if (group.fused()) {
        for (const NodeId id : group.nodes) {
          const auto& outputs = graph().node(id).outputs;
          emit({.main = id,
                .nodes = {id},
                .epilogue = {},
                .bias = kNoValue,
                .residual = kNoValue,
                .output = outputs.empty() ? kNoValue : outputs[0],
                .watched_before = kNoValue,
                .watched_after = kNoValue});
        }
        return false;
      }
      emit_reference(group.main);
    }
    return true;
  }

  [[nodiscard]] bool is_static(const Group& group) const {
    const graph::Node& node = graph().node(group.main);
    const auto known = [&](ValueId v) { return plan_->network.is_static(v); };
    return std::ranges::all_of(node.inputs, known) && std::ranges::all_of(node.outputs, known);
  }

  PlannedStep describe(NodeId id, const std::string& implementation) {
    PlannedStep step;
    step.node_id = id;
    step.node = graph().label(id);
    step.op = graph().node(id).op;
    step.implementation = implementation;
    step.refusals = std::exchange(refusals_, {});
    if (const auto labels = labels_.find(id); labels != labels_.end()) step.fused = labels->second;
    return step;
  }

  [[nodiscard]] double flops(NodeId id) const {
    const graph::Node& node = graph().node(id);
    std::vector<Shape> inputs, outputs;
    double elements = 0;
    for (const ValueId v : node.inputs)
      inputs.push_back(v == kNoValue ? Shape{0} : fact(v).shape.value_or(Shape{0}));
    for (const ValueId v : node.outputs) {
      outputs.push_back(v == kNoValue ? Shape{0} : fact(v).shape.value_or(Shape{0}));
      elements += static_cast<double>(outputs.back().elements());
    }
    const ops::Operator* op = ops::find_operator(node.domain, node.op, graph().opset(node));
    if (op == nullptr)
      return double{ops::NodeContext(graph(), id).real("flops", static_cast<float>(elements))};
    return op->flops != nullptr ? op->flops(ops::NodeContext(graph(), id), inputs, outputs) : elements;
  }

  [[nodiscard]] bool forced_to_reference(NodeId id) const {
    const std::string& op = graph().node(id).op;
    return (options_.reference_only.contains("*") || options_.reference_only.contains(op)) &&
           !merged_.contains(id);
  }

  bool emit_kernel(const Group& group) {
    const graph::Node& node = graph().node(group.main);
    if (!node.domain.empty()) return false;
    if (forced_to_reference(group.main)) {
      refusals_ = "forced to the reference";
      return false;
    }
    PlanLowerContext context = context_of(group);
    std::string refused = std::exchange(chain_refusal_, {});
    for (const ops::Candidate& candidate : ops::candidates(node.op)) {
      ops::LowerResult result = candidate.consider(context);
      if (const auto* refusal = std::get_if<ops::Refusal>(&result)) {
        refused +=
            fmt::format("{}{}: {}", refused.empty() ? "" : "; ", candidate.implementation, refusal->reason);
        continue;
      }
      refusals_ = std::move(refused);
      accept(group, inputs_of(group), std::get<ops::Lowered>(std::move(result)),
             std::string(candidate.implementation));
      return true;
    }
    refusals_ = refused.empty() ? "no kernel for this operator" : std::move(refused);
    return false;
  }

  /// The main node's inputs, and the residual behind them.
  [[nodiscard]] std::vector<ValueId> inputs_of(const Group& group) const {
    std::vector<ValueId> inputs = graph().node(group.main).inputs;
    if (group.residual != kNoValue) inputs.push_back(group.residual);
    return inputs;
  }

  PlanLowerContext context_of(const Group& group) {
    PlanLowerContext context(graph(), group, table_, packs_);
    for (const ValueId v : inputs_of(group)) {
      context.constants.push_back(graph().constant(v));
      context.inputs.push_back(v == kNoValue ? TensorDesc{} : slots_.desc(v));
    }
    const graph::Node& node = graph().node(group.main);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId v = i == 0 ? group.output : node.outputs[i];
      context.outputs.push_back(v == kNoValue ? TensorDesc{}
                                              : TensorDesc{fact(v).type, *fact(v).shape, Layout::Plain, 1});
    }
    context.epilogue = group.epilogue;
    const auto rule_of = [&](ValueId v) { return probes_.request(probes_.watching(v)).watch; };
    if (group.watched_before != kNoValue) context.epilogue.watch_before = rule_of(group.watched_before);
    if (group.watched_after != kNoValue) context.epilogue.watch_after = rule_of(group.watched_after);
    context.watched = probes_.any();
    return context;
  }

  void accept(const Group& group, const std::vector<ValueId>& inputs, ops::Lowered lowered,
              const std::string& implementation) {
    const graph::Node& node = graph().node(group.main);
    PlannedStep step = describe(group.main, implementation);
    step.step = std::move(lowered.step);
    step.in_place = lowered.in_place;
    step.placements = std::move(lowered.placements);
    const auto layout_at = [](const std::vector<Layout>& layouts, std::size_t i) {
      return i < layouts.size() ? layouts[i] : Layout::Plain;
    };
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool given = inputs[i] != kNoValue && graph().constant(inputs[i]) == nullptr;
      step.inputs.push_back(given ? slots_.in_layout(inputs[i], layout_at(lowered.input_layouts, i))
                                  : kNoSlot);
    }
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId v = i == 0 ? group.output : node.outputs[i];
      step.outputs.push_back(v == kNoValue ? kNoSlot
                                           : slots_.define(v, layout_at(lowered.output_layouts, i)));
    }
    for (const NodeId id : group.nodes) step.flops += flops(id);
    for (std::size_t i = 1; i < group.nodes.size(); ++i) {
      const auto labels = labels_.find(group.nodes[i]);
      if (labels == labels_.end()) step.fused.push_back(graph().label(group.nodes[i]));
      else step.fused.insert(step.fused.end(), labels->second.begin(), labels->second.end());
    }
    plan_->steps.push_back(std::move(step));
    if (!lowered.pieces.empty()) gather(group, lowered.pieces.front());
  }

  void emit_reference(NodeId id) {
    const graph::Node& node = graph().node(id);
    PlannedStep step = describe(id, "reference");
    step.kind = PlannedStep::Kind::Reference;
    std::vector<ConstTensorView> inputs;
    std::vector<TensorView> outputs;
    for (const ValueId v : node.inputs) {
      const Tensor* constant = graph().constant(v);
      if (v == kNoValue) inputs.emplace_back();
      else if (constant != nullptr) inputs.push_back(constant->view());
      else inputs.emplace_back(fact(v).type, *fact(v).shape, nullptr);
      step.inputs.push_back(v == kNoValue || constant != nullptr ? kNoSlot
                                                                 : slots_.in_layout(v, Layout::Plain));
    }
    for (const ValueId v : node.outputs) {
      outputs.emplace_back(v == kNoValue ? TensorView{} : TensorView{fact(v).type, *fact(v).shape, nullptr});
      step.outputs.push_back(v == kNoValue ? kNoSlot : slots_.define(v, Layout::Plain));
    }
    step.flops = flops(id);
    step.step = make_reference_step(graph(), id, std::move(inputs), std::move(outputs));
    plan_->fully_static = false;
    plan_->steps.push_back(std::move(step));
  }

  void emit_dynamic(NodeId id) {
    const graph::Node& node = graph().node(id);
    PlannedStep step = describe(id, "reference");
    step.kind = PlannedStep::Kind::Dynamic;
    step.refusals = "a shape depends on data, so nothing can be planned";
    for (const ValueId v : node.inputs)
      step.inputs.push_back(v == kNoValue ? kNoSlot : slots_.in_layout(v, Layout::Plain));
    for (const ValueId v : node.outputs)
      step.outputs.push_back(v == kNoValue ? kNoSlot : slots_.define(v, Layout::Plain));
    plan_->steps.push_back(std::move(step));
  }

  void emit_conditional(NodeId id, Specialized::Branches& branches) {
    const graph::Node& node = graph().node(id);
    PlannedStep step = describe(id, "branch");
    step.kind = PlannedStep::Kind::Conditional;
    step.inputs = {slots_.in_layout(node.inputs[0], Layout::Plain)};
    for (const bool taken : {true, false}) {
      const Branch branch = branch_of(graph(), id, taken);
      auto& captures = taken ? step.then_captures : step.else_captures;
      for (const ValueId v : branch.captures) captures.push_back(slots_.in_layout(v, Layout::Plain));
      PlanOptions inner = options_;
      inner.input_shapes.clear();
      inner.probes.clear();
      auto plan =
          Compiler(std::move(*(taken ? branches.then_branch : branches.else_branch)), inner, packs_).run();
      for (const PlannedStep& inner_step : plan->steps) step.flops = std::max(step.flops, inner_step.flops);
      (taken ? step.then_plan : step.else_plan) = std::move(plan);
    }
    for (const ValueId v : node.outputs)
      step.outputs.push_back(v == kNoValue ? kNoSlot : slots_.define(v, Layout::Plain));
    plan_->fully_static = false;
    plan_->steps.push_back(std::move(step));
  }

  /// An output is plain, and its memory is its own: not an input's, a constant's or a captured value's.
  int finish_output(ValueId v) {
    const int slot = slots_.in_layout(v, Layout::Plain);
    const Slot& held = slots_[slot];
    const bool is_input = std::ranges::find(plan_->inputs, slot) != plan_->inputs.end();
    const bool repeated = std::ranges::find(plan_->outputs, slot) != plan_->outputs.end();
    if (held.kind == Slot::Kind::Dynamic || (held.kind == Slot::Kind::Arena && !is_input && !repeated))
      return slot;
    Slot own;
    own.name = held.name;
    own.desc = held.desc;
    const int to = slots_.add(std::move(own));
    PlannedStep step;
    step.kind = PlannedStep::Kind::Copy;
    step.inputs = {slot};
    step.outputs = {to};
    step.node = graph().value(v).name;
    step.op = "output";
    step.implementation = "copy";
    plan_->steps.push_back(std::move(step));
    return to;
  }

  std::shared_ptr<Plan> plan_;
  const PlanOptions& options_;
  Packing& packs_;
  const kernels::KernelTable& table_;
  Slots slots_;
  Probes probes_;
  std::set<std::string> unwatched_;
  Labels merged_;  ///< activations merged from several nodes
  Labels labels_;  ///< of all nodes that rewrites made
  std::string refusals_;
  std::string chain_refusal_;  ///< why the next group does not run in a chain
  bool reads_in_place_ = false;
};

}  // namespace

namespace {

/// A plan of the whole batch. What was to be watched in passing and cannot be is shown in a second attempt.
std::shared_ptr<Plan> compile_whole(const graph::Graph& graph, Specialized network,
                                    const PlanOptions& options, Packing& packs) {
  std::set<std::string> shown;
  while (true) {
    Compiler compiler(std::move(network), options, packs, shown);
    std::shared_ptr<Plan> plan = compiler.run();
    if (compiler.unwatched().empty()) return plan;
    shown.insert(compiler.unwatched().begin(), compiler.unwatched().end());
    network = specialize(graph, options.input_shapes);
  }
}

}  // namespace

std::shared_ptr<const Plan> compile(const graph::Graph& graph, const PlanOptions& options, Packing& packs) {
  Specialized whole = specialize(graph, options.input_shapes);
  Batching batching = choose_batching(graph, whole, options);
  std::shared_ptr<Plan> plan;
  if (batching.parts > 1) {
    PlanOptions of_part = options;
    of_part.input_shapes = batching.input_shapes;
    auto part = Compiler(specialize(graph, of_part.input_shapes), of_part, packs).run_part();
    plan = Compiler(std::move(whole), options, packs).run_whole(std::move(part), batching.parts);
  } else {
    plan = compile_whole(graph, std::move(whole), options, packs);
  }
  plan->batching = std::move(batching.reason);
  return plan;
}

}  // namespace ember::plan
