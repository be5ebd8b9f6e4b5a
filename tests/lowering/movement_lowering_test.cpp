#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

// Pure movements of data, against their references: bits must agree.

using namespace ember;
using namespace ember::test;
using Ints = std::vector<std::int64_t>;

namespace {

Tensor ints(const Ints& values) { return {Shape{static_cast<std::int64_t>(values.size())}, values}; }

/// Elements that differ from each other, of any type.
Tensor distinct(DataType type, const Shape& shape) {
  Tensor tensor(type, shape);
  auto* bytes = static_cast<std::uint8_t*>(tensor.raw());
  const std::size_t size = size_of(type);
  for (std::size_t i = 0; i < tensor.bytes(); ++i)
    bytes[i] = static_cast<std::uint8_t>((i / size) >> (i % size * 8));
  return tensor;
}

struct Node {
  std::string op;
  int opset = 18;
  GraphBuilder::Attributes attributes;
  int outputs = 1;
};

/// A case with data inputs (float32 random unless made otherwise) and constants behind them.
LoweringCase make(const Node& node, const std::vector<Tensor>& data,
                  const std::vector<Tensor>& constants = {}) {
  GraphBuilder b(node.opset);
  LoweringCase test;
  test.exact = true;
  std::vector<graph::ValueId> inputs;
  for (const Tensor& tensor : data) {
    const std::string name = "x" + std::to_string(inputs.size());
    const auto dims = tensor.shape().dims();
    inputs.push_back(b.input(name, tensor.type(), {dims.begin(), dims.end()}));
    test.inputs.emplace(name, tensor);
  }
  for (const Tensor& tensor : constants) {
    inputs.push_back(tensor.empty() ? graph::kNoValue
                                    : b.constant("c" + std::to_string(inputs.size()), tensor));
  }
  for (const graph::ValueId id : b.node(node.op, "y", inputs, node.attributes, node.outputs)) b.output(id);
  test.graph = b.graph();
  return test;
}

LoweringResult check(const Node& node, const std::vector<Tensor>& data, const std::vector<Tensor>& constants,
                     const std::string& required, bool blocked = false) {
  INFO(node.op, " on ", to_string(data[0].shape()));
  const LoweringResult result = check_lowerings(make(node, data, constants), {required});
  if (blocked) CHECK(result.accepted_blocked.contains(required));
  return result;
}

Tensor random(const Shape& shape) { return random_tensor(shape, 5); }

}  // namespace

TEST_CASE("reshaping operators are aliases, blocked or not") {
  check({"Reshape"}, {random({2, 3, 4})}, {ints({4, 6})}, "alias");
  check({"Reshape"}, {random({2, 17, 3, 4})}, {ints({2, 17, 12})}, "alias", true);
  check({"Reshape"}, {random({1, 300, 300})}, {ints({-1})}, "alias");
  check({"Flatten"}, {random({2, 16, 1, 1})}, {}, "alias", true);
  check({"Flatten"}, {random({2, 17, 1, 1})}, {}, "alias");
  check({"Squeeze"}, {random({2, 1, 5})}, {ints({1})}, "alias");
  check({"Unsqueeze"}, {random({2, 9, 5})}, {ints({-1})}, "alias", true);
  check({"Identity"}, {random({1, 9, 3, 3})}, {}, "alias", true);
  check({"Dropout"}, {random({7})}, {}, "alias");
  check({"Reshape"}, {Tensor(DataType::Float32, {0, 3})}, {ints({0, 7})}, "alias");
  const auto masked = run_lowerings(make({"Dropout", 13, {}, 2}, {random({7})}));
  CHECK(masked.refusals.at("alias") == "the mask is wanted");
}

TEST_CASE("Transpose of every element size and odd extents") {
  for (const DataType type : {DataType::Float32, DataType::UInt8, DataType::Float16, DataType::Int64}) {
    for (const Shape& shape :
         {Shape{1, 1}, Shape{3, 13}, Shape{64, 65}, Shape{127, 31}, Shape{0, 4}, Shape{300, 200}})
      check({"Transpose"}, {distinct(type, shape)}, {}, "strided_transpose");
  }
  for (const Ints& perm : {Ints{0, 2, 3, 1}, Ints{0, 3, 1, 2}, Ints{3, 2, 1, 0}, Ints{0, 2, 1, 3},
                           Ints{0, 1, 2, 3}, Ints{1, 0, 3, 2}, Ints{2, 3, 0, 1}}) {
    check({"Transpose", 13, {{"perm", perm}}}, {random({2, 3, 13, 7})}, {}, "strided_transpose");
    check({"Transpose", 13, {{"perm", perm}}}, {random({2, 16, 5, 7})}, {}, "strided_transpose", true);
    check({"Transpose", 13, {{"perm", perm}}}, {random({1, 32, 1, 1})}, {}, "strided_transpose", true);
  }
  check({"Transpose", 13, {{"perm", Ints{0, 2, 1}}}}, {random({3, 130, 257})}, {}, "strided_transpose");
}

TEST_CASE("DepthToSpace and SpaceToDepth") {
  for (const char* mode : {"DCR", "CRD"}) {
    const GraphBuilder::Attributes attributes{{"blocksize", std::int64_t{2}}, {"mode", std::string(mode)}};
    check({"DepthToSpace", 13, attributes}, {random({2, 12, 5, 7})}, {}, "strided_transpose");
  }
  check({"SpaceToDepth", 13, {{"blocksize", std::int64_t{3}}}}, {random({2, 3, 6, 9})}, {},
        "strided_transpose");
  check({"DepthToSpace", 13, {{"blocksize", std::int64_t{1}}}}, {random({2, 3, 6, 9})}, {},
        "strided_transpose");
}

TEST_CASE("Concat along every axis, plain and blocked") {
  for (const std::int64_t axis : {0, 1, 2, -1}) {
    const GraphBuilder::Attributes attributes{{"axis", axis}};
    check({"Concat", 13, attributes}, {random({2, 16, 3, 5}), random({2, 16, 3, 5})}, {}, "strided_concat",
          true);
    check({"Concat", 13, attributes}, {random({2, 3, 3, 5}), random({2, 3, 3, 5})}, {}, "strided_concat");
  }
  const GraphBuilder::Attributes channels{{"axis", std::int64_t{1}}};
  check({"Concat", 13, channels}, {random({1, 32, 7, 7}), random({1, 16, 7, 7}), random({1, 5, 7, 7})}, {},
        "strided_concat", true);
  check({"Concat", 13, channels}, {random({3, 5})}, {random({3, 1}), random({3, 0})}, "strided_concat");
  check({"Concat", 13, channels}, {distinct(DataType::Bool, {3, 2})}, {distinct(DataType::Bool, {3, 4})},
        "strided_concat");
}

TEST_CASE("Split, plain and blocked") {
  const GraphBuilder::Attributes channels{{"axis", std::int64_t{1}}};
  check({"Split", 13, channels, 3}, {random({2, 53, 3, 5})}, {ints({16, 32, 5})}, "strided_split", true);
  check({"Split", 13, channels, 2}, {random({2, 10, 3, 5})}, {}, "strided_split");
  check({"Split", 13, {{"axis", std::int64_t{-1}}}, 3}, {random({2, 9, 3, 9})}, {ints({0, 8, 1})},
        "strided_split", true);
  check({"Split", 11, {{"split", Ints{1, 4}}}, 2}, {distinct(DataType::Int64, {5, 3})}, {}, "strided_split");
}

TEST_CASE("channels put together anew without leaving the blocked layout") {
  const GraphBuilder::Attributes channels{{"axis", std::int64_t{1}}};
  check({"Concat", 13, channels}, {random({2, 24, 3, 5}), random({2, 24, 3, 5})}, {}, "channel_concat", true);
  check({"Concat", 13, channels}, {random({1, 5, 70, 40}), random({1, 17, 70, 40}), random({1, 3, 70, 40})},
        {}, "channel_concat", true);
  check({"Split", 13, channels, 3}, {random({2, 53, 3, 5})}, {ints({13, 35, 5})}, "channel_split", true);
  check({"Split", 13, channels, 2}, {random({2, 10, 3, 5})}, {}, "channel_split", true);
  check({"Gather", 13, channels}, {random({2, 26, 3, 5})}, {ints({0, 13, 1, 14, -1, 25, 25, 2, 9})},
        "channel_gather", true);
  std::vector<std::int64_t> scattered;  // one lane of every block
  for (std::int64_t i = 0; i < 40; ++i) scattered.push_back(i * 17 % 320);
  check({"Gather", 13, channels}, {random({1, 320, 7})}, {ints(scattered)}, "channel_gather", true);
  check({"Slice", 13}, {random({2, 40, 3, 5})}, {ints({3}), ints({30}), ints({1})}, "channel_slice", true);
  check({"Slice", 13}, {random({2, 40, 3, 5})}, {ints({39}), ints({0}), ints({1}), ints({-3})},
        "channel_slice", true);
}

TEST_CASE("Slice forwards, backwards and by channels") {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  const auto slice = [](const Shape& shape, const Ints& starts, const Ints& ends, const Ints& axes,
                        const Ints& steps, bool blocked = false) {
    check({"Slice", 13}, {random(shape)}, {ints(starts), ints(ends), ints(axes), ints(steps)},
          "strided_slice", blocked);
  };
  slice({2, 20, 9, 9}, {16}, {20}, {1}, {1}, true);
  slice({2, 20, 9, 9}, {1, 8}, {3, kMin}, {1, 3}, {1, -3});
  slice({2, 20, 9, 9}, {1, 8}, {9, kMin}, {2, 3}, {2, -1}, true);
  slice({2, 20, 9, 9}, {3}, {19}, {1}, {2});
  slice({100, 301}, {0, 300}, {100, kMin}, {0, 1}, {1, -1});
  slice({5, 7}, {3}, {1}, {1}, {1});
  slice({5, 7}, {0}, {99}, {1}, {1});
  check({"Slice", 9, {{"starts", Ints{1}}, {"ends", Ints{-1}}}}, {distinct(DataType::UInt8, {9, 3})}, {},
        "strided_slice");
  LoweringCase open = make({"Slice", 13}, {random({5}), ints({1}), ints({2})});
  const auto refused = run_lowerings(open);
  CHECK(refused.refusals.at("strided_slice") == "the bounds are not constant");
}

TEST_CASE("Pad in every mode") {
  for (const char* mode : {"constant", "edge", "reflect", "wrap"}) {
    const Node pad{"Pad", 19, {{"mode", std::string(mode)}}};
    check(pad, {random({2, 9, 5, 7})}, {ints({0, 0, 1, 2, 0, 0, 3, 1})}, "strided_pad", true);
    check(pad, {random({2, 9, 5, 7})}, {ints({1, 2, 0, -2, 0, 1, -1, 4})}, "strided_pad");
    check(pad, {random({3})}, {ints({7, 8})}, "strided_pad");
    check(pad, {random({1, 4})}, {ints({1, 0, 1, 0})}, "strided_pad");
    check(pad, {random({70, 300})}, {ints({3, 3, 3, 3})}, "strided_pad");
    check(pad, {random({2, 3})}, {ints({0, 0, 0, 0})}, "strided_pad");
  }
  const Ints channels{0, 16, 0, 0, 0, 5, 0, 0};
  check({"Pad", 13}, {random({2, 32, 3, 5})}, {ints(channels)}, "strided_pad", true);
  check({"Pad", 13}, {random({2, 16, 3, 5})}, {ints({0, -8, 0, 0, 0, 8, 0, 0})}, "strided_pad");
  const Tensor low(Shape{}, std::vector<float>{-INFINITY});
  const auto infinite =
      check({"Pad", 13}, {random({1, 9, 3, 3})}, {ints({0, 0, 1, 1, 0, 0, 1, 1}), low}, "strided_pad");
  CHECK_FALSE(infinite.accepted_blocked.contains("strided_pad"));
  check({"Pad", 13}, {random({1, 16, 3, 3})}, {ints({0, 0, 1, 1, 0, 0, 1, 1}), low}, "strided_pad", true);
  check({"Pad", 18}, {distinct(DataType::Int64, {3, 4})},
        {ints({2, 1}), Tensor::scalar<std::int64_t>(-5), ints({-1})}, "strided_pad");
  check({"Pad", 7, {{"pads", Ints{1, 0}}, {"value", 2.5F}}}, {distinct(DataType::Float16, {3})}, {},
        "strided_pad");
  const auto many =
      run_lowerings(make({"Pad", 18, {{"mode", std::string("reflect")}}}, {random({2})}, {ints({0, 600})}));
  CHECK(many.refusals.at("strided_pad") == "too many reflections");
}

TEST_CASE("Gather by constant indices") {
  const Node gather{"Gather", 13, {{"axis", std::int64_t{1}}}};
  const Tensor x = random({3, 11, 5});
  check(gather, {x}, {ints({0, 2, 4})}, "gather_rows");
  check(gather, {x}, {ints({-1, 0, 7, 7})}, "gather_rows");
  check(gather, {x}, {ints({5, 4, 3})}, "gather_rows");
  check(gather, {x}, {ints({3, 3, 3})}, "gather_rows");
  check(gather, {x}, {Tensor::scalar<std::int64_t>(-2)}, "gather_rows");
  check(gather, {x}, {ints({})}, "gather_rows");
  check({"Gather"}, {distinct(DataType::UInt8, {500, 300})}, {ints({499, 0, 1, 250, -1})}, "gather_rows");
  const Tensor matrix({2, 2}, std::vector<std::int32_t>{1, 0, 2, 5});
  check(gather, {x}, {matrix}, "gather_rows");
  const auto open = run_lowerings(make(gather, {x, ints({1})}));
  CHECK(open.refusals.at("gather_rows") == "the indices are not constant");
}

TEST_CASE("Expand and Tile") {
  check({"Expand"}, {random({3, 1})}, {ints({2, 3, 50})}, "strided_repeat");
  check({"Expand"}, {random({1, 5, 1, 7})}, {ints({4, 1, 6, 1})}, "strided_repeat");
  check({"Expand"}, {random({})}, {ints({4000})}, "strided_repeat");
  check({"Expand"}, {random({4, 5})}, {ints({1})}, "strided_repeat");
  check({"Tile"}, {random({3, 5})}, {ints({2, 3})}, "strided_repeat");
  check({"Tile"}, {distinct(DataType::Int16, {1, 2, 3})}, {ints({3, 1, 2})}, "strided_repeat");
  check({"Tile"}, {random({3, 5})}, {ints({0, 3})}, "strided_repeat");
  check({"Tile"}, {Tensor(DataType::Float32, {3, 0})}, {ints({2, 3})}, "strided_repeat");
}

TEST_CASE("Cast: the same type is an alias, others a loop") {
  for (const std::int64_t to : {2, 3, 6, 7, 9, 10, 11, 16})
    check({"Cast", 13, {{"to", to}}}, {random_tensor({70, 300}, 3, -300, 300)}, {}, "cast_loop");
  for (const DataType from : {DataType::Float16, DataType::UInt8, DataType::Int64, DataType::Bool}) {
    Tensor x = from == DataType::Bool ? Tensor(from, {37}) : distinct(from, {37});
    check({"Cast", 13, {{"to", std::int64_t{1}}}}, {x}, {}, "cast_loop");
  }
  check({"Cast", 13, {{"to", std::int64_t{1}}}}, {random({2, 9, 3})}, {}, "alias", true);
}
