#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ember/audit.hpp>

namespace ember {

/// Why a channel died between two checkpoints.
enum class DeathCause {
  BornDead,      ///< it never fired, from the first checkpoint on
  Upstream,      ///< its own parameters are not to blame: what it reads changed
  Decline,       ///< it fired less and less, and nothing jumped
  LearningRate,  ///< its parameters jumped, or many died at once: too high a learning rate, or a gradient
                 ///< spike
  Own,           ///< its own parameters changed so that it is silent, without a jump or company
};
/// "born_dead", "upstream", …
const char* to_string(DeathCause cause) noexcept;

/// Whose change kills, found by swapping: the new parameters on the old inputs, and the old on the new.
enum class DeathSource {
  Untested,  ///< born dead, or the layer's weights are not constants of a kind that can be swapped
  Own,       ///< the new parameters are silent on the old inputs, the old ones are not on the new
  Upstream,  ///< the other way round
  Either,    ///< each change alone is enough
  Together,  ///< only both changes together
};
const char* to_string(DeathSource source) noexcept;

struct Death {
  std::size_t layer = 0;  ///< of the reports
  std::string node;
  std::int64_t channel = 0;
  int last_fired = -1;   ///< checkpoint, counted from 0; -1: born dead
  int first_silent = 0;  ///< checkpoint
  bool lasting = true;   ///< it stays silent to the last checkpoint
  DeathCause cause = DeathCause::BornDead;
  DeathSource source = DeathSource::Untested;
  double jump = 0;        ///< ‖Δθ‖ / ‖θ‖ of its incoming weights and bias between the two checkpoints
  double mates_jump = 0;  ///< the median of the layer's channels that fire at both
  double jump_z = 0;  ///< 0.6745 (jump − median) / median absolute deviation, of the same; 0 without spread
  std::int64_t co_deaths = 0;  ///< channels of its layer that died in the same interval, itself included
  std::int64_t samples = 0;    ///< on which the swaps were run
  std::int64_t fired_new_on_old = 0;  ///< samples that fire the new parameters on the old inputs
  std::int64_t fired_old_on_new = 0;
};

/// A silent channel that fires again.
struct Birth {
  std::size_t layer = 0;
  std::string node;
  std::int64_t channel = 0;
  int first_fired = 0;  ///< checkpoint
};

struct Checkpoints {
  std::vector<AuditReport> reports;  ///< one per checkpoint, in the order given
  std::vector<Death> deaths;         ///< by checkpoint, layer and channel
  std::vector<Birth> births;

  [[nodiscard]] std::int64_t count(DeathCause cause) const;
};

/// Audits every checkpoint of one network in training on the same data and follows its channels: when each
/// died, and why. Causes within a checkpoint are not sought. Throws Error (InvalidArgument) for fewer than
/// two checkpoints, (InvalidData) when they are not of one network.
Checkpoints follow(std::span<const Model> checkpoints, Samples& samples, const AuditOptions& options = {});

/// JSON (schema "ember-checkpoints-1") and text for a terminal.
std::string to_json(const Checkpoints& checkpoints);
std::string to_text(const Checkpoints& checkpoints, const TextReportOptions& options = {});

}  // namespace ember
