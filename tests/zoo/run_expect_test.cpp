#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/command.hpp"
#include "support/zoo.hpp"

using namespace ember;
using namespace ember::test;

TEST_CASE_FIXTURE(Shell, "run: every zoo network gives what is expected of it") {
  const std::filesystem::path zoo = zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  for (const auto& entry : nlohmann::json::parse(file_text(zoo / "index.json"))) {
    const Outcome outcome =
        ember("run '" + (zoo / entry.at("model").get<std::string>()).string() + "' --expect '" +
              (zoo / entry.at("case").get<std::string>()).string() + "'");
    CHECK_MESSAGE(outcome.status == 0, entry.at("name").get<std::string>()
                                           << ": " << outcome.out << outcome.err);
  }
}
