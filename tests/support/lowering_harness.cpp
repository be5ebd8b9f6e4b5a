#include "support/lowering_harness.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/table.hpp"
#include "ops/interpreter.hpp"
#include "simd/isa.hpp"
#include "support/random_tensor.hpp"
#include "support/two_workers.hpp"

namespace ember::test {

namespace {

using kernels::ActivationKind;
using ops::Layout;
using ops::TensorDesc;

constexpr float kPaddingGarbage = -2741.5F;  // finite, as the blocked layout promises

/// Memory between two guard zones. Starts as all-ones bytes, which are NaN as floats.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t bytes) : bytes_(bytes), memory_(allocate_aligned(bytes + 2 * kGuard)) {
    std::memset(memory_.get(), 0xFF, bytes + 2 * kGuard);
  }
  [[nodiscard]] void* data() const { return static_cast<std::byte*>(memory_.get()) + kGuard; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool intact() const {
    const auto* all = static_cast<const std::byte*>(memory_.get());
    const auto untouched = [](std::byte b) { return b == std::byte{0xFF}; };
    return std::all_of(all, all + kGuard, untouched) &&
           std::all_of(all + kGuard + bytes_, all + 2 * kGuard + bytes_, untouched);
  }

 private:
  static constexpr std::size_t kGuard = 256;
  std::size_t bytes_;
  std::shared_ptr<void> memory_;
};

/// Weights that a lowering wants packed.
struct PackJob {
  const Tensor* source;
  std::shared_ptr<GuardedBuffer> buffer;
  std::size_t count;
  ops::PackFill fill;

  /// False when more was written than asked for.
  [[nodiscard]] bool run() const {
    auto* floats = static_cast<float*>(buffer->data());
    std::fill_n(floats, count, 0.0F);
    fill(*source, floats);
    return buffer->intact();
  }
};

class TestLowerContext final : public ops::LowerContext {
 public:
  TestLowerContext(const graph::Graph& graph, graph::NodeId id, simd::Isa isa)
      : LowerContext(graph, id), table_(&kernels::table(isa)) {}

  [[nodiscard]] const kernels::KernelTable& kernels() const override { return *table_; }
  [[nodiscard]] int block() const override { return table_->block; }
  ops::PackedWeights pack(const Tensor& source, std::string_view, std::size_t count,
                          ops::PackFill fill) override {
    auto buffer = std::make_shared<GuardedBuffer>(count * sizeof(float));
    auto* floats = static_cast<float*>(buffer->data());
    jobs_.push_back({&source, buffer, count, std::move(fill)});
    return {std::move(buffer), floats};
  }
  /// What pack() was asked for so far.
  [[nodiscard]] std::vector<PackJob> jobs() && { return std::move(jobs_); }

 private:
  const kernels::KernelTable* table_;
  std::vector<PackJob> jobs_;
};

bool may_block(const TensorDesc& desc) { return desc.type == DataType::Float32 && desc.shape.rank() >= 3; }

std::int64_t channel_of(const Shape& shape, std::int64_t element) {
  return shape.rank() < 2 ? 0 : element / shape.elements(2, shape.rank()) % shape[1];
}

/// Calls visit(float&) for every padding element of a blocked tensor.
template <class Visit>
void for_each_padding(const TensorDesc& desc, float* data, Visit&& visit) {
  if (desc.layout != Layout::Blocked) return;
  const std::int64_t positions = desc.shape.elements(2, desc.shape.rank());
  const std::int64_t blocks = (desc.shape[1] + desc.block - 1) / desc.block;
  for (std::int64_t i = 0; i < desc.stored_elements(); ++i) {
    const std::int64_t channel = i / (positions * desc.block) % blocks * desc.block + i % desc.block;
    if (channel >= desc.shape[1]) visit(data[i]);
  }
}

void convert(const TensorDesc& from, Layout to, int block, const kernels::KernelTable& table,
             const void* source, void* target) {
  SerialParallel serial;
  const void* const in[] = {source};
  void* const out[] = {target};
  ops::make_layout_conversion(from, to, block, table)
      ->run({.inputs = in, .outputs = out, .parallel = serial});
}

GuardedBuffer stored(const Tensor& tensor, const TensorDesc& desc, const kernels::KernelTable& table) {
  GuardedBuffer buffer(desc.bytes());
  if (desc.layout == Layout::Plain) {
    if (tensor.bytes() != 0) std::memcpy(buffer.data(), tensor.raw(), tensor.bytes());
    return buffer;
  }
  convert({.type = desc.type, .shape = desc.shape}, Layout::Blocked, desc.block, table, tensor.raw(),
          buffer.data());
  for_each_padding(desc, static_cast<float*>(buffer.data()), [](float& x) { x = kPaddingGarbage; });
  return buffer;
}

Tensor logical(const GuardedBuffer& buffer, const TensorDesc& desc, const kernels::KernelTable& table) {
  Tensor tensor(desc.type, desc.shape);
  if (desc.layout == Layout::Blocked) {
    convert(desc, Layout::Plain, desc.block, table, buffer.data(), tensor.raw());
  } else if (tensor.bytes() != 0) {
    std::memcpy(tensor.raw(), buffer.data(), tensor.bytes());
  }
  return tensor;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

/// The first difference beyond tolerance as text, or nothing.
std::string difference(const Tensor& got, const Tensor& want, const LoweringCase& test, double slack) {
  if (want.type() != DataType::Float32) return same_bits(got, want) ? "" : "elements differ";
  const auto x = got.data<float>();
  const auto y = want.data<float>();
  const double absolute = test.exact ? 0 : slack * test.absolute;
  const double relative = test.exact ? 0 : slack * test.relative;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]))) continue;
    const double error = std::abs(double{x[i]} - double{y[i]});
    if (error <= absolute + relative * std::abs(double{y[i]}) && std::isfinite(y[i])) continue;
    return fmt::format("element {} of {} is {}, the reference says {}", i, to_string(want.shape()), x[i],
                       y[i]);
  }
  return "";
}

/// Everything the runs of one case share.
class Harness {
 public:
  explicit Harness(const LoweringCase& test)
      : test_(test), id_(test.graph.order().at(0)), node_(test.graph.node(id_)) {
    std::vector<const Tensor*> pointers;
    for (const graph::ValueId value : node_.inputs) {
      const Tensor* constant = test.graph.constant(value);
      constants_.push_back(constant);
      pointers.push_back(value == graph::kNoValue ? nullptr
                         : constant != nullptr    ? constant
                                                  : &test.inputs.at(test.graph.value(value).name));
    }
    expected_ = ops::evaluate_node(test.graph, id_, pointers);
    if (test.epilogue.residual) {
      residual_ = test.residual.empty() ? random_tensor(expected_[0].shape(), 77) : test.residual;
      pointers.push_back(&residual_);
      constants_.push_back(nullptr);
    }
    inputs_ = pointers;
    apply_epilogue();
  }

  LoweringResult run() {
    std::vector<std::size_t> eligible;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i] != nullptr && constants_[i] == nullptr && may_block(describe(i, Layout::Plain, 1)))
        eligible.push_back(i);
    }
    const std::size_t masks = std::size_t{1} << std::min<std::size_t>(eligible.size(), 3);
    for (const ops::Candidate& candidate : ops::candidates(node_.op)) {
      for (const simd::Isa isa : simd::available_isas()) {
        for (std::size_t mask = 0; mask < masks; ++mask) {
          std::vector<Layout> given(inputs_.size(), Layout::Plain);
          for (std::size_t e = 0; e < eligible.size(); ++e) {
            // Beyond three, the inputs follow the third.
            if ((mask >> std::min<std::size_t>(e, 2) & 1U) != 0) given[eligible[e]] = Layout::Blocked;
          }
          try_candidate(candidate, isa, given);
        }
      }
    }
    return std::move(result_);
  }

  Tensor run_one(std::string_view implementation, simd::Isa isa) {
    const kernels::KernelTable& table = kernels::table(isa);
    for (const ops::Candidate& candidate : ops::candidates(node_.op)) {
      if (candidate.implementation != implementation) continue;
      std::vector<TensorDesc> inputs(inputs_.size());
      std::vector<TensorDesc> outputs(expected_.size());
      TestLowerContext context(test_.graph, id_, isa);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (inputs_[i] != nullptr) inputs[i] = describe(i, Layout::Plain, table.block);
      }
      for (std::size_t i = 0; i < outputs.size(); ++i)
        outputs[i] = {.type = expected_[i].type(), .shape = expected_[i].shape()};
      context.inputs = inputs;
      context.outputs = outputs;
      context.constants = constants_;
      context.epilogue = test_.epilogue;
      const ops::LowerResult answer = candidate.consider(context);
      REQUIRE(std::holds_alternative<ops::Lowered>(answer));
      const auto& lowered = std::get<ops::Lowered>(answer);
      for (std::size_t i = 0; i < lowered.input_layouts.size(); ++i)
        inputs[i].layout = lowered.input_layouts[i];
      for (std::size_t i = 0; i < lowered.output_layouts.size(); ++i) {
        outputs[i].layout = lowered.output_layouts[i];
        outputs[i].block = table.block;
      }
      SerialParallel serial;
      return execute(*lowered.step, table, inputs, outputs, serial, -1, "one run").front();
    }
    FAIL("no such implementation");
    return {};
  }

 private:
  [[nodiscard]] TensorDesc describe(std::size_t i, Layout layout, int block) const {
    return {.type = inputs_[i]->type(), .shape = inputs_[i]->shape(), .layout = layout, .block = block};
  }

  void apply_epilogue() {
    if (test_.epilogue.empty()) return;
    const Shape shape = expected_[0].shape();
    const auto y = expected_[0].data<float>();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::int64_t channel = channel_of(shape, static_cast<std::int64_t>(i));
      double value = activate(test_.epilogue.before, double{y[i]}, channel);
      if (test_.epilogue.residual) value += double{residual_.data<float>()[i]};
      y[i] = static_cast<float>(activate(test_.epilogue.after, value, channel));
    }
  }

  void fail(const std::string& run, const std::string& what) {
    result_.failures.push_back(fmt::format("{}: {}: {}", node_.op, run, what));
  }

  void try_candidate(const ops::Candidate& candidate, simd::Isa isa, const std::vector<Layout>& given) {
    std::string run = fmt::format("{} {} ", candidate.implementation, simd::to_string(isa));
    for (const Layout layout : given) run += layout == Layout::Blocked ? 'b' : 'p';
    const kernels::KernelTable& table = kernels::table(isa);
    ops::LowerResult answer;
    std::vector<TensorDesc> inputs(inputs_.size());
    std::vector<TensorDesc> outputs(expected_.size());
    std::vector<PackJob> jobs;
    {
      // The context is gone before weights are packed and the step runs: they may keep nothing of it.
      TestLowerContext context(test_.graph, id_, isa);
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        if (inputs_[i] != nullptr) inputs[i] = describe(i, given[i], table.block);
      }
      for (std::size_t i = 0; i < expected_.size(); ++i)
        outputs[i] = {.type = expected_[i].type(), .shape = expected_[i].shape()};
      context.inputs = inputs;
      context.outputs = outputs;
      context.constants = constants_;
      context.epilogue = test_.epilogue;
      answer = candidate.consider(context);
      jobs = std::move(context).jobs();
    }
    for (const PackJob& job : jobs) {
      if (!job.run()) fail(run, "pack() was filled beyond its end");
    }
    const std::string name(candidate.implementation);
    if (const auto* refusal = std::get_if<ops::Refusal>(&answer)) {
      result_.refusals[name] = refusal->reason;
      return;
    }
    const auto& lowered = std::get<ops::Lowered>(answer);
    result_.accepted.insert(name);
    const auto layout_at = [](const std::vector<Layout>& layouts, std::size_t i) {
      return i < layouts.size() ? layouts[i] : Layout::Plain;
    };
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i].layout = layout_at(lowered.input_layouts, i);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      outputs[i].layout = layout_at(lowered.output_layouts, i);
      outputs[i].block = table.block;
    }
    const auto blocked = [](const TensorDesc& desc) { return desc.layout == Layout::Blocked; };
    if (std::ranges::any_of(inputs, blocked) || std::ranges::any_of(outputs, blocked))
      result_.accepted_blocked.insert(name);
    run_step(lowered, table, inputs, outputs, run);
  }

  void run_step(const ops::Lowered& lowered, const kernels::KernelTable& table,
                const std::vector<TensorDesc>& inputs, const std::vector<TensorDesc>& outputs,
                const std::string& run) {
    SerialParallel serial;
    TwoWorkers two;
    const auto alone = execute(*lowered.step, table, inputs, outputs, serial, -1, run + " 1 worker");
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      if (expected_[i].empty()) continue;
      const auto slack = test_.slack.find(run.substr(0, run.find(' ')));
      const std::string what =
          difference(alone[i], expected_[i], test_, slack == test_.slack.end() ? 1.0 : slack->second);
      if (!what.empty()) fail(run, fmt::format("output {}: {}", i, what));
    }
    const auto expect_same = [&](const std::vector<Tensor>& other, const std::string& how) {
      for (std::size_t i = 0; i < other.size(); ++i) {
        if (!same_bits(alone[i], other[i])) fail(run, fmt::format("output {}: {} gives other bits", i, how));
      }
    };
    expect_same(execute(*lowered.step, table, inputs, outputs, two, -1, run + " 2 workers"), "2 workers");
    const int shared = lowered.in_place;
    if (shared < 0 || constants_.at(static_cast<std::size_t>(shared)) != nullptr) return;
    if (inputs[static_cast<std::size_t>(shared)].bytes() != outputs[0].bytes()) {
      fail(run, "in place on an input of another size");
      return;
    }
    expect_same(execute(*lowered.step, table, inputs, outputs, two, shared, run + " in place"),
                "working in place");
  }

  std::vector<Tensor> execute(const ops::Step& step, const kernels::KernelTable& table,
                              const std::vector<TensorDesc>& inputs, const std::vector<TensorDesc>& outputs,
                              Parallel& parallel, int shared, const std::string& run) {
    std::vector<GuardedBuffer> in;
    std::vector<const void*> in_pointers;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool absent = inputs_[i] == nullptr || constants_[i] != nullptr;
      in.push_back(absent ? GuardedBuffer(0) : stored(*inputs_[i], inputs[i], table));
      in_pointers.push_back(absent ? nullptr : in.back().data());
    }
    std::vector<GuardedBuffer> out;
    std::vector<void*> out_pointers;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (i == 0 && shared >= 0) out.push_back(in[static_cast<std::size_t>(shared)]);
      else out.emplace_back(outputs[i].bytes());
      out_pointers.push_back(expected_[i].empty() ? nullptr : out.back().data());
    }
    const GuardedBuffer scratch(step.scratch_bytes(parallel.threads()));
    step.run({.inputs = in_pointers,
              .outputs = out_pointers,
              .scratch = static_cast<std::byte*>(scratch.data()),
              .parallel = parallel});
    ++result_.runs;
    if (!scratch.intact()) fail(run, "wrote outside its scratch");
    check_inputs(in, in_pointers, inputs, table, shared, run);
    std::vector<Tensor> made;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!out[i].intact()) fail(run, fmt::format("wrote outside output {}", i));
      for_each_padding(outputs[i], static_cast<float*>(out[i].data()), [&, said = false](float x) mutable {
        if (std::isfinite(x) || said) return;
        fail(run, fmt::format("channel padding of output {} is not finite", i));
        said = true;
      });
      made.push_back(expected_[i].empty() ? Tensor() : logical(out[i], outputs[i], table));
    }
    return made;
  }

  void check_inputs(const std::vector<GuardedBuffer>& in, const std::vector<const void*>& pointers,
                    const std::vector<TensorDesc>& inputs, const kernels::KernelTable& table, int shared,
                    const std::string& run) {
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (pointers[i] == nullptr || static_cast<int>(i) == shared) continue;
      if (!in[i].intact() || !same_bits(logical(in[i], inputs[i], table), *inputs_[i]))
        fail(run, fmt::format("changed input {}", i));
    }
  }

  const LoweringCase& test_;
  graph::NodeId id_;
  const graph::Node& node_;
  std::vector<const Tensor*> constants_;
  std::vector<const Tensor*> inputs_;
  std::vector<Tensor> expected_;
  Tensor residual_;
  LoweringResult result_;
};

}  // namespace

double activate(const kernels::Activation& a, double x, std::int64_t channel) {
  const double alpha = double{a.alpha};
  const double beta = double{a.beta};
  const auto clamp = [](double v, double low, double high) {
    return std::isnan(v) ? v : std::min(std::max(v, low), high);
  };
  switch (a.kind) {
    case ActivationKind::None: return x;
    case ActivationKind::Relu: return x < 0 ? 0 : x;
    case ActivationKind::LeakyRelu: return x < 0 ? alpha * x : x;
    case ActivationKind::PRelu: return x < 0 ? double{a.slopes[a.slope_count == 1 ? 0 : channel]} * x : x;
    case ActivationKind::Elu: return x < 0 ? alpha * std::expm1(x) : x;
    case ActivationKind::Selu: return beta * (x < 0 ? alpha * std::expm1(x) : x);
    case ActivationKind::Celu: return x < 0 ? alpha * std::expm1(x / alpha) : x;
    case ActivationKind::ThresholdedRelu: return x > alpha ? x : 0;
    case ActivationKind::Gelu: return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationKind::GeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case ActivationKind::Sigmoid: return 1 / (1 + std::exp(-x));
    case ActivationKind::HardSigmoid: return clamp(alpha * x + beta, 0, 1);
    case ActivationKind::HardSwish: return x * clamp(x / 6 + 0.5, 0, 1);
    case ActivationKind::Silu: return x / (1 + std::exp(-alpha * x));
    case ActivationKind::Mish: return x * std::tanh(std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
    case ActivationKind::Softplus: return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    case ActivationKind::Softsign: return x / (1 + std::abs(x));
    case ActivationKind::Tanh: return std::tanh(x);
    case ActivationKind::Clip: return clamp(x, alpha, beta);
  }
  return x;
}

LoweringResult run_lowerings(const LoweringCase& test) { return Harness(test).run(); }

Tensor run_candidate(const LoweringCase& test, std::string_view implementation, simd::Isa isa) {
  return Harness(test).run_one(implementation, isa);
}

}  // namespace ember::test
