#include <fmt/format.h>

#include <ember/report.hpp>

#include "report/escape.hpp"
#include "report/text_layout.hpp"
#include "report/verdict_text.hpp"

namespace ember {

namespace {

using report::escaped_markup;

/// The findings of a layer, one line per verdict.
std::string findings(const LayerReport& layer) {
  std::string text;
  for (const report::VerdictText& each : report::kVerdictTexts) {
    if (each.verdict == Verdict::Healthy) continue;
    std::vector<std::int64_t> indices;
    for (const ChannelReport& channel : layer.channels) {
      if (channel.verdict == each.verdict) indices.push_back(channel.index);
    }
    if (indices.empty()) continue;
    text += fmt::format("{} {}: channels {}\n", indices.size(), to_string(each.verdict),
                        report::ranges(indices, 2000));
  }
  return text;
}

std::string property(std::string_view name, std::string_view value) {
  return fmt::format("      <property name=\"{}\" value=\"{}\"/>\n", name, escaped_markup(value));
}

class Writer {
 public:
  Writer(const AuditReport& report, const JunitOptions& options) : report_(report), options_(options) {}

  std::string write() {
    const std::string cases = this->cases();
    const std::string name = escaped_markup(report_.model);
    std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
    xml += fmt::format(
        "  <testsuite name=\"{}\" package=\"ember\" id=\"0\" tests=\"{}\" failures=\"{}\" errors=\"0\" "
        "time=\"0\" hostname=\"localhost\"{}>\n",
        name, report_.layers().size(), failures_, timestamp());
    xml += properties() + cases;
    xml += fmt::format("    <system-out>{}</system-out>\n    <system-err></system-err>\n",
                       escaped_markup(system_out_));
    return xml + "  </testsuite>\n</testsuites>\n";
  }

 private:
  [[nodiscard]] std::string timestamp() const {
    return options_.timestamp.empty() ? ""
                                      : fmt::format(" timestamp=\"{}\"", escaped_markup(options_.timestamp));
  }

  [[nodiscard]] std::string properties() const {
    return "    <properties>\n" + property("model_sha256", report_.model_hash) +
           property("data", report_.data) + property("data_sha256", report_.data_hash) +
           property("samples", fmt::format("{}", report_.samples)) +
           property("confidence", fmt::format("{:g}", report_.confidence)) + property("isa", report_.isa) +
           "    </properties>\n";
  }

  std::string cases() {
    std::string xml;
    for (const LayerReport& layer : report_.layers()) {
      const std::string found = findings(layer);
      if (!found.empty()) system_out_ += fmt::format("{} ({})\n{}", layer.node, layer.op, found);
      const std::string reason = options_.failure ? options_.failure(layer) : std::string();
      xml += fmt::format("    <testcase name=\"{}\" classname=\"{}\" time=\"0\"", escaped_markup(layer.node),
                         escaped_markup(report_.model));
      if (reason.empty()) {
        xml += "/>\n";
        continue;
      }
      ++failures_;
      xml += fmt::format(">\n      <failure message=\"{}\" type=\"gate\">{}</failure>\n    </testcase>\n",
                         escaped_markup(reason), escaped_markup(found));
    }
    for (const std::string& note : report_.notes) system_out_ += fmt::format("note: {}\n", note);
    return xml;
  }

  const AuditReport& report_;
  const JunitOptions& options_;
  std::string system_out_;
  std::int64_t failures_ = 0;
};

}  // namespace

std::string to_junit(const AuditReport& report, const JunitOptions& options) {
  return Writer(report, options).write();
}

}  // namespace ember
