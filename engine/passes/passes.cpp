#include "passes/passes.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ember/error.hpp>

#include "passes/comparison.hpp"
#include "passes/pass.hpp"

namespace ember::passes {

namespace {

using graph::Graph;

constexpr std::array kPasses = {
    Pass{"constant_folding", fold_constants},
    Pass{"identity_removal", remove_identities},
    Pass{"dropout_removal", remove_dropouts},
    Pass{"pad_folding", fold_pads},
    Pass{"dilation_recovery", recover_dilations},
    Pass{"bias_folding", fold_biases},
    Pass{"batchnorm_folding", fold_batch_normalizations},
    Pass{"dead_code", remove_dead_code},
};

/// Every change shortens the graph, so rounds end by themselves; this only bounds a faulty pass.
constexpr int kMaxRounds = 1000;

void check_names(const std::set<std::string>& disabled) {
  for (const std::string& name : disabled) {
    if (std::ranges::find(kPasses, name, &Pass::name) != kPasses.end()) continue;
    std::vector<std::string_view> names;
    for (const Pass& pass : kPasses) names.push_back(pass.name);
    throw Error(ErrorCode::InvalidArgument, fmt::format("there is no pass '{}'", name),
                {.cure = fmt::format("the passes are {}", fmt::join(names, ", "))});
  }
}

/// Applies a pass to the graph and, from the inside out, to the subgraphs of its nodes.
int apply(const Pass& pass, Graph& graph) {
  int changed = 0;
  for (const graph::NodeId id : graph.order()) {
    for (auto& [key, attribute] : graph.node(id).attributes) {
      auto* shared = std::get_if<std::shared_ptr<const Graph>>(&attribute);
      if (shared == nullptr) continue;
      auto subgraph = std::make_shared<Graph>(**shared);
      const int inside = apply(pass, *subgraph);
      changed += inside;
      if (inside != 0) *shared = std::move(subgraph);
    }
  }
  return changed + pass.run(graph);
}

/// Blames whatever a pass breaks on the pass.
int apply_checked(const Pass& pass, Graph& graph, Comparison* comparison) {
  try {
    const int changed = apply(pass, graph);
    if (changed == 0) return 0;
    graph::verify(graph);
    if (comparison != nullptr) comparison->check(graph);
    return changed;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::Internal) throw;
    throw Error(ErrorCode::Internal, fmt::format("pass {}: {}", pass.name, error.reason()), error.context())
        .within({.model = graph.metadata.model_name,
                 .cure = "disable the pass and report the model that shows it"});
  }
}

bool comparing() {
  const char* wanted = std::getenv("EMBER_VERIFY");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

}  // namespace

std::span<const Pass> portable_passes() { return kPasses; }

void run_portable_passes(Graph& graph, const std::set<std::string>& disabled) {
  check_names(disabled);
  std::unique_ptr<Comparison> comparison;
  if (comparing()) comparison = std::make_unique<Comparison>(graph);
  for (int round = 0; round < kMaxRounds; ++round) {
    int changed = 0;
    for (const Pass& pass : kPasses) {
      if (!disabled.contains(std::string(pass.name))) changed += apply_checked(pass, graph, comparison.get());
    }
    if (changed == 0) return;
  }
  throw Error(ErrorCode::Internal, "the passes do not come to an end", {.model = graph.metadata.model_name});
}

}  // namespace ember::passes
