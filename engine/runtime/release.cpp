#include "runtime/release.hpp"

#include <utility>

#include "passes/pass.hpp"

namespace ember::runtime {

std::shared_ptr<const graph::Graph> optimized_alone(Model model,
                                                    const std::set<std::string>& disabled_passes) {
  auto graph = std::make_shared<graph::Graph>(model.graph());
  {
    const Model done = std::move(model);
  }
  passes::run_portable_passes(*graph, disabled_passes);
  return graph;
}

std::shared_ptr<const graph::Graph> face_of(const graph::Graph& graph) {
  auto face = std::make_shared<graph::Graph>();
  face->metadata = graph.metadata;
  for (const graph::ValueId input : graph.inputs) {
    const graph::Value& value = graph.value(input);
    face->inputs.push_back(face->add_value(value.name, value.type, value.dims));
  }
  return face;
}

}  // namespace ember::runtime
