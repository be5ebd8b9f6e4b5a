#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <ember/audit.hpp>

namespace ember {

/// Reads back what to_json() wrote: every count and finite number is the same to the bit; NaN and infinities
/// come back as NaN. Keys that this version does not know are passed over. Throws Error (InvalidData) that
/// names the place in the document, such as "layers[2].channels[0].index"; `name` is what messages call it.
AuditReport report_from_json(std::string_view text, const std::string& name = "<memory>");
/// Throws Error (Io, InvalidData).
AuditReport report_from_json_file(const std::filesystem::path& file);

/// SARIF 2.1.0 for code scanners: one result per layer that has a channel with a finding, located at the
/// model file and the layer's node. The channels are listed in the result's properties. Fingerprints
/// follow the layer through renaming, so that a scanner can tell old results from new ones.
std::string to_sarif(const AuditReport& report);

struct JunitOptions {
  /// Why a gate fails a layer; an empty text passes it. Without it no layer fails.
  std::function<std::string(const LayerReport&)> failure;
  /// When the audit ran, as YYYY-MM-DDThh:mm:ss; left out when empty.
  std::string timestamp;
};

/// JUnit XML for build servers: one test case per layer.
std::string to_junit(const AuditReport& report, const JunitOptions& options = {});

/// One HTML page for people, which needs nothing but a browser: it opens from disk, asks for nothing over a
/// network, and holds all it shows. Every text that comes from the model is escaped. Its parts that need no
/// script are whole without one.
std::string to_html(const AuditReport& report);

/// The JSON schemas (draft 2020-12) of what to_json() writes of an audit, of a comparison
/// (<ember/compare.hpp>) and of checkpoints (<ember/checkpoints.hpp>).
std::string_view audit_schema() noexcept;
std::string_view comparison_schema() noexcept;
std::string_view checkpoints_schema() noexcept;

}  // namespace ember
