#include <ember/report.hpp>

#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

void add_schema(CLI::App& app, Context& /*context*/) {
  CLI::App* verb = app.add_subcommand("schema", "print the JSON schema of an audit report");
  add_example(*verb, "ember schema > audit.schema.json");
  verb->callback([] { put(audit_schema()); });
}

}  // namespace ember::cli
