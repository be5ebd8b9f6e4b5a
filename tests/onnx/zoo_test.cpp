#include <doctest/doctest.h>

#include "graph/graph.hpp"
#include "onnx/read.hpp"
#include "support/zoo.hpp"

using namespace ember;

TEST_CASE("every model of the zoo is read and verifies") {
  for (const auto& file : test::zoo_models()) {
    CAPTURE(file);
    std::vector<std::string> unsupported;
    const graph::Graph graph = onnx::read_file(file, unsupported);
    CHECK(unsupported.empty());
    CHECK(!graph.order().empty());
    CHECK_NOTHROW(graph::verify(graph));
  }
}
