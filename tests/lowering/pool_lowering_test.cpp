#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

namespace ember::test {

namespace {

using Dims = std::vector<std::int64_t>;

LoweringCase pool(const std::string& op, const Dims& x, GraphBuilder::Attributes attributes = {}) {
  GraphBuilder builder(22);
  LoweringCase test;
  const graph::ValueId id = builder.input("x", DataType::Float32, x);
  test.inputs.emplace("x", random_tensor(Shape(x), 3));
  builder.output(builder.op(op, "y", {id}, std::move(attributes)));
  test.graph = builder.graph();
  test.absolute = 2e-6;
  return test;
}

const std::vector<std::pair<std::string, std::string>> kPools = {{"MaxPool", "max_pool"},
                                                                 {"AveragePool", "average_pool"}};

}  // namespace

TEST_CASE("Pools: sizes, strides, dilations, padding and overhang") {
  for (const auto& [op, name] : kPools) {
    for (const std::int64_t channels : {1, 8, 13, 17}) {
      for (const std::int64_t stride : {1, 2, 3}) {
        for (const std::int64_t dilation : {1, 2}) {
          for (const std::int64_t flag : {0, 1}) {
            GraphBuilder::Attributes attributes = {{"kernel_shape", Dims{3, 2}},
                                                   {"strides", Dims{stride, stride}},
                                                   {"dilations", Dims{dilation, dilation}},
                                                   {"pads", Dims{1, 0, 1, 1}},
                                                   {"ceil_mode", flag}};
            if (op == "AveragePool") attributes["count_include_pad"] = flag;
            const LoweringResult result =
                check_lowerings(pool(op, {2, channels, 12, 27}, attributes), {name});
            CHECK(result.accepted_blocked.contains(name));
          }
        }
      }
    }
  }
}

TEST_CASE("Pools: one and three spatial axes, automatic padding") {
  for (const auto& [op, name] : kPools) {
    check_lowerings(pool(op, {2, 9, 31}, {{"kernel_shape", Dims{4}}, {"strides", Dims{3}}}), {name});
    check_lowerings(pool(op, {1, 9, 5, 6, 7},
                         {{"kernel_shape", Dims{2, 3, 3}},
                          {"strides", Dims{1, 2, 2}},
                          {"auto_pad", std::string("SAME_UPPER")}}),
                    {name});
    check_lowerings(
        pool(op, {1, 9, 8, 7}, {{"kernel_shape", Dims{3, 3}}, {"auto_pad", std::string("SAME_LOWER")}}),
        {name});
  }
}

TEST_CASE("Global pools") {
  for (const Dims& x : {Dims{2, 13, 7, 9}, Dims{1, 64, 1, 1}, Dims{3, 5, 100}, Dims{1, 8, 3, 4, 5}}) {
    check_lowerings(pool("GlobalAveragePool", x), {"global_average_pool"});
    check_lowerings(pool("GlobalMaxPool", x), {"global_max_pool"});
  }
}

TEST_CASE("MaxPool: indices are left to the reference") {
  GraphBuilder builder(12);
  const graph::ValueId x = builder.input("x", DataType::Float32, {1, 1, 4, 4});
  for (const graph::ValueId id : builder.node("MaxPool", "y", {x}, {{"kernel_shape", Dims{2, 2}}}, 2))
    builder.output(id);
  LoweringCase test;
  test.graph = builder.graph();
  test.inputs.emplace("x", random_tensor(Shape{1, 1, 4, 4}, 1));
  CHECK(run_lowerings(test).refusals.at("max_pool") == "indices are wanted");
}

}  // namespace ember::test
