#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ember/audit.hpp>
#include <ember/model.hpp>
#include <ember/samples.hpp>
#include <ember/swap.hpp>

namespace ember {

/// Where a dead unit's new incoming weights come from.
enum class ReviveInit {
  He,     ///< N(0, 2 / fan-in) (He et al. 2015)
  Rai,    ///< N(0, 0.6007² / fan-in), one of them from Beta(2, 1) instead (Lu et al. 2019, randomised
          ///< asymmetric)
  Split,  ///< those of a live unit of the layer, whose outgoing weights the two then share
};
/// "he", "rai", "split".
const char* to_string(ReviveInit init) noexcept;
/// Throws Error (InvalidArgument).
ReviveInit revive_init_of(const std::string& name);

struct ReviveOptions {
  ReviveInit init = ReviveInit::He;
  /// In this share of the samples a revived unit is to fire, in (0, 1). A split unit fires where its donor
  /// does; the donor whose share is nearest is taken.
  double fire_share = 0.3;
  std::uint64_t seed = 1;
  /// What counts as dead.
  std::vector<Verdict> verdicts = {Verdict::ProvedDead, Verdict::Silent, Verdict::Refuted, Verdict::Constant};
  /// Takes the verdicts of this report (borrowed) instead of an audit of the samples. A channel that it calls
  /// dead and that varies on the samples is refused.
  const AuditReport* report = nullptr;
  std::int64_t samples = 0;  ///< how many to use, 0 = all
  std::int64_t batch = 0;    ///< 0 = the model's own, or chosen
  int threads = 1;
  /// Called now and then with passes over the data done and to do.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct RevivedUnit {
  std::string node;   ///< label of the activation's node
  std::string value;  ///< name of the activation's output
  std::int64_t channel = 0;
  double constant = 0;      ///< what it gave before, folded into its readers
  std::int64_t donor = -1;  ///< the unit that was split; −1 for the other kinds
  double share_wanted = 0;  ///< of the samples
  double share = 0;         ///< in which it fires now, counted over the data
};

/// Part of an initialiser that was changed: everything at `index` of `axis` (the rest of that slice may be
/// as it was). A trainer should forget what its optimiser remembers of it.
struct TouchedSlice {
  std::string tensor;
  int axis = 0;
  std::int64_t index = 0;

  friend auto operator<=>(const TouchedSlice&, const TouchedSlice&) = default;
};

struct ReviveResult {
  Model model;
  std::vector<RevivedUnit> units;
  std::vector<ChannelRefusal> refusals;  ///< dead units that stay dead, and why
  std::vector<TouchedSlice> touched;     ///< sorted, each once
};

/// Gives dead units new incoming weights, and a bias from the calibration data so that they fire on the
/// chosen share of the samples, while the network's function stays what it was: what a unit gave so far, a
/// constant, goes into the biases of its readers, and its outgoing weights become 0 (or are shared, see
/// ReviveInit::Split). A BatchNormalization between its weights and its activation gets the statistics of the
/// new weights and a scale of 1. Same seed, same network. Throws Error.
ReviveResult revive(const Model& model, Samples& samples, const ReviveOptions& options = {});

/// The touched slices as JSON (schema "ember-touched-1").
std::string touched_json(const ReviveResult& result);

}  // namespace ember
