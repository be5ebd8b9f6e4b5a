#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <ember/report.hpp>

#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

void add_schema(CLI::App& app, Context& /*context*/) {
  static const std::map<std::string, std::string_view> kSchemas = {
      {"audit", audit_schema()}, {"comparison", comparison_schema()}, {"checkpoints", checkpoints_schema()}};
  CLI::App* verb = app.add_subcommand("schema", "print the JSON schema of what --json writes");
  auto document = std::make_shared<std::string>("audit");
  verb->add_option(
          "DOCUMENT", *document,
          "what 'ember audit' writes of one network or of checkpoints, or what 'ember compare' writes "
          "(default audit)")
      ->check(CLI::IsMember(kSchemas))
      ->option_text("[audit|comparison|checkpoints]");
  add_example(*verb, "ember schema comparison > comparison.schema.json");
  verb->callback([document] { put(kSchemas.at(*document)); });
}

}  // namespace ember::cli
