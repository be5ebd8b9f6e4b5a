#include <cstdlib>
#include <filesystem>

#include <doctest/doctest.h>

#include "onnx/read.hpp"
#include "onnx/write.hpp"
#include "passes/pass_support.hpp"
#include "support/graph_equal.hpp"
#include "support/zoo.hpp"

using namespace ember;

namespace {

/// Models of up to this size are run by the references before and after every pass.
constexpr std::uintmax_t kCompared = 300'000;

}  // namespace

TEST_CASE("the passes hold on every model of the zoo, and their result is still ONNX") {
  for (const auto& file : test::zoo_models()) {
    CAPTURE(file);
    graph::Graph graph = onnx::read_file(file);
    const std::size_t before = graph.order().size();
    const bool compared = std::filesystem::file_size(file) <= kCompared;
    if (compared) ::setenv("EMBER_VERIFY", "1", 1);
    CHECK_NOTHROW(passes::run_portable_passes(graph));
    ::unsetenv("EMBER_VERIFY");
    CHECK(graph.order().size() <= before);
    for (const passes::Pass& pass : passes::portable_passes()) CHECK(test::run_pass(pass.name, graph) == 0);
    const auto bytes = onnx::write_bytes(graph);
    CHECK(onnx::write_bytes(onnx::read_bytes(bytes)) == bytes);
  }
}
