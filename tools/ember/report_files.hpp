#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include <ember/report.hpp>

namespace ember::cli {

/// The options that write an audit to files for other readers: --html, --sarif, --junit.
class ReportFiles {
 public:
  void add_to(CLI::App& verb);
  /// Any of them was asked for.
  [[nodiscard]] bool given() const { return !html_.empty() || !sarif_.empty() || !junit_.empty(); }
  /// Writes those asked for; `failure` says why a gate fails a layer, if one does. Throws Error (Io).
  void write(const AuditReport& report, const std::function<std::string(const LayerReport&)>& failure) const;

 private:
  std::string html_, sarif_, junit_;
};

}  // namespace ember::cli
