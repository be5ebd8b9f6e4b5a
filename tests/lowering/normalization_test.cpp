#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using namespace ember::test;
using kernels::ActivationKind;

namespace {

/// x and parameters of one length each, constant or not.
LoweringCase make_case(const std::string& op, const Shape& shape, const std::vector<Shape>& parameters,
                       GraphBuilder::Attributes attributes, bool constant = true, int outputs = 1,
                       int opset = 23) {
  GraphBuilder builder(opset);
  LoweringCase test;
  std::vector<graph::ValueId> ids = {builder.input("x", DataType::Float32, {shape.begin(), shape.end()})};
  test.inputs["x"] = random_tensor(shape, 3, -1.0F, 3.0F);
  for (const Shape& parameter : parameters) {
    const std::string name = "p" + std::to_string(ids.size());
    const Tensor values = random_tensor(parameter, 40 + ids.size(), 0.5F, 1.5F);
    if (constant) {
      ids.push_back(builder.constant(name, values));
    } else {
      ids.push_back(builder.input(name, DataType::Float32, {parameter.begin(), parameter.end()}));
      test.inputs[name] = values;
    }
  }
  for (const graph::ValueId y : builder.node(op, "y", ids, std::move(attributes), outputs)) builder.output(y);
  test.graph = builder.graph();
  return test;
}

}  // namespace

TEST_CASE("BatchNormalization in both layouts, with every kind of activation behind it") {
  for (const Shape& shape : {Shape{3, 13}, Shape{1, 1, 1}, Shape{2, 13, 5, 3}, Shape{1, 16, 67, 71},
                             Shape{2, 3, 2, 3, 5}, Shape{2, 127, 3}}) {
    const Shape channels{shape[1]};
    LoweringCase test = make_case("BatchNormalization", shape, {channels, channels, channels, channels}, {});
    INFO(to_string(shape));
    const LoweringResult result = check_lowerings(test, {"scale_shift"});
    CHECK(result.accepted_blocked.contains("scale_shift") == (shape.rank() >= 3));
    for (const ActivationKind kind : {ActivationKind::Relu, ActivationKind::Clip, ActivationKind::Sigmoid}) {
      test.epilogue.before = {.kind = kind, .alpha = 0.25F, .beta = 1.5F};
      check_lowerings(test, {"scale_shift"});
    }
    auto slopes = std::make_shared<std::vector<float>>((shape[1] + 15) / 16 * 16, 0.0F);
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape[1]); ++i)
      (*slopes)[i] = 0.01F * static_cast<float>(i + 1);
    test.epilogue.before = {.kind = ActivationKind::PRelu, .slopes = slopes->data(), .slope_count = shape[1]};
    test.epilogue.slopes_before = slopes;
    check_lowerings(test, {"scale_shift"});
  }
}

TEST_CASE("LayerNormalization and RMSNormalization") {
  for (const bool constant : {true, false}) {
    for (const Shape& shape : {Shape{3, 1}, Shape{3, 13}, Shape{2, 5, 127}, Shape{7, 3000}}) {
      const Shape last{shape[shape.rank() - 1]};
      check_lowerings(make_case("LayerNormalization", shape, {last, last}, {}, constant, 3),
                      {"trailing_normalization"});
      check_lowerings(make_case("LayerNormalization", shape, {last}, {}, constant),
                      {"trailing_normalization"});
      check_lowerings(make_case("RMSNormalization", shape, {last}, {}, constant), {"trailing_normalization"});
    }
  }
  check_lowerings(make_case("LayerNormalization", {2, 3, 5}, {{3, 5}, {3, 5}}, {{"axis", std::int64_t{1}}}),
                  {"trailing_normalization"});
  CHECK(run_lowerings(make_case("LayerNormalization", {2, 3, 5}, {{5}}, {{"axis", std::int64_t{1}}}))
            .accepted.empty());
  // A large mean must not drown a small variance.
  LoweringCase far = make_case("LayerNormalization", {2, 1000}, {{1000}, {1000}}, {});
  for (float& x : far.inputs.at("x").data<float>()) x = 1000.0F + x;
  far.absolute = 2e-4;
  check_lowerings(far, {"trailing_normalization"});
}

TEST_CASE("InstanceNormalization and GroupNormalization") {
  for (const bool constant : {true, false}) {
    for (const Shape& shape :
         {Shape{2, 6, 5, 3}, Shape{1, 6, 127}, Shape{2, 6, 3, 2, 3}, Shape{1, 6, 61, 59}}) {
      check_lowerings(make_case("InstanceNormalization", shape, {{6}, {6}}, {}, constant),
                      {"group_normalization"});
      for (const std::int64_t groups : {1, 2, 6}) {
        check_lowerings(
            make_case("GroupNormalization", shape, {{6}, {6}}, {{"num_groups", groups}}, constant),
            {"group_normalization"});
        check_lowerings(make_case("GroupNormalization", shape, {{groups}, {groups}}, {{"num_groups", groups}},
                                  constant, 1, 18),
                        {"group_normalization"});
      }
    }
  }
}

TEST_CASE("LRN with windows narrower and wider than the channels") {
  for (const std::int64_t size : {1, 2, 5, 40}) {
    for (const float beta : {0.75F, 0.5F, 1.0F, 0.6F}) {
      check_lowerings(make_case("LRN", {2, 13, 5, 7}, {},
                                {{"size", size}, {"alpha", 0.1F}, {"beta", beta}, {"bias", 2.0F}}),
                      {"lrn"});
    }
  }
}
