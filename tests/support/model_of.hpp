#pragma once

#include <memory>

#include <ember/model.hpp>

#include "support/graph_builder.hpp"

namespace ember::test {

/// The network that was built, without the way through a file.
inline Model model_of(const GraphBuilder& builder) {
  return Model(std::make_shared<const graph::Graph>(builder.graph()));
}

}  // namespace ember::test
