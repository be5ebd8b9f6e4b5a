#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ember/checkpoints.hpp>

#include "report/json_number.hpp"
#include "report/text_layout.hpp"

namespace ember {

namespace {

using namespace report;
using Json = nlohmann::ordered_json;

std::int64_t silent(const AuditReport& report) {
  return report.count(Verdict::Silent) + report.count(Verdict::ProvedDead) + report.count(Verdict::Refuted);
}

Json death_json(const Death& d) {
  return {{"node", d.node},
          {"layer", d.layer},
          {"channel", d.channel},
          {"last_fired", d.last_fired < 0 ? Json(nullptr) : Json(d.last_fired)},
          {"first_silent", d.first_silent},
          {"lasting", d.lasting},
          {"cause", to_string(d.cause)},
          {"source", to_string(d.source)},
          {"jump", json_number(d.jump)},
          {"mates_jump", json_number(d.mates_jump)},
          {"jump_z", json_number(d.jump_z)},
          {"co_deaths", d.co_deaths},
          {"samples", d.samples},
          {"fired_new_on_old", d.fired_new_on_old},
          {"fired_old_on_new", d.fired_old_on_new}};
}

const char* meaning(DeathCause cause) {
  switch (cause) {
    case DeathCause::BornDead: return "born dead: silent from the first checkpoint on";
    case DeathCause::Upstream: return "what they read changed, not their own parameters";
    case DeathCause::Decline: return "a smooth decline: they fired less and less";
    case DeathCause::LearningRate:
      return "too high a learning rate, or a gradient spike: parameters jumped or many died at once";
    case DeathCause::Own: break;
  }
  return "their own parameters changed, without a jump";
}

std::string evidence(const Death& d) {
  std::string text =
      fmt::format("parameters moved by {:.2g} of their norm (layer-mates that live: {:.2g}, robust z {:.1f})",
                  d.jump, d.mates_jump, d.jump_z);
  if (d.samples > 0) {
    text += fmt::format(
        "; swap test: {} (new parameters on old inputs fire on {} of {} samples, old ones on new inputs "
        "on {})",
        to_string(d.source), d.fired_new_on_old, d.samples, d.fired_old_on_new);
  }
  return text;
}

}  // namespace

std::string to_json(const Checkpoints& checkpoints) {
  Json json = {{"schema", "ember-checkpoints-1"},
               {"checkpoints", Json::array()},
               {"deaths", Json::array()},
               {"births", Json::array()}};
  for (const AuditReport& report : checkpoints.reports)
    json["checkpoints"].push_back(Json::parse(to_json(report)));
  for (const Death& death : checkpoints.deaths) json["deaths"].push_back(death_json(death));
  for (const Birth& birth : checkpoints.births) {
    json["births"].push_back({{"node", birth.node},
                              {"layer", birth.layer},
                              {"channel", birth.channel},
                              {"first_fired", birth.first_fired}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string to_text(const Checkpoints& checkpoints, const TextReportOptions& options) {
  Page page(options.width, options.color);
  const AuditReport& front = checkpoints.reports.front();
  page.paragraph(
      0, fmt::format("{} channels over {} checkpoints, {} samples of {} each", grouped(front.channels()),
                     checkpoints.reports.size(), grouped(front.samples), front.data));
  page.line("");
  page.line("{:>6} {:>6} {:>6}  checkpoint", "silent", "died", "woke");
  for (std::size_t k = 0; k < checkpoints.reports.size(); ++k) {
    const auto at = static_cast<int>(k);
    page.line("{:>6} {:>6} {:>6}  {}: {}", silent(checkpoints.reports[k]),
              std::ranges::count(checkpoints.deaths, at, &Death::first_silent),
              std::ranges::count(checkpoints.births, at, &Birth::first_fired), k,
              fitted(checkpoints.reports[k].model,
                     std::min(columns(checkpoints.reports[k].model),
                              static_cast<std::size_t>(std::max(20, options.width - 30)))));
  }
  std::map<std::tuple<int, std::size_t, DeathCause>, std::vector<const Death*>> groups;
  for (const Death& death : checkpoints.deaths) {
    groups[{death.first_silent, death.layer, death.cause}].push_back(&death);
  }
  if (groups.empty()) return page.take();
  page.line("");
  page.line("{}", page.paint(kBold, "Deaths"));
  for (const auto& [key, deaths] : groups) {
    std::vector<std::int64_t> channels;
    for (const Death* death : deaths) channels.push_back(death->channel);
    const Death& example = *deaths.front();
    const std::string when = example.last_fired < 0 ? fmt::format("at checkpoint {}", example.first_silent)
                                                    : fmt::format("between checkpoints {} and {}",
                                                                  example.last_fired, example.first_silent);
    std::string text = fmt::format("{}, {}: {} channel{} ({}): {}: {}.", when, example.node, channels.size(),
                                   channels.size() == 1 ? "" : "s", ranges(channels, 60),
                                   to_string(example.cause), meaning(example.cause));
    if (example.last_fired >= 0) text += fmt::format(" Channel {}: {}.", example.channel, evidence(example));
    page.item("-", 1, text);
  }
  if (checkpoints.count(DeathCause::LearningRate) > 0) {
    page.line("");
    page.paragraph(
        0,
        "Lower the learning rate, warm it up, or clip gradients, and go on from the last checkpoint before "
        "the deaths.");
  }
  return page.take();
}

}  // namespace ember
