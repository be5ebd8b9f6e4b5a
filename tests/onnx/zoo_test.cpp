#include <doctest/doctest.h>

#include "graph/graph.hpp"
#include "onnx/read.hpp"
#include "onnx/write.hpp"
#include "support/graph_equal.hpp"
#include "support/zoo.hpp"

using namespace ember;

TEST_CASE("every model of the zoo is read and verifies") {
  for (const auto& file : test::zoo_models()) {
    CAPTURE(file);
    std::vector<std::string> unsupported;
    const graph::Graph graph = ember::onnx::read_file(file, unsupported);
    CHECK(unsupported.empty());
    CHECK(!graph.order().empty());
    CHECK_NOTHROW(graph::verify(graph));
  }
}

TEST_CASE("every model of the zoo survives a round trip") {
  for (const auto& file : test::zoo_models()) {
    CAPTURE(file);
    const graph::Graph graph = ember::onnx::read_file(file);
    const std::vector<std::byte> bytes = ember::onnx::write_bytes(graph);
    const graph::Graph again = ember::onnx::read_bytes(bytes);
    CHECK(test::graph_difference(graph, again) == "");
    CHECK(ember::onnx::write_bytes(again) == bytes);
  }
}
