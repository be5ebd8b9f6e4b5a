#include "watch.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>
#include <ember/samples.hpp>

#include "comparison.hpp"
#include "output.hpp"

namespace ember::cli {

namespace {

using Json = nlohmann::ordered_json;

/// An input as samples along its first axis.
class InputSamples final : public Samples {
 public:
  InputSamples(const Tensor& input, bool batch_axis)
      : input_(input), count_(batch_axis ? input.shape()[0] : 1) {}
  [[nodiscard]] std::int64_t count() const override { return count_; }
  [[nodiscard]] std::string description() const override { return "the input"; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
  void read(std::int64_t first, std::int64_t n, const Shape& shape, float* to) override {
    const std::int64_t each = shape.elements(1, shape.rank());
    for (std::int64_t i = first * each; i < (first + n) * each; ++i)
      *to++ = static_cast<float>(element(input_.view(), i));
  }

 private:
  const Tensor& input_;
  std::int64_t count_;
};

/// "3,7" as numbers; nothing when it is anything else.
std::optional<std::vector<std::int64_t>> numbers(std::string_view text) {
  std::vector<std::int64_t> result;
  while (true) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value < 0) return std::nullopt;
    result.push_back(value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return result;
    if (text.front() != ',') return std::nullopt;
    text.remove_prefix(1);
  }
}

std::string fires(const ChannelStatistics& s) {
  if (s.samples == 1) {
    if (s.samples_fired == 0) return "does not fire";
    return s.positions == 1 ? "fires"
                            : fmt::format("fires at {} of {} positions", s.positions_fired, s.positions);
  }
  std::string text =
      fmt::format("fires in {} of {} samples", with_separators(s.samples_fired), with_separators(s.samples));
  if (s.first_fired >= 0) text += fmt::format(", first in sample {}", s.first_fired);
  return text;
}

std::string range(double low, double high) {
  return low == high ? fmt::format("{:.6g}", low) : fmt::format("{:.6g} to {:.6g}", low, high);
}

}  // namespace

void WatchOption::add_to(CLI::App& verb) {
  verb.add_option("--watch", texts_,
                  "show whether channels of an activation fire, by the node that reports call it")
      ->take_all()
      ->allow_extra_args(false)
      ->option_text("NODE[:CHANNEL,...]");
}

void WatchOption::run(const Model& model, const TensorMap& inputs, int threads) {
  if (inputs.size() != 1) {
    throw Error(ErrorCode::Unsupported,
                fmt::format("channels are watched in networks of one input, this has {}", inputs.size()),
                {.model = model.name(), .cure = "leave out --watch"});
  }
  InputSamples samples(inputs.begin()->second, model.inputs().front().dims.size() > 1);
  AuditOptions options;
  options.threads = threads;
  options.explain = false;
  report_ = audit(model, samples, options);
  for (const std::string& text : texts_) watched_.push_back(find(text));
}

/// A name may hold colons: the whole text is tried first.
WatchOption::Watched WatchOption::find(const std::string& text) const {
  const auto layer_of = [&](std::string_view name) {
    return std::ranges::find_if(report_.layers(), [&](const LayerReport& layer) {
      return layer.node == name || layer.value == name;
    });
  };
  auto layer = layer_of(text);
  std::vector<std::int64_t> channels;
  const std::size_t colon = text.rfind(':');
  if (layer == report_.layers().end() && colon != std::string::npos) {
    if (const auto given = numbers(std::string_view(text).substr(colon + 1))) {
      layer = layer_of(std::string_view(text).substr(0, colon));
      channels = *given;
    }
  }
  if (layer == report_.layers().end()) {
    std::vector<std::string> known;
    for (const LayerReport& each : report_.layers()) known.push_back(each.node);
    throw Error(
        ErrorCode::InvalidArgument, fmt::format("--watch '{}' names no activation", text),
        {.model = report_.model,
         .cure = known.empty() ? "the network has none" : fmt::format("it has {}", fmt::join(known, ", "))});
  }
  for (const std::int64_t channel : channels) {
    if (channel < static_cast<std::int64_t>(layer->channels.size())) continue;
    throw Error(ErrorCode::InvalidArgument,
                fmt::format("--watch '{}' names a channel that is not there", text),
                {.model = report_.model,
                 .node = layer->node,
                 .cure = fmt::format("its channels are 0 to {}", layer->channels.size() - 1)});
  }
  return {static_cast<std::size_t>(layer - report_.layers().begin()), channels};
}

std::string WatchOption::text() const {
  std::string text;
  for (const Watched& watched : watched_) {
    const LayerReport& layer = report_.layers()[watched.layer];
    for (const std::int64_t c : watched.channels) {
      const ChannelStatistics& s = layer.channels[static_cast<std::size_t>(c)].statistics;
      text += fmt::format("{} channel {}: {}; before the activation {}, after it {}\n", layer.node, c,
                          fires(s), range(s.pre_min, s.pre_max), range(s.out_min, s.out_max));
    }
    if (!watched.channels.empty()) continue;
    std::vector<std::int64_t> firing;
    for (const ChannelReport& channel : layer.channels) {
      if (channel.statistics.samples_fired > 0) firing.push_back(channel.index);
    }
    text += fmt::format("{}: {} of {} channels fire{}{}\n", layer.node, firing.size(), layer.channels.size(),
                        firing.empty() ? "" : ": ", fmt::join(firing, ", "));
  }
  return text;
}

Json WatchOption::json() const {
  Json list = Json::array();
  for (const Watched& watched : watched_) {
    const LayerReport& layer = report_.layers()[watched.layer];
    for (const ChannelReport& channel : layer.channels) {
      const bool wanted = watched.channels.empty() ||
                          std::ranges::find(watched.channels, channel.index) != watched.channels.end();
      if (!wanted) continue;
      const ChannelStatistics& s = channel.statistics;
      list.push_back({{"node", layer.node},
                      {"channel", channel.index},
                      {"samples", s.samples},
                      {"samples_fired", s.samples_fired},
                      {"positions", s.positions},
                      {"positions_fired", s.positions_fired},
                      {"pre_min", s.pre_min},
                      {"pre_max", s.pre_max},
                      {"out_min", s.out_min},
                      {"out_max", s.out_max}});
    }
  }
  return list;
}

}  // namespace ember::cli
