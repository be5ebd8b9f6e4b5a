#include <memory>
#include <string>

#include <ember/error.hpp>

#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

void add_help(CLI::App& app, Context& /*context*/) {
  CLI::App* help = app.add_subcommand("help", "explain a verb and show an example");
  auto name = std::make_shared<std::string>();
  help->add_option("VERB", *name, "what to explain")->option_text(" ");
  add_example(*help, "ember help run");
  help->callback([name, &app] {
    if (name->empty()) {
      put(app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal));
      return;
    }
    const auto explained = app.get_subcommands([&](CLI::App* verb) { return verb->get_name() == *name; });
    if (explained.empty()) {
      throw Error(ErrorCode::InvalidArgument, fmt::format("there is no verb '{}'", *name),
                  {.cure = "'ember --help' lists them"});
    }
    put(explained.front()->help(app.get_name()));
  });
}

}  // namespace ember::cli
