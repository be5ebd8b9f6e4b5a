#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ember/audit.hpp>
#include <ember/error.hpp>
#include <ember/session.hpp>

#include "audit/feed.hpp"
#include "audit/firing.hpp"
#include "audit/gradient.hpp"
#include "audit/loss.hpp"
#include "ops/activation_pattern.hpp"
#include "runtime/session_impl.hpp"

namespace ember {

namespace {

using namespace auditing;

/// Below this a gradient is 0 in float32, subnormals flushed.
constexpr double kZero = 0x1p-126;

/// A layer of the report, and where its values before the activation are.
struct Target {
  LayerReport* layer = nullptr;
  std::string value;
  int variable = -1;
  int axis = 1;
  bool squashing = false;
  bool known = true;  ///< false: the gradient would have to pass an operator without a rule
  double squares = 0.0;
  std::vector<double> channel_squares;
  std::vector<std::int64_t> channel_nonzero;
};

class BackPropagation {
 public:
  BackPropagation(const Model& model, Samples& samples, AuditReport& report, const GradientOptions& options)
      : model_(model), samples_(samples), report_(report), options_(options), feed_(one_sample(model)) {
    if (static_cast<std::int64_t>(options.labels.size()) != samples.count()) {
      throw Error(ErrorCode::InvalidData,
                  fmt::format("there are {} labels for {} samples", options.labels.size(), samples.count()),
                  {.tensor = samples.description(), .cure = "give one label for each sample of the data"});
    }
  }

  void run() {
    find_targets();
    const Shape one = feed_.shape();
    const std::int64_t lanes = feed_.open_batch() ? gradient_lanes(model_, feed_.input(), one, 32) : 1;
    const Formulas formulas(model_, {{feed_.input(), one}});
    per_lane_ = static_cast<std::size_t>(feed_.batch());
    Loss loss(model_, formulas, feed_.batch());
    check_labels(loss);
    std::vector<std::string> watched = {loss.value()};
    for (const Target& target : targets_) watched.push_back(target.value);
    Gradient gradient(model_, {{feed_.input(), one}}, options_.threads, watched, lanes);
    if (feed_.open_batch()) feed_.set_batch(lanes);
    drop_mixed(gradient.formulas());
    GradientReport& out = report_.gradient.emplace();
    choose_samples(gradient.formulas());
    for (std::size_t first = 0; first < chosen_.size(); first += static_cast<std::size_t>(feed_.batch())) {
      const auto some = std::span(chosen_).subspan(
          first, std::min(static_cast<std::size_t>(feed_.batch()), chosen_.size() - first));
      propagate(gradient, loss, some, first == 0);
    }
    out.output = loss.output();
    out.loss = loss.description();
    out.classes = loss.classes();
    out.samples = static_cast<std::int64_t>(chosen_.size());
    out.mean_loss = loss_ / static_cast<double>(chosen_.size());
    out.vanishing_below = options_.vanishing_below;
    measure_accuracy(loss);
    conclude();
  }

 private:
  static Feed one_sample(const Model& model) {
    Feed feed(model, 0, 1);
    if (feed.open_batch()) feed.set_batch(1);
    return feed;
  }

  void find_targets() {
    const auto graph = runtime::optimized_graph(model_);
    for (const ops::ActivationPattern& pattern : ops::find_activations(*graph)) {
      const std::string& value = graph->value(pattern.output).name;
      const auto layer = std::ranges::find(report_.layer_reports, value, &LayerReport::value);
      if (layer == report_.layer_reports.end() || layer->channels.empty()) continue;
      targets_.push_back({.layer = &*layer,
                          .value = graph->value(pattern.input).name,
                          .squashing = firing_of(pattern.function, 0).nature == Nature::Squashing});
    }
  }

  void check_labels(const Loss& loss) const {
    for (std::int64_t i = 0; i < report_.samples; ++i) {
      const std::int64_t label = options_.labels[static_cast<std::size_t>(i)];
      if (label >= 0 && label < loss.labels()) continue;
      throw Error(
          ErrorCode::InvalidData, fmt::format("sample {} has the label {}", i, label),
          {.model = model_.name(),
           .tensor = loss.output(),
           .cure = fmt::format("labels are classes from 0 to {}: the output has {} score{} per sample",
                               loss.labels() - 1, loss.classes(), loss.classes() == 1 ? "" : "s")});
    }
  }

  /// Layers whose samples are not apart along the first axis, or that are not among the formulas.
  void drop_mixed(const Formulas& formulas) {
    std::erase_if(targets_, [&](Target& target) {
      target.variable = formulas.find(target.value);
      if (target.variable >= 0) {
        const Variable& variable = formulas.variable(target.variable);
        const auto channels = static_cast<std::int64_t>(target.layer->channels.size());
        const int rank = variable.shape.rank();
        target.axis =
            target.layer->channel_axis < 0 ? target.layer->channel_axis + rank : target.layer->channel_axis;
        const bool apart =
            per_lane_ == 1 || (rank > 1 && variable.shape[0] == static_cast<std::int64_t>(per_lane_));
        if (variable.known && apart && target.axis < rank && variable.shape[target.axis] == channels) {
          target.channel_squares.assign(target.layer->channels.size(), 0.0);
          target.channel_nonzero.assign(target.layer->channels.size(), 0);
          return false;
        }
      }
      unknown_.push_back(target.layer->node);
      return true;
    });
  }

  void choose_samples(const Formulas& formulas) {
    // Some seconds of derivatives, at most.
    constexpr double kAffordable = 2e9;
    constexpr std::int64_t kFewest = 16, kMost = 4096;
    std::int64_t count = options_.samples;
    if (count == 0) {
      double terms = 1.0;
      for (const auto& formula : formulas.all()) {
        const double each = formula->linear() != nullptr ? formula->linear()->terms_per_row() : 1.0;
        terms += each * static_cast<double>(formulas.variable(formula->output).size());
      }
      const double affordable = kAffordable * static_cast<double>(per_lane_) / terms;
      count = std::clamp(static_cast<std::int64_t>(std::min(affordable, static_cast<double>(kMost))), kFewest,
                         kMost);
    }
    count = std::min(count, report_.samples);
    for (std::int64_t i = 0; i < count; ++i) chosen_.push_back(i * report_.samples / count);
  }

  void propagate(Gradient& gradient, Loss& loss, std::span<const std::int64_t> which, bool first) {
    feed_.load(samples_, which, gradient.session());
    gradient.run();
    Gradient::Seed seed{.variable = gradient.formulas().find(loss.value())};
    const auto values = gradient.value(seed.variable);
    const auto each = static_cast<std::size_t>(loss.classes());
    if (values.size() != each * per_lane_ * gradient.lanes()) {
      throw Error(ErrorCode::Unsupported, "the scores of the network cannot be observed",
                  {.model = model_.name(), .tensor = loss.value(), .cure = "audit without labels"});
    }
    const auto at = [&](std::size_t sample, std::size_t element) {
      return (sample % per_lane_ * each + element) * gradient.lanes() + sample / per_lane_;
    };
    std::vector<float> scores;
    for (std::size_t s = 0; s < which.size(); ++s) {
      for (std::size_t i = 0; i < each; ++i) scores.push_back(values[at(s, i)]);
    }
    if (first) loss.look_at(scores);
    seed.values.assign(values.size(), 0.0);
    std::vector<double> derivative(each);
    for (std::size_t s = 0; s < which.size(); ++s) {
      loss_ += loss.of(std::span(scores).subspan(s * each, each),
                       options_.labels[static_cast<std::size_t>(which[s])], derivative);
      for (std::size_t i = 0; i < each; ++i) seed.values[at(s, i)] = derivative[i];
    }
    gradient.backward(std::span(&seed, 1));
    for (Target& target : targets_) {
      const auto slopes = gradient.gradient(target.variable);
      if (!slopes.empty()) count(target, gradient, slopes, which.size());
    }
    mark_unknown(gradient);
  }

  /// Adds up what the first `samples` of the batch show.
  void count(Target& target, const Gradient& gradient, std::span<const double> slopes,
             std::size_t samples) const {
    const Shape& shape = gradient.formulas().variable(target.variable).shape;
    const auto channels = target.layer->channels.size();
    const auto inner = static_cast<std::size_t>(shape.elements(target.axis + 1, shape.rank()));
    const std::size_t lanes = gradient.lanes();
    const std::size_t per_sample = slopes.size() / lanes / per_lane_;
    std::vector<double> squares(channels), largest(channels);
    for (std::size_t s = 0; s < samples; ++s) {
      std::ranges::fill(squares, 0.0);
      std::ranges::fill(largest, 0.0);
      for (std::size_t i = 0; i < per_sample; ++i) {
        const double g = slopes[(s % per_lane_ * per_sample + i) * lanes + s / per_lane_];
        const std::size_t c = i / inner % channels;
        squares[c] += g * g;
        largest[c] = std::max(largest[c], std::abs(g));
      }
      for (std::size_t c = 0; c < channels; ++c) {
        target.channel_squares[c] += squares[c];
        target.squares += squares[c];
        target.channel_nonzero[c] += largest[c] >= kZero ? 1 : 0;
      }
    }
  }

  /// Everything that a formula without a rule follows from has a gradient that is not whole.
  void mark_unknown(const Gradient& gradient) {
    if (gradient.stopped_at().empty()) return;
    const Formulas& formulas = gradient.formulas();
    std::vector<bool> missing(formulas.variables().size());
    for (const Formula* formula : gradient.stopped_at()) {
      stopped_.insert(fmt::format("{} ({})", formula->op, formula->node));
      for (const int input : formula->inputs) missing[static_cast<std::size_t>(input)] = true;
    }
    for (auto formula = formulas.all().rbegin(); formula != formulas.all().rend(); ++formula) {
      if (!missing[static_cast<std::size_t>((*formula)->output)]) continue;
      for (const int input : (*formula)->inputs) missing[static_cast<std::size_t>(input)] = true;
    }
    for (Target& target : targets_)
      target.known = target.known && !missing[static_cast<std::size_t>(target.variable)];
  }

  /// Over all samples of the report, by plain runs.
  void measure_accuracy(const Loss& loss) {
    Feed feed(model_, 0, report_.samples);
    SessionOptions options;
    options.threads = options_.threads;
    options.input_shapes = {{feed.input(), feed.shape()}};
    Session session(model_, std::move(options));
    std::vector<std::int64_t> not_finite;
    const auto each = static_cast<std::size_t>(loss.classes());
    GradientReport& out = *report_.gradient;
    for (std::int64_t done = 0; done < report_.samples; done += feed.batch()) {
      const std::int64_t n = std::min(feed.batch(), report_.samples - done);
      feed.load(samples_, done, n, session, not_finite);
      session.run();
      const std::vector<float> scores = as_floats(session.output(loss.output()));
      for (std::int64_t s = 0; s < n; ++s) {
        const auto sample = std::span(scores).subspan(static_cast<std::size_t>(s) * each, each);
        out.correct += correct(loss, sample, options_.labels[static_cast<std::size_t>(done + s)]) ? 1 : 0;
      }
    }
    out.labelled = report_.samples;
  }

  /// The output may be what a Sigmoid makes of the loss's scores: then its middle is 0.5.
  static bool correct(const Loss& loss, std::span<const float> scores, std::int64_t label) {
    if (loss.classes() == 1 && loss.output() != loss.value()) return (scores[0] > 0.5F) == (label == 1);
    return loss.correct(scores, label);
  }

  static std::vector<float> as_floats(const ConstTensorView& view) {
    std::vector<float> values(static_cast<std::size_t>(view.shape().elements()));
    const auto widen = [&]<class T>(std::span<const T> from) {
      std::ranges::transform(from, values.begin(), [](T x) { return static_cast<float>(x); });
    };
    switch (view.type()) {
      case DataType::Float32: widen(view.data<float>()); break;
      case DataType::Float64: widen(view.data<double>()); break;
      case DataType::Float16: widen(view.data<Half>()); break;
      case DataType::BFloat16: widen(view.data<BFloat>()); break;
      default: break;
    }
    return values;
  }

  void conclude() {
    const auto count = static_cast<double>(chosen_.size());
    double largest = 0.0;
    for (auto target = targets_.rbegin(); target != targets_.rend(); ++target) {
      if (!target->known) {
        unknown_.push_back(target->layer->node);
        continue;
      }
      LayerGradient& layer = target->layer->gradient.emplace();
      layer.norm = std::sqrt(target->squares / count);
      largest = std::max(largest, layer.norm);
      layer.ratio = largest > 0.0 ? layer.norm / largest : 0.0;
      layer.vanishing = layer.ratio < options_.vanishing_below;
      std::int64_t positions = 0, saturated = 0;
      for (std::size_t c = 0; c < target->layer->channels.size(); ++c) {
        ChannelReport& channel = target->layer->channels[c];
        channel.gradient = {.samples = static_cast<std::int64_t>(chosen_.size()),
                            .samples_nonzero = target->channel_nonzero[c],
                            .norm = std::sqrt(target->channel_squares[c] / count)};
        positions += channel.statistics.positions;
        saturated += channel.statistics.positions_saturated;
      }
      if (target->squashing && positions > 0)
        layer.saturated = static_cast<double>(saturated) / static_cast<double>(positions);
    }
    if (!unknown_.empty()) {
      report_.notes.push_back(fmt::format(
          "The gradient of {} layer{} is not known ({}{}){}", unknown_.size(),
          unknown_.size() == 1 ? "" : "s", unknown_.front(), unknown_.size() > 1 ? " and others" : "",
          stopped_.empty() ? "" : fmt::format(": no derivative rule for {}", fmt::join(stopped_, ", "))));
    }
  }

  const Model& model_;
  Samples& samples_;
  AuditReport& report_;
  const GradientOptions& options_;
  Feed feed_;
  std::size_t per_lane_ =
      1;  ///< samples in a lane of the gradient: more than one where the model fixes a batch
  std::vector<Target> targets_;
  std::vector<std::int64_t> chosen_;
  std::vector<std::string> unknown_;
  std::set<std::string> stopped_;
  double loss_ = 0.0;
};

}  // namespace

void back_propagate(const Model& model, Samples& samples, AuditReport& report,
                    const GradientOptions& options) {
  BackPropagation(model, samples, report, options).run();
}

}  // namespace ember
