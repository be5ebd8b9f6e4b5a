#include "surgery/time_model.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include "graph/graph.hpp"
#include "surgery/cost.hpp"
#include "surgery/facts.hpp"

namespace ember::surgery {

namespace {

constexpr int kTurns = 15;        ///< of which the fastest counts, step by step
constexpr double kLeastMs = 0.1;  ///< of a turn: what is shorter runs several times
constexpr int kMostRuns = 2000;

std::string key_of(const ProfileEntry& entry) { return entry.implementation + '\n' + entry.node; }

/// A count of channels in whole vectors, over the count.
double padding(std::int64_t channels) {
  const std::int64_t block = vector_width();
  if (channels <= 0) return 1.0;
  const std::int64_t whole = (channels + block - 1) / block * block;
  return static_cast<double>(whole) / static_cast<double>(channels);
}

/// What kernels compute for a tensor, over its elements. Channels are on axis 1 of images, and on the last
/// one of matrices and sequences.
double padding(const Shape* shape) {
  if (shape == nullptr || shape->rank() < 2) return 1.0;
  return padding(shape->rank() >= 4 ? (*shape)[1] : (*shape)[shape->rank() - 1]);
}

/// Multiply-adds and elements that the steps of a network go over.
class Work {
 public:
  explicit Work(const graph::Graph& graph) : graph_(graph), facts_(graph) {
    for (const graph::NodeId id : graph.order()) nodes_.emplace(graph.label(id), id);
  }

  [[nodiscard]] double of(const ProfileEntry& entry) const {
    if (entry.op == "layout" || entry.op == "output") {
      const graph::ValueId value = graph_.find_value(entry.node);
      const Shape* shape = facts_.shape(value);
      return shape == nullptr ? 1.0 : static_cast<double>(shape->elements()) * padding(shape);
    }
    const auto found = nodes_.find(entry.node);
    if (found == nodes_.end()) return std::max(entry.flops, 1.0);
    const graph::Node& node = graph_.node(found->second);
    double work = entry.flops;
    double touched = 0.0;
    for (const auto* list : {&node.inputs, &node.outputs}) {
      for (const graph::ValueId value : *list) {
        const Shape* shape = value == graph::kNoValue ? nullptr : facts_.shape(value);
        if (shape != nullptr) touched += static_cast<double>(shape->elements());
      }
    }
    if (!node.outputs.empty()) work *= padding(facts_.shape(node.outputs[0]));
    // The channels that a convolution sums over come in whole vectors, too.
    const bool sums = node.op == "Conv" || node.op == "ConvTranspose";
    const Shape* weights = sums && node.inputs.size() > 1 ? facts_.shape(node.inputs[1]) : nullptr;
    if (weights != nullptr && weights->rank() > 2) {
      const std::int64_t summed = (*weights)[node.op == "Conv" ? 1 : 0];
      if (summed >= vector_width()) work *= padding(summed);
    }
    return std::max({work, touched, 1.0});
  }

 private:
  const graph::Graph& graph_;
  Facts facts_;
  std::map<std::string, graph::NodeId> nodes_;
};

/// A session whose steps are being timed.
struct Timed {
  Session session;
  int runs = 1;  ///< per turn
  std::vector<ProfileEntry> steps;

  Timed(const Model& model, int threads) : session(model, {.threads = threads, .profile = true}) {
    session.run();
    session.reset_profile();
    session.run();
    steps = session.profile();
    double once = 1e-6;
    for (ProfileEntry& step : steps) {
      once += step.milliseconds;
      step.milliseconds = std::numeric_limits<double>::infinity();
    }
    runs = std::clamp(static_cast<int>(kLeastMs / once), 1, kMostRuns);
  }

  void turn() {
    session.reset_profile();
    for (int i = 0; i < runs; ++i) session.run();
    const std::vector<ProfileEntry> now = session.profile();
    for (std::size_t i = 0; i < steps.size(); ++i)
      steps[i].milliseconds = std::min(steps[i].milliseconds, now[i].milliseconds / runs);
  }
};

void add_step(StepTimes& times, const ProfileEntry& entry, double milliseconds) {
  StepTimes::Step step{.labels = entry.fused, .milliseconds = milliseconds};
  step.labels.push_back(entry.node);
  times.milliseconds += milliseconds;
  times.steps.push_back(std::move(step));
}

}  // namespace

std::vector<StepTimes> time_steps(std::span<const Model> models, int threads) {
  std::vector<Timed> timed;
  timed.reserve(models.size());
  for (const Model& model : models) timed.emplace_back(model, threads);
  for (int turn = 0; turn < kTurns; ++turn) {
    for (Timed& each : timed) each.turn();
  }
  std::vector<StepTimes> times(models.size());
  for (std::size_t i = 0; i < timed.size(); ++i) {
    for (const ProfileEntry& entry : timed[i].steps) add_step(times[i], entry, entry.milliseconds);
  }
  return times;
}

TimeModel::TimeModel(const Model& model, int threads) : threads_(threads) {
  Timed timed(model, threads);
  for (int turn = 0; turn < kTurns; ++turn) timed.turn();
  const Work work(model.graph());
  double sum = 0.0;
  overhead_ = std::numeric_limits<double>::infinity();
  const std::vector<ProfileEntry>& entries = timed.steps;
  for (const ProfileEntry& entry : entries) {
    overhead_ = std::min(overhead_, entry.milliseconds);
    sum += entry.milliseconds;
  }
  if (entries.empty()) overhead_ = 0.0;
  for (const ProfileEntry& entry : entries) {
    const Known known{.work = work.of(entry), .milliseconds = entry.milliseconds - overhead_};
    steps_.emplace(key_of(entry), known);
    for (Known* total : {&kernels_[entry.implementation], &all_}) {
      total->work += known.work;
      total->milliseconds += known.milliseconds;
    }
  }
  const std::array models{model};
  if (sum > 0.0) scale_ = measure(models, threads).front() / sum;
}

double TimeModel::milliseconds_of(const ProfileEntry& entry, double work) const {
  const auto same = steps_.find(key_of(entry));
  if (same != steps_.end() && same->second.work > 0.0)
    return overhead_ + same->second.milliseconds * work / same->second.work;
  const auto kernel = kernels_.find(entry.implementation);
  const Known& known = kernel != kernels_.end() ? kernel->second : all_;
  return overhead_ + (known.work > 0.0 ? known.milliseconds * work / known.work : 0.0);
}

StepTimes TimeModel::predict(const Model& model) const {
  const Session session(model, {.threads = threads_});
  const Work work(model.graph());
  StepTimes predicted;
  for (const ProfileEntry& entry : session.profile())
    add_step(predicted, entry, scale_ * milliseconds_of(entry, work.of(entry)));
  return predicted;
}

}  // namespace ember::surgery
