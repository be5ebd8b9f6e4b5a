#pragma once

#include <memory>
#include <set>
#include <string>

#include <ember/model.hpp>

#include "graph/graph.hpp"

namespace ember::runtime {

// How a session takes a model over, see SessionOptions::release_weights.

/// The graph after the portable passes (without the disabled ones), shared with nobody. Unless others hold
/// the model too, what a pass replaces is freed at once.
std::shared_ptr<const graph::Graph> optimized_alone(Model model,
                                                    const std::set<std::string>& disabled_passes);

/// What is left of a graph whose constants are released: what it says of itself and of its inputs.
std::shared_ptr<const graph::Graph> face_of(const graph::Graph& graph);

}  // namespace ember::runtime
