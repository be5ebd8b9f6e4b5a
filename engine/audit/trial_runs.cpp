#include "audit/trial_runs.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "ops/activation_pattern.hpp"
#include "runtime/session_impl.hpp"

namespace ember::auditing {

TrialRuns::TrialRuns(const Model& model, Samples& samples, std::int64_t audited,
                     const ExplainOptions& options)
    : samples_(samples), audited_(audited), options_(options), feed_(model, 0, samples.count()) {
  constexpr std::int64_t kMost = 16;
  if (feed_.open_batch()) feed_.set_batch(std::min(feed_.batch(), kMost));
}

int TrialRuns::watch_activation(const std::string& output, const kernels::Activation& activation,
                                bool last_axis, std::vector<std::int64_t> channels) {
  watched_.push_back({output, activation, last_axis, true, std::move(channels), nullptr});
  return static_cast<int>(watched_.size()) - 1;
}

int TrialRuns::watch_output(const std::string& output, const kernels::Activation& activation, bool last_axis,
                            std::vector<std::int64_t> channels) {
  watched_.push_back({output, activation, last_axis, false, std::move(channels), nullptr});
  return static_cast<int>(watched_.size()) - 1;
}

ChannelStatistics TrialRuns::seen(int watched, std::int64_t channel) const {
  return watched_[static_cast<std::size_t>(watched)].watch->totals().statistics(channel);
}

std::span<const Range> TrialRuns::ranges(int watched, std::int64_t channel) const {
  return watched_[static_cast<std::size_t>(watched)].watch->ranges(channel);
}

/// How many samples are affordable, spread evenly over those of the report.
void TrialRuns::choose_samples(double flops_per_sample) {
  constexpr double kAffordable = 1e11;
  constexpr std::int64_t kLeast = 16;
  constexpr std::int64_t kMost = 256;
  std::int64_t count = options_.samples;
  if (count <= 0) {
    const double affordable = kAffordable / std::max(1.0, flops_per_sample);
    count = affordable >= static_cast<double>(kMost)
                ? kMost
                : std::max(kLeast, static_cast<std::int64_t>(affordable));
  }
  const std::int64_t total = std::max<std::int64_t>(1, std::min(audited_, samples_.count()));
  count = std::min(count, total);
  for (std::int64_t i = 0; i < count; ++i) {
    // i * total / count without overflow
    chosen_.push_back(i * (total / count) + i * (total % count) / count);
  }
}

void TrialRuns::run(const Model& network) {
  while (!pass(network)) feed_.set_batch(1);
  next_ = watched_.size();
}

/// False: values mix the batch with another axis, and samples have to come one by one.
bool TrialRuns::pass(const Model& network) {
  const auto graph = runtime::optimized_graph(network);
  std::map<std::string, std::string> before;  // the inputs of activations, by their outputs
  for (const ops::ActivationPattern& pattern : ops::find_activations(*graph))
    before[graph->value(pattern.output).name] = graph->value(pattern.input).name;
  const auto watches = std::span(watched_).subspan(next_);
  std::vector<runtime::ProbePoint> probes;
  for (Watched& each : watches) {
    // Samples are summed one by one where each leaves its extremes, and all together elsewhere.
    const bool apart = !each.channels.empty();
    each.watch = apart ? std::make_unique<ChannelWatch>(each.activation, each.last_axis)
                       : std::make_unique<ChannelWatch>(each.activation, each.last_axis, samples_.count() + 1,
                                                        samples_.count());
    each.watch->keep_ranges(each.channels);
    if (each.before_activation) {
      probes.push_back({before.at(each.value), each.watch.get(), each.watch->rule()});
    } else {
      probes.push_back({each.value, each.watch.get(), std::nullopt});
    }
  }
  SessionOptions options;
  options.threads = options_.threads;
  options.input_shapes = {{feed_.input(), feed_.shape()}};
  Session session = runtime::make_session(network, std::move(options), std::move(probes));
  if (chosen_.empty()) choose_samples(session.flops() / static_cast<double>(feed_.batch()));
  outputs_.clear();
  if (!compared_.empty()) constant_outputs_ = true;
  const auto all = static_cast<std::int64_t>(chosen_.size());
  for (std::int64_t done = 0; done < all;) {
    const std::int64_t n = std::min(feed_.batch(), all - done);
    feed_.load(samples_,
               std::span(chosen_).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)),
               session);
    if (notes_least_) note_input(session);
    // The last sample of the data ends the only segment.
    const std::int64_t from = done + n == all ? samples_.count() - n : done;
    for (const Watched& each : watches) each.watch->expect(feed_.batch(), n, from);
    session.run();
    note_outputs(session);
    done += n;
    const bool mixed =
        std::ranges::any_of(watches, [](const Watched& each) { return each.watch->batch_missing(); });
    if (mixed && feed_.open_batch() && feed_.batch() > 1) return false;
  }
  return true;
}

void TrialRuns::note_input(Session& session) {
  const TensorView input = session.input(feed_.input());
  if (input.type() != DataType::Float32) return;
  for (const float value : input.data<float>()) least_input_ = std::min(least_input_, value);
}

void TrialRuns::note_outputs(const Session& session) {
  const auto batch = static_cast<std::size_t>(feed_.batch());
  for (const std::string& name : compared_) {
    const ConstTensorView output = session.output(name);
    const auto* bytes = static_cast<const char*>(output.raw());
    const bool batched = batch > 1 && output.shape().rank() > 0 && output.shape()[0] == feed_.batch();
    const std::size_t each = output.bytes() / (batched ? batch : 1);
    std::string& known = outputs_[name];
    if (known.empty()) known.assign(bytes, each);
    for (std::size_t at = 0; at < output.bytes(); at += std::max<std::size_t>(1, each)) {
      const bool same = known.size() == each && std::memcmp(known.data(), bytes + at, each) == 0;
      constant_outputs_ = constant_outputs_ && same;
    }
  }
}

}  // namespace ember::auditing
