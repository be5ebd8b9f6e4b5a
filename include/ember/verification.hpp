#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ember/audit.hpp>
#include <ember/model.hpp>
#include <ember/samples.hpp>

namespace ember {

/// How far one output of a changed network lies from the original's, over all samples of one comparison.
struct OutputDifference {
  std::string output;
  double largest = 0;       ///< largest finite |original|
  double max_absolute = 0;  ///< largest |changed − original|; infinite where only one of them is finite
  double max_relative = 0;  ///< max_absolute / largest: small values do not inflate it
  std::int64_t argmax_changes = 0;  ///< samples whose largest element is another one now
};

enum class ComparedOn {
  Calibration,  ///< what the change was based on
  HeldOut,      ///< other data of the same kind
  Random,       ///< uniform noise in the domain
};
/// "calibration", "held_out", "random".
const char* to_string(ComparedOn kind) noexcept;

struct DataComparison {
  ComparedOn kind = ComparedOn::Calibration;
  std::string data;  ///< description of the data, or of the random input
  std::int64_t samples = 0;
  std::vector<OutputDifference> outputs;
  /// Share of samples whose label is the argmax of the first output; only where there are labels.
  std::optional<double> accuracy_before, accuracy_after;

  /// The worst over all outputs.
  [[nodiscard]] double max_absolute() const;
  [[nodiscard]] double max_relative() const;
  [[nodiscard]] std::int64_t argmax_changes() const;
};

/// What a network costs.
struct Footprint {
  std::int64_t parameters = 0;
  std::int64_t parameter_bytes = 0;
  std::int64_t file_bytes = 0;  ///< as ember writes it
  double flops = 0;             ///< per sample; 0 when it was not compiled
  double milliseconds = 0;      ///< per sample, the least seen; 0 when it was not measured
};

/// What verify() found. Plain data.
struct Verification {
  std::vector<DataComparison> comparisons;
  Footprint before, after;
  std::string isa;                 ///< of the comparisons and the times
  int threads = 1;                 ///< likewise
  std::int64_t batch = 1;          ///< of the times
  std::int64_t time_runs = 0;      ///< of each network behind the times
  std::vector<std::string> notes;  ///< what was not compared, and why

  /// The comparison of a kind, or nullptr.
  [[nodiscard]] const DataComparison* find(ComparedOn kind) const;
};

/// Data to compare on, borrowed; what is null is left out.
struct VerifySources {
  Samples* calibration = nullptr;
  Samples* held_out = nullptr;
};

struct VerifyOptions {
  std::int64_t samples = 0;  ///< of each data set, 0 = all
  std::int64_t batch = 0;    ///< of the comparisons; 0 = the model's own, or chosen
  int threads = 1;
  std::int64_t random_samples = 256;  ///< 0 = no random input
  std::uint64_t seed = 1;
  /// Ends of the random input: one per element of a sample, or one for all. Empty: what the data reach
  /// (calibration, else held-out), element by element; without data −1 and 1.
  std::vector<float> lower, upper;
  int label_offset =
      0;  ///< added to a label before it is compared with an argmax (Preprocessing::label_offset)
  double seconds = 0.5;  ///< spent on measuring time, both networks in alternation; 0 = do not measure
  /// Called now and then with samples done and to do.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

/// Holds a changed network against the original, which must have the same inputs and outputs: runs both on
/// the data and on random input, and measures both. A model of several inputs is compared on random input
/// only. Throws Error.
Verification verify(const Model& before, const Model& after, const VerifySources& sources = {},
                    const VerifyOptions& options = {});

/// The verification as JSON (schema "ember-verification-1") and as text for a terminal.
std::string to_json(const Verification& verification);
std::string to_text(const Verification& verification, const TextReportOptions& options = {});

}  // namespace ember
