#include "report/cause_text.hpp"

#include <fmt/format.h>

#include "report/text_layout.hpp"

namespace ember::report {

namespace {

/// "fires on 31% of 256 samples".
std::string fires(const Counterfactual& c) {
  std::string text = c.samples_fired == 0
                         ? fmt::format("fires on none of {} samples", c.samples)
                         : fmt::format("fires on {} of {} samples", percent(c.rate()), grouped(c.samples));
  if (c.samples_fired_before > 0) text += fmt::format(" instead of {}", c.samples_fired_before);
  return text;
}

std::string starved_by(const Explanation& explanation) {
  std::string text;
  for (const StarvedBy& each : explanation.starved_by) {
    constexpr std::size_t kWidth = 40;
    text += fmt::format("{}channel{} {} of {}", text.empty() ? "" : ", ",
                        each.channels.size() == 1 ? "" : "s", ranges(each.channels, kWidth), each.node);
  }
  return text.empty() ? "what it reads" : text;
}

}  // namespace

std::string cause_text(const Explanation& explanation) {
  const Counterfactual& c = explanation.counterfactual;
  switch (explanation.cause) {
    case Cause::Decayed:
      return fmt::format(
          "its weights have decayed to a norm of {:.2g}; {} with weights redrawn in the size of its "
          "layer-mates ({:.2g})",
          c.from, fires(c), c.to);
    case Cause::BatchNormCollapsed:
      return fmt::format(
          "its BatchNormalization scale has collapsed to {:.2g}; {} with the {:.2g} of its layer-mates",
          c.from, fires(c), c.to);
    case Cause::BatchNormStale:
      return fmt::format(
          "its BatchNormalization statistics are stale (mean {:.3g}, variance {:.3g}); {} once they are "
          "recomputed ({:.3g}, {:.3g})",
          c.from, c.variance_from, fires(c), c.to, c.variance_to);
    case Cause::Starved:
      return fmt::format("starved by {}; {} with their live means", starved_by(explanation), fires(c));
    case Cause::SignDead:
      return fmt::format(
          "no weight is positive and no input negative, so no input fires it; {} with the signs turned",
          fires(c));
    case Cause::BiasDominated:
      return fmt::format("its bias of {:.3g} is {:.1f} standard deviations of w·x; {} if it were {:.3g}",
                         c.from, explanation.deviations, fires(c), c.to);
    case Cause::NegativeAlignment:
      return fmt::format("its weights point away from its inputs; {} with the signs turned", fires(c));
    case Cause::None: break;
  }
  return "";
}

std::string finding_text(const Finding& finding) {
  switch (finding.kind) {
    case Finding::Kind::DeadNetwork:
      return fmt::format(
          "The network is dead: its outputs were the same for all of {} samples, a constant function{}.",
          grouped(finding.samples),
          finding.node.empty()
              ? ""
              : fmt::format(". Every path runs through {}, which is wholly silent", finding.node));
    case Finding::Kind::DeadLayer:
      return fmt::format(
          "Dead layer {}: none of its {} channels fired in {} samples; what follows only from it is "
          "constant on these data.",
          finding.node, grouped(finding.channels), grouped(finding.samples));
    case Finding::Kind::Preprocessing:
      return fmt::format(
          "{} channels of the first layer {}, more than half, are silent: check that the data are "
          "preprocessed as in training (scale, mean, channel order) before blaming the network.",
          grouped(finding.channels), finding.node);
  }
  return "";
}

std::string remedy_text(Remedy remedy) {
  switch (remedy) {
    case Remedy::Reinitialise:
      return "Draw the incoming weights anew (He, or randomised asymmetric) and train on, or prune.";
    case Remedy::RestoreScale:
      return "Set the BatchNormalization scale to its layer-mates' and train on, or prune.";
    case Remedy::RecomputeStatistics:
      return "Run training data through the network in training mode to recompute mean and variance.";
    case Remedy::HealUpstream: return "Revive the channels that starve it first; it may then live by itself.";
    case Remedy::RaiseBias:
      return "Raise the bias to where it fires, then train on with a lower learning rate.";
    case Remedy::None: break;
  }
  return "";
}

}  // namespace ember::report
