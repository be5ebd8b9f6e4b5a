#pragma once

#include <CLI/CLI.hpp>

#include <ember/audit.hpp>
#include <ember/checkpoints.hpp>

#include "gates.hpp"
#include "options.hpp"
#include "report_files.hpp"

namespace ember::cli {

/// What becomes of a report, the same for every verb that makes one: --json, the files, --quiet, the gates.
class ReportOutput {
 public:
  void add_to(CLI::App& verb);
  /// Throws Error for what is wrong with the options, before any work is done.
  void prepare() { gates_.prepare(); }
  /// Something was asked for that takes a whole report.
  [[nodiscard]] bool wanted() const { return json_.given() || files_.given() || gates_.given(); }
  /// Something was asked for that takes the report of one network.
  [[nodiscard]] bool judges() const { return files_.given() || gates_.given(); }
  [[nodiscard]] bool quiet() const noexcept { return quiet_; }

  /// Writes and prints; returns the exit status. Throws Error (Io).
  int emit(const AuditReport& report);
  int emit(const Checkpoints& checkpoints);

 private:
  JsonOption json_;
  ReportFiles files_;
  Gates gates_;
  bool quiet_ = false;
};

/// As wide as the terminal, coloured only on one.
TextReportOptions text_options();

}  // namespace ember::cli
