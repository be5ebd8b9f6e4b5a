#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include <ember/audit.hpp>
#include <ember/model.hpp>
#include <ember/samples.hpp>
#include <ember/verification.hpp>

#include "options.hpp"
#include "preprocess_options.hpp"

namespace ember::cli {

/// The options of a verb that changes a network: where the result goes, and on what it is held against the
/// original.
class SurgeryOptions {
 public:
  void add_to(CLI::App& verb);
  /// For verbs that start from an audit: a report saved before, which spares one.
  void add_audit_to(CLI::App& verb);

  [[nodiscard]] const std::string& output() const noexcept { return output_; }
  /// What --audit names. Throws Error.
  [[nodiscard]] std::optional<AuditReport> report() const;
  /// What --data names, else the data of the report, which must be as they were then; with the preprocessing
  /// of the options. Null when there is neither. Throws Error.
  [[nodiscard]] std::unique_ptr<Samples> data(const Model& model, const AuditReport* report = nullptr) const;
  [[nodiscard]] AuditOptions audit_options() const;
  /// Compares on `calibration` (may be null), on what --verify names and on random input. Throws Error.
  [[nodiscard]] Verification verify(const Model& before, const Model& after, Samples* calibration) const;

  JsonOption json;

 private:
  [[nodiscard]] std::unique_ptr<Samples> open(const Model& model, const std::string& path) const;

  std::string output_, data_, preprocess_, held_out_, audit_;
  PreprocessOptions preprocessing_;
  std::int64_t samples_ = 0, batch_ = 0;
  int threads_ = 1;
};

/// Verdicts from words such as "silent" and "proved_dead"; "proved" is short for the latter. Throws Error.
std::vector<Verdict> verdicts_of(const std::vector<std::string>& words);

/// "a, b and 7 more".
std::string some_of(const std::vector<std::string>& words);

}  // namespace ember::cli
