#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ember/causes.hpp>
#include <ember/gradients.hpp>
#include <ember/model.hpp>
#include <ember/samples.hpp>

namespace ember {

/// What is known of a channel, worst first. See README, "What dead means".
enum class Verdict {
  ProvedDead,
  Silent,
  Refuted,
  Rare,
  Dormant,
  Constant,
  Saturated,
  AlwaysOn,
  Healthy,
};
/// "proved_dead", "silent", …
const char* to_string(Verdict verdict) noexcept;

/// Counts and moments of one channel of one activation. A sample fired when any of its positions did.
/// merge() is associative and commutative; counts merge exactly.
struct ChannelStatistics {
  std::int64_t samples = 0;            ///< seen
  std::int64_t samples_fired = 0;      ///< fired at one position at least
  std::int64_t first_fired = -1;       ///< the first sample that fired it, counted from 0; -1: none
  std::int64_t groups = 0;             ///< of samples, see AuditOptions::groups; 0: there are none
  std::int64_t groups_fired = 0;       ///< with a sample that fired it
  std::int64_t samples_saturated = 0;  ///< saturated at every position
  std::int64_t positions = 0;
  std::int64_t positions_fired = 0;
  std::int64_t positions_saturated = 0;
  std::int64_t not_finite = 0;  ///< positions with NaN or infinity before the activation
  // NaN with AuditOptions::counts_only, as is what follows from them.
  double pre_min = 0, pre_max = 0, pre_sum = 0, pre_sum_squares = 0;  ///< before the activation
  double out_min = 0, out_max = 0, out_sum = 0, out_sum_squares = 0;  ///< after it
  double out_sum_abs = 0;

  void merge(const ChannelStatistics& other);
};

/// How a verdict was shown to hold for every input of the domain, cheapest first.
enum class Proof {
  None,          ///< it rests on the samples
  Sign,          ///< from signs and ranges alone: it holds for any input whatever
  Interval,      ///< interval propagation
  Substitution,  ///< linear bounds substituted back to the input (CROWN, DeepPoly)
  Splitting,     ///< the same on the parts of the domain, split until every part was decided
};
/// "none", "sign", "interval", …
const char* to_string(Proof proof) noexcept;

struct ChannelReport {
  std::int64_t index = 0;
  Verdict verdict = Verdict::Healthy;
  Proof proof = Proof::None;  ///< proved_dead and always_on: that it holds on the whole domain
  /// Bounds of what the engine computes before the activation, at any position and for any input of the
  /// domain, rounding included; infinite when not known.
  double bound_lower = -std::numeric_limits<double>::infinity();
  double bound_upper = std::numeric_limits<double>::infinity();
  std::int64_t witness = -1;  ///< refuted: which of AuditReport::witnesses fires it
  ChannelStatistics statistics;
  double rate_bound = 0;     ///< silent and rare: upper bound of the firing rate per sample at the confidence
  double dormancy = 0;       ///< mean |output| over the layer's mean (ReDo score)
  std::string fingerprint;   ///< of the layer's structure and the weights that make the channel
  Explanation explanation;   ///< why, when explained; cause None otherwise
  ChannelGradient gradient;  ///< with labels: what a loss tells it
};

struct LayerReport {
  std::string node;                  ///< label of the activation's ONNX node
  std::string op;                    ///< "Relu", "Clip", "Silu" (a pattern of nodes), …
  std::string value;                 ///< name of the activation's output value
  std::vector<std::string> pattern;  ///< labels of all nodes of the activation when it is a pattern
  int channel_axis = 1;
  /// Which layers (by their place in the report, ascending) have a path to this one that passes no other.
  std::vector<std::int64_t> predecessors;
  bool reads_input = false;   ///< an input of the network has such a path, too
  bool feeds_output = false;  ///< and from this layer such a path leads to an output
  std::vector<ChannelReport> channels;
  std::optional<LayerGradient> gradient;  ///< with labels, where a rule leads from the loss to the layer
  std::string
      fingerprint;  ///< of the operators and shapes that lead here; holds through renaming and training

  [[nodiscard]] std::int64_t count(Verdict verdict) const;
};

/// The inputs that proofs are about: every x with lower <= x <= upper, element by element.
struct InputDomain {
  Tensor lower, upper;  ///< float32, of one element or as many as one sample has
  std::string source;   ///< for reports: the file's name
  /// Reads the arrays "lower" and "upper" of an .npz file. Throws Error.
  static InputDomain load(const std::filesystem::path& file);
};

/// An input of the domain that fires a channel which no sample fired.
struct Witness {
  std::string node;          ///< label of the activation's node
  std::int64_t channel = 0;  ///< of its output
  Tensor input;              ///< what the model's input takes, a batch of one
  double value = 0;          ///< before the activation, where it is largest, as the engine computed it
};

/// What proofs were about and how far they came.
struct ProofReport {
  std::string domain;           ///< where it comes from: a file, or "the range of the data"; empty: any input
  bool from_data = false;       ///< it is the range of each input element over the samples, and no more
  double lower = 0, upper = 0;  ///< smallest and largest value of the domain
  std::int64_t samples_outside = 0;        ///< samples with a value outside the domain
  std::int64_t channels_contradicted = 0;  ///< cannot fire in the domain, but fire on samples outside it
  std::int64_t always_on_refuted =
      0;  ///< always on in the samples, but switched off by some input of the domain
  double seconds = 0;
  bool complete = true;  ///< false: the time limit ended the search
};

/// How the channels of a network woke up as the samples came, which tells whether there were enough of them.
/// The trial is a sample, or a group of samples where there are groups; trials count in the order in which
/// they first appear in the data. Only channels that can be silent are counted (Relu and the like).
struct Discovery {
  /// How many channels had fired after so many trials.
  struct Point {
    std::int64_t trials = 0;
    std::int64_t fired = 0;
  };
  bool by_group = false;
  std::int64_t trials = 0;
  std::int64_t channels = 0;
  std::int64_t fired = 0;        ///< channels that fired at all
  std::int64_t fired_once = 0;   ///< in exactly one trial
  std::int64_t fired_twice = 0;  ///< in exactly two
  double expected_next =
      0;  ///< channels that one more trial is expected to wake: fired_once / trials (Good–Turing)
  /// Lower bound of the channels that trials of this kind would still wake, were there ever so many:
  /// f1 (f1 − 1) / (2 (f2 + 1)), and no more than have not fired (Chao 1984, bias-corrected).
  double still_to_wake = 0;
  std::vector<Point> curve;  ///< at 1, 2, 3, 5, 7, 10, 20, … trials and at the last
};

struct AuditOptions {
  std::int64_t samples = 0;  ///< how many to use, 0 = all
  std::int64_t batch = 0;    ///< 0 = the model's own batch, or chosen
  int threads = 1;
  double confidence = 0.95;   ///< of every rate bound, jointly over all channels (Bonferroni)
  double rare_below = 0.001;  ///< rare: fires in fewer than this share of the samples
  double dormant_tau = 0.0;   ///< dormant: ReDo score <= tau while it fires; 0 = only exact zero mean
  /// The group of each sample (any numbers), such as the video that a frame is from; then the group is the
  /// trial, and rate bounds and 'rare' count groups. One entry per sample of the data; empty: no groups.
  std::vector<std::int64_t> groups;
  /// Count which samples and positions fire, and nothing else, which costs less. Minima, maxima and sums are
  /// then NaN, what needs them is not looked at (dormant, constant, saturated; always_on where a value can
  /// saturate; causes), and the report's notes say so.
  bool counts_only = false;
  bool explain = true;               ///< seek the causes of unhealthy channels, see <ember/explain.hpp>
  std::int64_t explain_samples = 0;  ///< of which every counterfactual is a count; 0: chosen, 16 to 256
  /// Turns on proofs about this domain, and the search for inputs in it that fire silent channels. Without a
  /// domain only what holds for any input is proved.
  std::optional<InputDomain> domain;
  bool domain_from_data = false;  ///< the same with the range of each input element over the samples
  double time_limit = 60.0;       ///< seconds for both; what is known by then is reported
  /// The class of each sample of the data, counted from 0: turns on the gradient view, see
  /// <ember/gradients.hpp>.
  std::vector<std::int64_t> labels;
  std::int64_t gradient_samples = 0;  ///< to back-propagate; 0: chosen by the cost of the network
  /// Called now and then with samples done and to do.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

class AuditReport {
 public:
  std::string model;
  std::string model_hash;  ///< SHA-256 of the model file's graph as serialised
  std::string data;
  std::string data_hash;
  std::string isa;
  std::int64_t samples = 0;
  std::int64_t samples_not_finite =
      0;  ///< samples with NaN or infinity in the input (they were run, not dropped)
  double confidence = 0.95;
  std::int64_t groups = 0;  ///< that the samples fall into; 0: each sample is a trial of its own
  Discovery discovery;
  std::int64_t explain_samples = 0;  ///< samples on which counterfactuals were run; 0: no causes were sought
  std::vector<Finding> findings;     ///< said first: a dead network, dead layers, doubtful preprocessing
  std::vector<std::string> notes;    ///< what was not checked, and why
  std::optional<ProofReport> proof;  ///< set when there was a domain
  std::vector<Witness> witnesses;
  std::optional<GradientReport> gradient;  ///< set when there were labels
  std::vector<LayerReport> layer_reports;

  [[nodiscard]] const std::vector<LayerReport>& layers() const noexcept { return layer_reports; }
  [[nodiscard]] std::int64_t channels() const;
  [[nodiscard]] std::int64_t count(Verdict verdict) const;
};

/// Runs `samples` through `model` and judges every channel of every activation. Throws Error.
AuditReport audit(const Model& model, Samples& samples, const AuditOptions& options = {});

/// The report as JSON (schema "ember-audit-1") and as text for a terminal `width` columns wide.
std::string to_json(const AuditReport& report);
struct TextReportOptions {
  int width = 100;
  bool color = false;
};
std::string to_text(const AuditReport& report, const TextReportOptions& options = {});

}  // namespace ember
