#include "report_files.hpp"

#include <ctime>

#include <ember/file.hpp>

namespace ember::cli {

namespace {

/// This moment in UTC, as JUnit writes it.
std::string timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::string text(20, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts));
  return text;
}

}  // namespace

void ReportFiles::add_to(CLI::App& verb) {
  verb.add_option("--html", html_, "write the report as one HTML page, for people")->option_text("FILE");
  verb.add_option("--sarif", sarif_, "write findings as SARIF 2.1.0, for code scanners")->option_text("FILE");
  verb.add_option("--junit", junit_, "write layers as JUnit test cases, for build servers")
      ->option_text("FILE");
}

void ReportFiles::write(const AuditReport& report,
                        const std::function<std::string(const LayerReport&)>& failure) const {
  if (!html_.empty()) write_file(html_, to_html(report));
  if (!sarif_.empty()) write_file(sarif_, to_sarif(report));
  if (!junit_.empty()) write_file(junit_, to_junit(report, {.failure = failure, .timestamp = timestamp()}));
}

}  // namespace ember::cli
