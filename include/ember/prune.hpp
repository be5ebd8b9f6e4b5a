#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ember/audit.hpp>
#include <ember/model.hpp>
#include <ember/verification.hpp>

namespace ember {

/// Which of an audit's channels may go. What the weights alone show to be constant or unread always may.
enum class PruneOnly {
  All,       ///< proved dead, silent, and constant on the data
  Proved,    ///< proved dead
  Silent,    ///< proved dead and silent
  Constant,  ///< constant on the data at another value than 0
};

struct PruneOptions {
  PruneOnly only = PruneOnly::All;
  /// Layers keep a multiple of this many channels. 0: each layer that of the vector registers where the steps
  /// that it is part of are faster for it, which is measured; 1: whatever is left.
  std::int64_t round = 0;
  /// Folds stably active units (the report's always_on) into the matrix products around them where that saves
  /// multiplications. Where they were not proved to be that, it holds on inputs like the data only.
  bool linearize = false;
  /// Of the measurements.
  int threads = 1;
};

/// Where the positions of one axis of a tensor (a weight, or a value between nodes) are now.
struct ChannelMap {
  std::string tensor;
  int axis = 0;
  std::int64_t before = 0;         ///< extent before
  std::vector<std::int64_t> kept;  ///< by new position: the old one
  /// Weights of a grouped convolution lose different inputs in each group: the old group that this entry
  /// is of. -1: the whole tensor.
  std::int64_t group = -1;
};

struct RemovedChannel {
  std::string node;   ///< label of the node whose output had it: an activation, or what made it
  std::string value;  ///< name of that output
  int axis = 1;
  std::int64_t index = 0;  ///< in the model as it was
  std::string why;         ///< "proved_dead", "silent", "constant", "constant by its weights", "not read"
  std::optional<double> constant;  ///< the value it had; none for one that was not read
};

/// A channel that is known to be constant and could not go.
struct KeptChannel {
  std::string node;
  std::string value;
  int axis = 1;
  std::int64_t index = 0;
  std::string holder;  ///< label of the node that holds it; empty when it is no node
  std::string why;
};

/// A layer whose stably active units were folded, or why they were not.
struct LinearizedLayer {
  std::string node;                ///< label of the activation's node
  std::string value;               ///< name of its output
  std::int64_t active = 0;         ///< units that never clip
  std::int64_t proved = 0;         ///< of these, proved on the domain of the audit
  std::vector<std::int64_t> gone;  ///< in the model as it was
  bool merged = false;             ///< the whole layer went into the product behind it
  std::int64_t saved = 0;          ///< multiply-adds per row
  std::string refusal;             ///< why nothing went; "" when something did
};

struct ModelCost {
  std::int64_t parameters = 0;
  std::int64_t parameter_bytes = 0;
  std::int64_t activation_bytes = 0;  ///< of the arena of a session
  double flops = 0;                   ///< per inference, multiply-adds count two
  /// Per inference, from the times of the original's steps here and the work that is left: what is known
  /// before the pruned network has run.
  double predicted_milliseconds = 0;
  double milliseconds = 0;  ///< per inference, measured here: the least of several runs
};

struct PruneResult {
  Model model;
  std::vector<ChannelMap> map;  ///< of every tensor that lost something
  std::vector<RemovedChannel> removed;
  std::vector<KeptChannel> kept;
  std::vector<LinearizedLayer> linearized;  ///< where asked for
  ModelCost before, after;
  std::int64_t round = 1;  ///< the multiple that layers were rounded to, all or those that gain by it
  std::vector<std::string> notes;
};

/// Takes channels out of a network, through every tensor that has them, so that it computes what it did. A
/// channel goes when every reader reads it as 0, or as a constant that the reader's bias can take over
/// exactly, or when nobody reads it. At least one channel of every layer stays, inputs and outputs of the
/// network keep theirs, and whatever could not go is listed with the reason. For channels that an audit found
/// silent, constant or stably active on data, outputs are the same, but for rounding, on every input on which
/// they are that.
/// `report` must be of this very model. Throws Error.
PruneResult prune(const Model& model, const AuditReport& report, const PruneOptions& options = {});
/// The same with what the weights alone show: outputs are the same on every input.
PruneResult prune(const Model& model, const PruneOptions& options = {});

/// As JSON (schema "ember-prune-1"), with what verify() made of the two models if that is given, and as text
/// for a terminal.
std::string to_json(const PruneResult& result, const Verification* verification = nullptr);
std::string to_text(const PruneResult& result, const TextReportOptions& options = {});
/// The channel map alone, as JSON (schema "ember-channel-map-1").
std::string channel_map_json(const PruneResult& result);

}  // namespace ember
