#include <ember/checkpoints.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "audit/channel_axis.hpp"
#include "audit/channel_watch.hpp"
#include "audit/feed.hpp"
#include "audit/producer.hpp"
#include "audit/twin_graph.hpp"
#include "audit/upstream.hpp"
#include "ops/activation_pattern.hpp"
#include "plan/specialize.hpp"
#include "runtime/session_impl.hpp"

namespace ember {

namespace {

using namespace auditing;

/// How a channel's parameters are followed from one checkpoint to the next.
struct Layer {
  ops::ActivationPattern pattern;
  std::optional<Producer> producer;
  bool last_axis = false;
};

/// A checkpoint as stated, BatchNormalization not folded.
struct Network {
  std::shared_ptr<const graph::Graph> graph;
  std::vector<Layer> layers;  ///< as the report's
};

Network network_of(const Model& model, const AuditReport& report) {
  Network network{.graph = runtime::optimized_graph(model, {.disabled_passes = {"batchnorm_folding"}})};
  std::map<std::string, ops::ActivationPattern> by_value;
  for (ops::ActivationPattern& pattern : ops::find_activations(*network.graph)) {
    by_value.emplace(network.graph->value(pattern.output).name, std::move(pattern));
  }
  for (const LayerReport& layer : report.layers()) {
    Layer followed;
    if (const auto found = by_value.find(layer.value); found != by_value.end()) {
      followed.pattern = found->second;
      std::string why;
      followed.producer = find_producer(*network.graph, followed.pattern.input, why);
      followed.last_axis = channels_last(*network.graph, followed.pattern.input);
      const bool fits = followed.producer &&
                        followed.producer->channels == static_cast<std::int64_t>(layer.channels.size());
      if (!fits) followed.producer.reset();
    }
    network.layers.push_back(std::move(followed));
  }
  return network;
}

/// Everything per channel that makes its value: names of constants by node and input.
std::vector<Producer::Parameter> per_channel(const Producer& producer) {
  std::vector<Producer::Parameter> parameters = producer.added;
  if (producer.batch_norm != graph::kNoNode) {
    for (const int input : {1, 3, 4}) parameters.push_back({producer.batch_norm, input});
  }
  return parameters;
}

std::vector<double> parameters_of(const graph::Graph& graph, const Producer& producer, std::int64_t channel) {
  const std::vector<float> row = producer.row(graph, channel);
  std::vector<double> theta(row.begin(), row.end());
  for (const Producer::Parameter& parameter : producer.added)
    theta.push_back(entry(graph, parameter, channel));
  if (producer.batch_norm != graph::kNoNode) theta.push_back(entry(graph, {producer.batch_norm, 1}, channel));
  return theta;
}

double norm(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// The same operators in the same order, so that parameters of one fit the other.
bool alike(const Network& a, const Producer& one, const Network& b, const Producer& other) {
  const auto shape = [](const Network& network, const Producer& producer) {
    return network.graph->constant(network.graph->node(producer.linear).inputs[1])->shape();
  };
  if (one.nodes.size() != other.nodes.size() || one.added.size() != other.added.size() ||
      one.axis != other.axis || !(shape(a, one) == shape(b, other))) {
    return false;
  }
  for (std::size_t i = 0; i < one.nodes.size(); ++i) {
    if (a.graph->node(one.nodes[i]).op != b.graph->node(other.nodes[i]).op) return false;
  }
  return true;
}

class Follower {
 public:
  Follower(std::span<const Model> models, Samples& samples, const AuditOptions& options)
      : models_(models), samples_(samples), options_(options) {}

  Checkpoints run() {
    AuditOptions counting = options_;
    counting.explain = false;
    for (const Model& model : models_) {
      result_.reports.push_back(audit(model, samples_, counting));
      require_same(result_.reports.front(), result_.reports.back());
      networks_.push_back(network_of(model, result_.reports.back()));
    }
    find_events();
    choose_samples();
    for (int k = 0; k + 1 < checkpoints(); ++k) examine(k);
    for (Death& death : result_.deaths) judge(death);
    return std::move(result_);
  }

 private:
  [[nodiscard]] int checkpoints() const { return static_cast<int>(models_.size()); }
  [[nodiscard]] const ChannelReport& channel(int k, std::size_t layer, std::int64_t c) const {
    return result_.reports[static_cast<std::size_t>(k)].layers()[layer].channels[static_cast<std::size_t>(c)];
  }
  [[nodiscard]] bool silent(int k, std::size_t layer, std::int64_t c) const {
    return never_fired(channel(k, layer, c));
  }

  static void require_same(const AuditReport& first, const AuditReport& other) {
    bool same = first.layers().size() == other.layers().size();
    for (std::size_t i = 0; same && i < first.layers().size(); ++i) {
      same = first.layers()[i].op == other.layers()[i].op &&
             first.layers()[i].channels.size() == other.layers()[i].channels.size();
    }
    if (same) return;
    throw Error(ErrorCode::InvalidData,
                fmt::format("'{}' and '{}' are not checkpoints of one network: their layers differ",
                            first.model, other.model),
                {.cure = "give checkpoints of one training run, in order"});
  }

  void find_events() {
    const AuditReport& front = result_.reports.front();
    for (int k = 0; k < checkpoints(); ++k) {
      for (std::size_t l = 0; l < front.layers().size(); ++l) {
        for (const ChannelReport& each : front.layers()[l].channels) {
          const std::int64_t c = each.index;
          const bool now = silent(k, l, c);
          const bool before = k > 0 && silent(k - 1, l, c);
          if (now && !before) {
            Death death{.layer = l,
                        .node = front.layers()[l].node,
                        .channel = c,
                        .last_fired = k - 1,
                        .first_silent = k};
            for (int later = k; later < checkpoints(); ++later)
              death.lasting = death.lasting && silent(later, l, c);
            result_.deaths.push_back(std::move(death));
          } else if (!now && before) {
            result_.births.push_back(
                {.layer = l, .node = front.layers()[l].node, .channel = c, .first_fired = k});
          }
        }
      }
    }
    for (Death& death : result_.deaths) {
      death.co_deaths = std::ranges::count_if(result_.deaths, [&](const Death& other) {
        return other.layer == death.layer && other.first_silent == death.first_silent;
      });
    }
  }

  void choose_samples() {
    constexpr std::int64_t kMost = 512;
    const std::int64_t total = result_.reports.front().samples;
    const std::int64_t count =
        std::min(options_.explain_samples > 0 ? options_.explain_samples : kMost, total);
    for (std::int64_t i = 0; i < count; ++i)
      chosen_.push_back(i * (total / count) + i * (total % count) / count);
  }

  /// Jumps and swaps of the channels that died between checkpoints k and k + 1.
  void examine(int k) {
    std::map<std::size_t, std::vector<Death*>> by_layer;
    for (Death& death : result_.deaths) {
      if (death.last_fired == k) by_layer[death.layer].push_back(&death);
    }
    const Network& old = networks_[static_cast<std::size_t>(k)];
    const Network& next = networks_[static_cast<std::size_t>(k) + 1];
    std::erase_if(by_layer, [&](const auto& each) {
      const auto& one = old.layers[each.first].producer;
      const auto& other = next.layers[each.first].producer;
      return !one || !other || !alike(old, *one, next, *other);
    });
    if (by_layer.empty()) return;
    for (const auto& [layer, deaths] : by_layer) jumps(k, layer, deaths);
    swap(old, next, by_layer, &Death::fired_new_on_old);
    swap(next, old, by_layer, &Death::fired_old_on_new);
    for (const auto& [layer, deaths] : by_layer) {
      for (Death* death : deaths) {
        const bool own = death->fired_new_on_old == 0;
        const bool upstream = death->fired_old_on_new == 0;
        death->samples = static_cast<std::int64_t>(chosen_.size());
        death->source = own && upstream ? DeathSource::Either
                        : own           ? DeathSource::Own
                        : upstream      ? DeathSource::Upstream
                                        : DeathSource::Together;
      }
    }
  }

  void jumps(int k, std::size_t layer, const std::vector<Death*>& deaths) {
    const Network& old = networks_[static_cast<std::size_t>(k)];
    const Network& next = networks_[static_cast<std::size_t>(k) + 1];
    const auto jump = [&](std::int64_t c) {
      const std::vector<double> before = parameters_of(*old.graph, *old.layers[layer].producer, c);
      std::vector<double> change = parameters_of(*next.graph, *next.layers[layer].producer, c);
      for (std::size_t i = 0; i < change.size(); ++i) change[i] -= before[i];
      return norm(change) / std::max(1e-12, norm(before));
    };
    std::vector<double> mates;
    for (std::int64_t c = 0; c < old.layers[layer].producer->channels; ++c) {
      if (!silent(k, layer, c) && !silent(k + 1, layer, c)) mates.push_back(jump(c));
    }
    const double middle = median(mates);
    std::vector<double> deviations;
    for (const double mate : mates) deviations.push_back(std::abs(mate - middle));
    const double spread = median(std::move(deviations));
    constexpr double kNormal = 0.6745;  // the median absolute deviation of a standard normal variable
    for (Death* death : deaths) {
      death->jump = jump(death->channel);
      death->mates_jump = middle;
      death->jump_z = spread > 0.0 ? kNormal * (death->jump - middle) / spread : 0.0;
    }
  }

  /// Runs `host` with the dead channels' parameters from `donor` beside its own.
  void swap(const Network& host, const Network& donor,
            const std::map<std::size_t, std::vector<Death*>>& by_layer, std::int64_t Death::* fired) {
    Feed feed(models_.front(), 0, static_cast<std::int64_t>(chosen_.size()));
    const std::vector<plan::Fact> facts =
        plan::specialize(*host.graph, plan::resolve_input_shapes(*host.graph, {{feed.input(), feed.shape()}}))
            .facts;
    const ShapedNetwork shaped{*host.graph, facts};
    TwinGraph twins(shaped);
    struct Swapped {
      std::size_t layer;
      std::string value;
      std::vector<std::int64_t> channels;
      std::unique_ptr<ChannelWatch> watch;
    };
    std::vector<Swapped> swapped;
    for (const auto& [layer, deaths] : by_layer) {
      const Producer& to = *host.layers[layer].producer;
      const Producer& from = *donor.layers[layer].producer;
      std::vector<std::int64_t> channels;
      for (const Death* death : deaths) channels.push_back(death->channel);
      TwinParameters parameters(shaped, to, channels);
      const std::vector<Producer::Parameter> targets = per_channel(to);
      const std::vector<Producer::Parameter> sources = per_channel(from);
      for (const std::int64_t c : channels) {
        parameters.set_row(c, from.row(*donor.graph, c));
        for (std::size_t i = 0; i < targets.size(); ++i) {
          parameters.set(targets[i], c, entry(*donor.graph, sources[i], c));
        }
      }
      Swapped one{.layer = layer, .channels = parameters.channels()};
      const graph::ValueId twin = twins.add(to, std::move(parameters));
      twins.keep(twin);
      one.value = twins.graph().value(twin).name;
      swapped.push_back(std::move(one));
    }
    const Model changed(std::make_shared<const graph::Graph>(std::move(twins).finish()));
    bool mixed = true;
    while (mixed) {
      std::vector<runtime::ProbePoint> probes;
      for (Swapped& each : swapped) {
        kernels::Activation activation = host.layers[each.layer].pattern.function;
        if (activation.kind == kernels::ActivationKind::PRelu)
          activation = {.kind = kernels::ActivationKind::Relu};
        each.watch = std::make_unique<ChannelWatch>(activation, host.layers[each.layer].last_axis,
                                                    samples_.count() + 1, samples_.count());
        probes.push_back({each.value, each.watch.get(), std::nullopt});
      }
      SessionOptions options;
      options.threads = options_.threads;
      options.input_shapes = {{feed.input(), feed.shape()}};
      for (const std::string& name : pass_names()) options.disabled_passes.insert(name);
      Session session = runtime::make_session(changed, std::move(options), std::move(probes));
      const auto all = static_cast<std::int64_t>(chosen_.size());
      mixed = false;
      for (std::int64_t done = 0; done < all && !mixed;) {
        const std::int64_t n = std::min(feed.batch(), all - done);
        feed.load(samples_,
                  std::span(chosen_).subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)),
                  session);
        // The last sample of the data ends the only segment.
        const std::int64_t first = done + n == all ? samples_.count() - n : done;
        for (Swapped& each : swapped) each.watch->expect(feed.batch(), n, first);
        session.run();
        done += n;
        mixed = feed.open_batch() && feed.batch() > 1 &&
                std::ranges::any_of(swapped, [](const Swapped& each) { return each.watch->batch_missing(); });
      }
      if (mixed) feed.set_batch(1);
    }
    for (const Swapped& each : swapped) {
      for (Death* death : by_layer.at(each.layer)) {
        const auto at = std::ranges::lower_bound(each.channels, death->channel) - each.channels.begin();
        death->*fired = each.watch->totals().statistics(at).samples_fired;
      }
    }
  }

  /// It fired in ever fewer samples over three checkpoints or more, and little at last.
  [[nodiscard]] bool declined(const Death& death) const {
    constexpr int kLeast = 3;
    if (death.last_fired + 1 < kLeast) return false;
    const auto rate = [&](int k) {
      const ChannelStatistics& s = channel(k, death.layer, death.channel).statistics;
      return static_cast<double>(s.samples_fired) / static_cast<double>(std::max<std::int64_t>(1, s.samples));
    };
    const int last = death.last_fired;
    return rate(last) < rate(last - 1) && rate(last - 1) < rate(last - 2) &&
           rate(last) <= 0.5 * rate(last - 2);
  }

  void judge(Death& death) const {
    constexpr double kOutlier = 3.5;  // robust z (Iglewicz and Hoaglin 1993)
    constexpr double kLarge = 0.5;    // more than half of what was there moved
    constexpr std::int64_t kCluster = 2;
    if (death.last_fired < 0) {
      death.cause = DeathCause::BornDead;
    } else if (death.source == DeathSource::Upstream) {
      death.cause = DeathCause::Upstream;
    } else if (death.jump_z > kOutlier || death.jump > kLarge) {
      death.cause = DeathCause::LearningRate;
    } else if (declined(death)) {
      death.cause = DeathCause::Decline;
    } else {
      death.cause = death.co_deaths >= kCluster ? DeathCause::LearningRate : DeathCause::Own;
    }
  }

  std::span<const Model> models_;
  Samples& samples_;
  const AuditOptions& options_;
  Checkpoints result_;
  std::vector<Network> networks_;
  std::vector<std::int64_t> chosen_;
};

}  // namespace

const char* to_string(DeathCause cause) noexcept {
  switch (cause) {
    case DeathCause::BornDead: return "born_dead";
    case DeathCause::Upstream: return "upstream";
    case DeathCause::Decline: return "decline";
    case DeathCause::LearningRate: return "learning_rate";
    case DeathCause::Own: break;
  }
  return "own";
}

const char* to_string(DeathSource source) noexcept {
  switch (source) {
    case DeathSource::Own: return "own";
    case DeathSource::Upstream: return "upstream";
    case DeathSource::Either: return "either";
    case DeathSource::Together: return "together";
    case DeathSource::Untested: break;
  }
  return "untested";
}

std::int64_t Checkpoints::count(DeathCause cause) const {
  return std::ranges::count(deaths, cause, &Death::cause);
}

Checkpoints follow(std::span<const Model> checkpoints, Samples& samples, const AuditOptions& options) {
  if (checkpoints.size() < 2) {
    throw Error(ErrorCode::InvalidArgument, "channels are followed over two checkpoints or more");
  }
  if (options.counts_only) {
    throw Error(ErrorCode::InvalidArgument, "checkpoints are not followed by firing counts alone",
                {.cure = "leave out --counts-only (AuditOptions::counts_only)"});
  }
  return Follower(checkpoints, samples, options).run();
}

}  // namespace ember
