#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <ember/audit.hpp>
#include <ember/compare.hpp>

namespace ember::cli {

/// How many silent channels pass: a count, or a share of all channels in per cent.
class SilentLimit {
 public:
  /// "12" or "5%". Throws Error.
  explicit SilentLimit(std::string_view text);
  [[nodiscard]] bool exceeded_by(std::int64_t silent, std::int64_t channels) const;

 private:
  double value_ = 0;
  bool percent_ = false;
};

/// The options that make a report pass or fail: --max-silent, --baseline, --update-baseline.
class Gates {
 public:
  void add_to(CLI::App& verb);
  /// Any of the options was given.
  [[nodiscard]] bool given() const;
  /// Reads limit and baseline, before any work is done. Throws Error.
  void prepare();

  /// What the gates say to `report`.
  void judge(const AuditReport& report);
  /// One line per gate that failed.
  [[nodiscard]] const std::vector<std::string>& failures() const noexcept { return failures_; }
  /// Why a layer fails; "" when it passes.
  [[nodiscard]] std::string failure(const LayerReport& layer) const;
  /// With the baseline, if there is one.
  [[nodiscard]] const std::optional<AuditComparison>& comparison() const noexcept { return comparison_; }
  /// Makes `report` the baseline if that was asked for. Throws Error (Io).
  void update(const AuditReport& report) const;

 private:
  CLI::App* verb_ = nullptr;
  std::string max_silent_, baseline_file_;
  bool update_ = false;
  std::unique_ptr<SilentLimit> limit_;
  std::optional<AuditReport> baseline_;
  std::optional<AuditComparison> comparison_;
  bool limit_exceeded_ = false;
  std::vector<std::string> failures_;
};

}  // namespace ember::cli
