#include "surgery/unit_response.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include <ember/session.hpp>

#include "audit/feed.hpp"

namespace ember::surgery {

namespace {

/// Adds one run's positions to the channels' totals.
class Totals {
 public:
  Totals(const std::vector<std::int64_t>& channels, std::int64_t samples)
      : channels_(channels), sums_(channels.size()), squares_(channels.size()), responses_(channels.size()) {
    for (UnitResponse& response : responses_) {
      response.highest.assign(static_cast<std::size_t>(samples), -std::numeric_limits<float>::infinity());
    }
  }

  /// Samples first, …, first + n − 1 of a run of `batch`; `whole`: all positions belong to one sample.
  void add(const ConstTensorView& view, int axis, std::int64_t first, std::int64_t n, std::int64_t batch) {
    const Shape& shape = view.shape();
    if (axis < 0) axis += shape.rank();
    const std::span<const float> values = view.data<float>();
    const std::int64_t outer = shape.elements(0, axis);
    const std::int64_t count = shape[axis];
    const std::int64_t inner = shape.elements(axis + 1, shape.rank());
    const std::int64_t rows = outer / batch;  // per sample
    for (std::int64_t o = 0; o < n * rows; ++o) {
      const auto sample = static_cast<std::size_t>(first + o / rows);
      for (std::size_t c = 0; c < channels_.size(); ++c) {
        const auto from = static_cast<std::size_t>((o * count + channels_[c]) * inner);
        add(c, sample, values.subspan(from, static_cast<std::size_t>(inner)));
      }
    }
    positions_ += static_cast<double>(n * rows * inner);
  }

  std::vector<UnitResponse> take() {
    for (std::size_t c = 0; c < channels_.size(); ++c) {
      responses_[c].mean = sums_[c] / positions_;
      responses_[c].variance =
          std::max(0.0, squares_[c] / positions_ - responses_[c].mean * responses_[c].mean);
    }
    return std::move(responses_);
  }

 private:
  void add(std::size_t channel, std::size_t sample, std::span<const float> values) {
    float& highest = responses_[channel].highest[sample];
    double sum = 0, squares = 0;
    for (const float value : values) {
      highest = std::max(highest, value);
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    sums_[channel] += sum;
    squares_[channel] += squares;
  }

  const std::vector<std::int64_t>& channels_;
  std::vector<double> sums_, squares_;
  std::vector<UnitResponse> responses_;
  double positions_ = 0;
};

}  // namespace

std::vector<UnitResponse> measure_responses(graph::Graph graph, graph::ValueId value, int axis,
                                            const std::vector<std::int64_t>& channels, Samples& samples,
                                            const ResponseOptions& options) {
  graph.outputs = {value};
  graph.remove_dead();
  const std::string name = graph.value(value).name;
  const Model model(std::make_shared<const graph::Graph>(std::move(graph)));
  const std::int64_t total =
      options.samples > 0 ? std::min(options.samples, samples.count()) : samples.count();
  auditing::Feed feed(model, options.batch, total);
  for (;;) {
    Totals totals(channels, total);
    SessionOptions session_options;
    session_options.threads = options.threads;
    session_options.input_shapes = {{feed.input(), feed.shape()}};
    Session session(model, session_options);
    std::vector<std::int64_t> ignored;
    bool apart = true;
    for (std::int64_t done = 0; done < total && apart;) {
      const std::int64_t n = std::min(feed.batch(), total - done);
      feed.load(samples, done, n, session, ignored);
      session.run();
      const ConstTensorView view = session.output(name);
      apart = view.shape()[0] == feed.batch() || feed.batch() == 1;
      if (apart) totals.add(view, axis, done, n, feed.batch());
      done += n;
    }
    if (apart) return totals.take();
    if (!feed.open_batch()) {
      throw Error(ErrorCode::Unsupported, "the samples of a batch cannot be told apart",
                  {.model = model.name(), .tensor = name, .cure = "export the model with a batch of 1"});
    }
    feed.set_batch(1);
  }
}

Threshold threshold_for(std::vector<float> highest, double share) {
  std::ranges::sort(highest, std::greater<>());
  const auto n = static_cast<std::ptrdiff_t>(highest.size());
  const auto wanted = static_cast<std::ptrdiff_t>(std::lround(share * static_cast<double>(n)));
  const std::ptrdiff_t count = std::clamp<std::ptrdiff_t>(wanted, 1, n);
  const auto at = [&](std::ptrdiff_t i) { return static_cast<double>(highest[static_cast<std::size_t>(i)]); };
  Threshold threshold;
  if (count < n) threshold.value = (at(count - 1) + at(count)) / 2;
  else threshold.value = at(n - 1) - std::max(1e-3, 1e-3 * std::abs(at(n - 1)));
  const auto above = std::ranges::count_if(
      highest, [&](float value) { return static_cast<double>(value) > threshold.value; });
  threshold.share = static_cast<double>(above) / static_cast<double>(n);
  return threshold;
}

}  // namespace ember::surgery
