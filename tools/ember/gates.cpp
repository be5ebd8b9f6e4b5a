#include "gates.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fmt/format.h>

#include <ember/error.hpp>
#include <ember/file.hpp>
#include <ember/report.hpp>

namespace ember::cli {

namespace {

template <class Counted>  // a report or a layer
std::int64_t silent_channels(const Counted& counted) {
  return counted.count(Verdict::Silent) + counted.count(Verdict::ProvedDead) +
         counted.count(Verdict::Refuted);
}

std::int64_t newly_unhealthy(const AuditComparison& comparison, const std::string& node) {
  std::int64_t count = 0;
  for (const LayerComparison& layer : comparison.layers) {
    if (layer.after_node == node) count += layer.count(Change::NewlyUnhealthy);
  }
  for (const LayerOnce& layer : comparison.added) {
    if (layer.node == node) count += static_cast<std::int64_t>(layer.unhealthy.size());
  }
  return count;
}

}  // namespace

SilentLimit::SilentLimit(std::string_view text) {
  const std::string_view whole = text;
  percent_ = text.ends_with('%');
  if (percent_) text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value_);
  const bool is_count = value_ == static_cast<double>(static_cast<std::int64_t>(value_));
  if (error != std::errc{} || end != text.data() + text.size() || !(value_ >= 0) || value_ > 1e15 ||
      (percent_ ? value_ > 100 : !is_count)) {
    throw Error(ErrorCode::InvalidArgument, fmt::format("--max-silent {} is no limit", whole),
                {.cure = "give a number of channels (0, 12) or a share of them (0.5%, 10%)"});
  }
}

bool SilentLimit::exceeded_by(std::int64_t silent, std::int64_t channels) const {
  if (!percent_) return static_cast<double>(silent) > value_;
  return 100.0 * static_cast<double>(silent) > value_ * static_cast<double>(channels);
}

void Gates::add_to(CLI::App& verb) {
  verb_ = &verb;
  verb.add_option("--max-silent", max_silent_,
                  "exit with 1 when more channels are silent: a number, or a share such as 5%")
      ->option_text("N|P%");
  CLI::Option* baseline =
      verb.add_option("--baseline", baseline_file_,
                      "exit with 1 only when a channel is unhealthy that was not in this earlier report "
                      "(JSON)")
          ->option_text("FILE");
  verb.add_flag("--update-baseline", update_,
                "make this report the baseline, which then fails nothing; it need not exist")
      ->needs(baseline);
}

bool Gates::given() const { return !max_silent_.empty() || !baseline_file_.empty(); }

void Gates::prepare() {
  if (!max_silent_.empty()) limit_ = std::make_unique<SilentLimit>(max_silent_);
  if (baseline_file_.empty()) return;
  if (std::filesystem::exists(baseline_file_)) baseline_ = report_from_json_file(baseline_file_);
  else if (!update_) {
    throw Error(ErrorCode::Io, fmt::format("there is no baseline '{}'", baseline_file_),
                {.cure = "--update-baseline writes it"});
  }
}

void Gates::judge(const AuditReport& report) {
  limit_exceeded_ = limit_ != nullptr && limit_->exceeded_by(silent_channels(report), report.channels());
  if (limit_exceeded_) {
    failures_.push_back(fmt::format("{} of {} channels silent, --max-silent is {}", silent_channels(report),
                                    report.channels(), max_silent_));
  }
  if (!baseline_) return;
  comparison_ = compare(*baseline_, report);
  const std::int64_t worse = comparison_->count(Change::NewlyUnhealthy);
  if (worse > 0 && !update_) {
    failures_.push_back(fmt::format("{} {} unhealthy that {} not in the baseline '{}'", worse,
                                    worse == 1 ? "channel is" : "channels are", worse == 1 ? "was" : "were",
                                    baseline_file_));
  }
}

std::string Gates::failure(const LayerReport& layer) const {
  std::string why;
  const std::int64_t silent = silent_channels(layer);
  if (limit_exceeded_ && silent > 0) {
    why = fmt::format("{} of {} channels silent, and --max-silent {} is exceeded in all", silent,
                      layer.channels.size(), max_silent_);
  }
  const std::int64_t worse = comparison_ && !update_ ? newly_unhealthy(*comparison_, layer.node) : 0;
  if (worse > 0) {
    why += fmt::format("{}{} of {} channels unhealthy that were not in the baseline", why.empty() ? "" : "; ",
                       worse, layer.channels.size());
  }
  return why;
}

void Gates::update(const AuditReport& report) const {
  if (update_) write_file(baseline_file_, to_json(report) + "\n");
}

}  // namespace ember::cli
