#include <algorithm>
#include <memory>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ember/model.hpp>

#include "options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace ember::cli {

namespace {

nlohmann::ordered_json to_json(const std::vector<OperatorInfo>& operators) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const OperatorInfo& op : operators) {
    nlohmann::ordered_json entry{{"domain", op.domain}, {"name", op.name}, {"first_opset", op.first_opset}};
    entry["last_opset"] =
        op.last_opset == 0 ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(op.last_opset);
    entry["versions"] = op.versions;
    entry["kernels"] = op.kernels;
    list.push_back(std::move(entry));
  }
  return {{"schema", "ember-ops-1"}, {"newest_opset", newest_opset()}, {"operators", std::move(list)}};
}

void print_text(const std::vector<OperatorInfo>& operators) {
  std::size_t width = 0;
  const auto shown_name = [](const OperatorInfo& op) {
    return op.domain == "ai.onnx" ? op.name : op.domain + "." + op.name;
  };
  for (const OperatorInfo& op : operators) width = std::max(width, shown_name(op).size());
  put("{:<{}}  {:<8}  {}\n", "operator", width, "opsets", "fast kernels");
  for (const OperatorInfo& op : operators) {
    const int last = op.last_opset != 0 ? op.last_opset : op.domain == "ai.onnx" ? newest_opset() : 0;
    const std::string range =
        last != 0 ? fmt::format("{}-{}", op.first_opset, last) : fmt::format("{}-", op.first_opset);
    const std::string kernels =
        op.kernels.empty() ? "reference only" : fmt::format("{}", fmt::join(op.kernels, ", "));
    put("{:<{}}  {:<8}  {}\n", shown_name(op), width, range, kernels);
  }
  put("{} operators\n", operators.size());
}

}  // namespace

void add_ops(CLI::App& app, Context& /*context*/) {
  CLI::App* verb = app.add_subcommand("ops", "list the operators that run, with their opsets and kernels");
  auto json = std::make_shared<JsonOption>();
  json->add_to(*verb);
  add_example(*verb, "ember ops --json");
  verb->callback([json] {
    std::vector<OperatorInfo> operators = supported_operators();
    std::sort(operators.begin(), operators.end(), [](const OperatorInfo& a, const OperatorInfo& b) {
      return std::tie(a.domain, a.name) < std::tie(b.domain, b.name);
    });
    json->emit(to_json(operators));
    if (!json->on_output()) print_text(operators);
  });
}

}  // namespace ember::cli
