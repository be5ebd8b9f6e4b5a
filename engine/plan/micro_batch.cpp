#include "plan/micro_batch.hpp"

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <set>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/op.hpp"
#include "plan/batch_rules.hpp"

namespace ember::plan {

using graph::kNoValue;
using graph::NodeId;
using graph::ValueId;

namespace {

/// Bytes of the caches, and bytes per nanosecond that one thread gets out of each level, as measured on
/// the machine of the kernels' tuning. Only their proportions matter.
struct Memory {
  double second_level, third_level;
  static constexpr double kSecondRate = 255, kThirdRate = 110, kMainRate = 45;

  /// The rate at which something is read again after `bytes` others went through.
  [[nodiscard]] double rate(double bytes) const {
    // What a level holds beside: the stack, tables, and lines that fell into the same set.
    if (bytes <= 0.75 * second_level) return kSecondRate;
    if (bytes <= 0.6 * third_level) return kThirdRate;
    return kMainRate;
  }
};

/// What the system says of the first processor's caches. (sysconf adds up those of all sockets.)
Memory this_machine() {
  Memory memory{.second_level = 1 << 20, .third_level = 16 << 20};
  for (int index = 0; index < 8; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", index);
    int level = 0;
    double kilobytes = 0;  // the file says "1024K"
    if (!(std::ifstream(folder + "level") >> level) || !(std::ifstream(folder + "size") >> kilobytes)) break;
    if (level == 2) memory.second_level = 1024 * kilobytes;
    if (level == 3) memory.third_level = 1024 * kilobytes;
  }
  return memory;
}

/// Floating-point operations per nanosecond of a good kernel, and what a step costs before it computes.
constexpr double kOperationRate = 200;
constexpr double kStepNanoseconds = 300;
/// The share of streaming weights that computing does not hide.
constexpr double kUnhidden = 0.25;
/// Batches whose times differ by less than this factor are equal; the smallest then needs least memory.
constexpr double kEqual = 1.005;

/// One operator, per sample.
struct Load {
  double flops = 0;
  double weights = 0;            ///< bytes, whatever the number of samples
  double read = 0, written = 0;  ///< bytes of activations
};

class CostModel {
 public:
  CostModel(const Specialized& network, std::int64_t samples) : samples_(static_cast<double>(samples)) {
    const graph::Graph& graph = network.graph;
    for (const NodeId id : graph.order()) {
      const graph::Node& node = graph.node(id);
      const ops::Operator& op = ops::operator_of(graph, id);
      Load load;
      std::vector<Shape> inputs, outputs;
      for (const ValueId v : node.inputs) {
        inputs.push_back(v == kNoValue ? Shape{0} : network.fact(v).shape.value_or(Shape{0}));
        const double bytes = v == kNoValue ? 0.0 : bytes_of(network.fact(v));
        if (graph.constant(v) != nullptr) load.weights += bytes;
        else load.read += bytes / samples_;
      }
      for (const ValueId v : node.outputs) {
        outputs.push_back(v == kNoValue ? Shape{0} : network.fact(v).shape.value_or(Shape{0}));
        if (v != kNoValue) load.written += bytes_of(network.fact(v)) / samples_;
      }
      if (op.flops == nullptr) {
        // Most of these run in their producer's epilogue.
        load.read = load.written = 0;
      } else {
        load.flops = op.flops(ops::NodeContext(graph, id), inputs, outputs) / samples_;
      }
      weights_ += load.weights;
      loads_.push_back(load);
    }
  }

  /// Nanoseconds per sample when `batch` samples go through the network together.
  [[nodiscard]] double time(std::int64_t batch) const {
    const auto together = static_cast<double>(batch);
    double widest = 0;
    for (const Load& load : loads_) widest = std::max(widest, (load.read + load.written) * together);
    const double weight_rate = memory_.rate(weights_ + widest);
    double sum = 0;
    for (const Load& load : loads_) {
      // Weights mostly stream in while others are computed with; activations that do not stay in cache are
      // waited for. What is written out of it is read first.
      const double streamed = load.weights / weight_rate / together;
      const double rate = memory_.rate((load.read + load.written) * together + load.weights);
      const double moved = (load.read + (rate == Memory::kMainRate ? 2 : 1) * load.written) / rate;
      sum += std::max(load.flops / kOperationRate, streamed) + kUnhidden * streamed + moved +
             kStepNanoseconds / together;
    }
    return sum;
  }

 private:
  static double bytes_of(const Fact& fact) {
    return fact.shape.has_value()
               ? static_cast<double>(fact.shape->elements()) * static_cast<double>(size_of(fact.type))
               : 0.0;
  }

  double samples_;
  double weights_ = 0;  ///< bytes of all of them
  std::vector<Load> loads_;
  Memory memory_ = this_machine();
};

std::map<std::string, Shape> shapes_of(const std::map<std::string, Shape>& whole, std::int64_t parts) {
  std::map<std::string, Shape> shapes;
  for (const auto& [name, shape] : whole) shapes.emplace(name, shape.with(0, shape[0] / parts));
  return shapes;
}

std::int64_t choose_samples(const Specialized& whole, std::int64_t samples) {
  const CostModel model(whole, samples);
  std::vector<std::int64_t> batches;
  double least = model.time(samples);
  for (std::int64_t batch = 1; batch <= samples; ++batch) {
    if (samples % batch != 0) continue;
    batches.push_back(batch);
    least = std::min(least, model.time(batch));
  }
  return *std::ranges::find_if(batches,
                               [&](std::int64_t batch) { return model.time(batch) <= kEqual * least; });
}

}  // namespace

Batching choose_batching(const graph::Graph& graph, const Specialized& whole, const PlanOptions& options) {
  const auto has_batch = [](const auto& input) { return input.second.rank() > 0; };
  if (options.input_shapes.empty() || !std::ranges::all_of(options.input_shapes, has_batch)) return {};
  const std::int64_t samples = options.input_shapes.begin()->second[0];
  const auto same_batch = [&](const auto& input) { return input.second[0] == samples; };
  if (samples <= 1 || !std::ranges::all_of(options.input_shapes, same_batch)) return {};
  if (!options.probes.empty()) return {.reason = "whole: its values are watched"};
  if (options.micro_batch != 0 && samples % options.micro_batch != 0) {
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("micro_batch = {} does not divide the batch of {}", options.micro_batch, samples),
                {.model = graph.metadata.model_name, .cure = "use a divisor of the batch, or 0"});
  }
  const std::int64_t batch = options.micro_batch != 0 ? options.micro_batch : choose_samples(whole, samples);
  if (batch == samples) {
    return {.reason = options.micro_batch != 0 ? "whole: as asked for"
                                               : "whole: the cost model expects nothing of smaller parts"};
  }
  Batching batching{.parts = samples / batch,
                    .input_shapes = shapes_of(options.input_shapes, samples / batch)};
  std::string coupled;
  try {
    coupled = what_couples_samples(whole, specialize(graph, batching.input_shapes), batching.parts);
  } catch (const Error& error) {
    coupled = fmt::format("it cannot run fewer samples: {}", error.reason());
  }
  if (!coupled.empty()) return {.reason = "whole: " + coupled};
  batching.reason = fmt::format("{} micro-batches of {}, {}", batching.parts, batch,
                                options.micro_batch != 0 ? "as asked for" : "for the caches");
  return batching;
}

}  // namespace ember::plan
