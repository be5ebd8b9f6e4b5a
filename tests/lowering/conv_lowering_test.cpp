#include <cmath>
#include <cstdint>
#include <memory>
#include <set>
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

struct ConvCase {
  std::string op = "Conv";
  Dims x, w;
  bool bias = true;
  bool constant = true;
  Dims strides, pads, dilations;
  std::int64_t group = 1;
  std::string auto_pad;
  Dims output_padding, output_shape;
};

LoweringCase convolution(const ConvCase& c) {
  GraphBuilder::Attributes attributes;
  if (!c.strides.empty()) attributes["strides"] = c.strides;
  if (!c.pads.empty()) attributes["pads"] = c.pads;
  if (!c.dilations.empty()) attributes["dilations"] = c.dilations;
  if (!c.output_padding.empty()) attributes["output_padding"] = c.output_padding;
  if (!c.output_shape.empty()) attributes["output_shape"] = c.output_shape;
  if (!c.auto_pad.empty()) attributes["auto_pad"] = c.auto_pad;
  attributes["group"] = c.group;
  GraphBuilder builder;
  LoweringCase test;
  const std::int64_t outputs = c.op == "Conv" ? c.w[0] : c.w[1] * c.group;
  std::vector<graph::ValueId> ids = {builder.input("x", DataType::Float32, c.x)};
  test.inputs.emplace("x", random_tensor(Shape(c.x), 5));
  const auto add = [&](const std::string& name, Tensor tensor) {
    if (c.constant) {
      ids.push_back(builder.constant(name, std::move(tensor)));
      return;
    }
    const auto dims = tensor.shape().dims();
    ids.push_back(builder.input(name, DataType::Float32, {dims.begin(), dims.end()}));
    test.inputs.emplace(name, std::move(tensor));
  };
  add("w", random_tensor(Shape(c.w), 6));
  if (c.bias) add("b", random_tensor(Shape{outputs}, 7));
  builder.output(builder.op(c.op, "y", ids, std::move(attributes)));
  test.graph = builder.graph();
  test.absolute = 2e-5;
  test.relative = 2e-5;
  test.slack = {{"conv_winograd_f2", 2.0}, {"conv_winograd_f4", 8.0}};
  return test;
}

void check_conv(const ConvCase& c, const std::set<std::string>& required) {
  CAPTURE(to_string(Shape(c.x)));
  CAPTURE(to_string(Shape(c.w)));
  CAPTURE(c.group);
  check_lowerings(convolution(c), required);
}

}  // namespace

TEST_CASE("Conv: channel counts around the block and the tile, 1x1 and 3x3") {
  for (const std::int64_t in : {1, 3, 8, 13, 17}) {
    for (const std::int64_t out : {1, 7, 8, 16, 17, 40}) {
      check_conv({.x = {1, in, 5, 7}, .w = {out, in, 1, 1}}, {"conv_direct", "conv_plain"});
      check_conv({.x = {3, in, 5, 7}, .w = {out, in, 3, 3}, .pads = {1, 1, 1, 1}},
                 {"conv_direct", "conv_plain"});
    }
  }
}

TEST_CASE("Conv: 1x1, for every number of outputs that tiles share unevenly") {
  for (const std::int64_t outputs : {2, 4, 7, 13, 14, 15, 27, 29, 57, 127}) {
    for (const std::int64_t out : {8, 16, 24, 40})
      check_conv({.x = {1, 33, 1, outputs}, .w = {out, 33, 1, 1}, .bias = out != 24}, {"conv_direct"});
  }
}

TEST_CASE("Conv: sizes, strides, dilations and uneven padding") {
  for (const std::int64_t size : {1, 5, 13, 28}) {
    for (const std::int64_t stride : {1, 2, 3}) {
      for (const std::int64_t dilation : {1, 2}) {
        check_conv({.x = {1, 9, size, size + 2},
                    .w = {17, 9, 3, 3},
                    .strides = {stride, stride},
                    .pads = {2, 2, 2, 3},
                    .dilations = {dilation, dilation}},
                   {"conv_direct", "conv_plain"});
        check_conv({.x = {2, 3, size + 4, size},
                    .w = {9, 3, 5, 2},
                    .bias = false,
                    .strides = {stride, 1},
                    .pads = {4, 1, 1, 4},
                    .dilations = {dilation, 1}},
                   {"conv_few_channels", "conv_direct", "conv_plain"});
      }
    }
  }
}

TEST_CASE("Conv: few channels, whole windows and those that stick out on every side") {
  for (const std::int64_t stride : {1, 2, 3}) {
    check_conv({.x = {2, 3, 19, 23}, .w = {24, 3, 3, 3}, .strides = {stride, stride}, .pads = {1, 1, 1, 1}},
               {"conv_few_channels"});
    check_conv({.x = {1, 1, 21, 10}, .w = {9, 1, 10, 4}, .strides = {stride, 2}, .pads = {4, 1, 5, 1}},
               {"conv_few_channels"});
    check_conv({.x = {1, 2, 9, 30}, .w = {17, 2, 2, 3}, .strides = {1, stride}, .dilations = {3, 2}},
               {"conv_few_channels"});
  }
  check_conv({.x = {1, 3, 4, 9, 11}, .w = {8, 3, 2, 3, 3}, .pads = {1, 1, 1, 0, 1, 1}},
             {"conv_few_channels"});
  // Images too large to be copied whole.
  check_conv({.x = {1, 3, 21, 95}, .w = {16, 3, 3, 3}, .pads = {1, 1, 1, 1}}, {"conv_few_channels"});
  check_conv({.x = {1, 3, 40, 131}, .w = {7, 3, 3, 3}, .strides = {2, 2}, .pads = {1, 0, 1, 2}},
             {"conv_few_channels"});
  check_conv({.x = {1, 7, 16, 90}, .w = {8, 7, 8, 8}, .strides = {1, 3}, .pads = {3, 3, 4, 4}},
             {"conv_few_channels"});
  // More taps than are listed.
  check_conv({.x = {1, 7, 15, 15}, .w = {8, 7, 9, 9}, .pads = {4, 4, 4, 4}}, {"conv_few_channels"});
}

TEST_CASE("Conv: one to three spatial axes and automatic padding") {
  for (const std::string auto_pad : {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}) {
    check_conv({.x = {2, 10, 31}, .w = {12, 10, 4}, .strides = {2}, .auto_pad = auto_pad}, {"conv_direct"});
    check_conv({.x = {1, 10, 6, 31}, .w = {12, 10, 4, 2}, .strides = {1, 2}, .auto_pad = auto_pad},
               {"conv_direct"});
    check_conv({.x = {1, 10, 5, 6, 9}, .w = {12, 10, 2, 3, 4}, .strides = {2, 1, 2}, .auto_pad = auto_pad},
               {"conv_direct"});
  }
}

TEST_CASE("Conv: groups, aligned to blocks or not") {
  check_conv({.x = {1, 32, 7, 7}, .w = {64, 16, 3, 3}, .pads = {1, 1, 1, 1}, .group = 2}, {"conv_direct"});
  check_conv({.x = {1, 12, 7, 7}, .w = {10, 6, 3, 3}, .pads = {1, 1, 1, 1}, .group = 2}, {"conv_plain"});
  check_conv({.x = {2, 12, 7, 7}, .w = {12, 4, 1, 1}, .group = 3}, {"conv_plain"});
  check_conv({.x = {1, 6, 7, 7}, .w = {12, 1, 3, 3}, .strides = {2, 2}, .group = 6}, {"conv_plain"});
}

TEST_CASE("Conv: depthwise kernels of every kind") {
  for (const std::int64_t channels : {2, 8, 13, 17}) {
    for (const std::int64_t kernel : {2, 3, 5}) {
      for (const std::int64_t stride : {1, 2, 3}) {
        for (const std::int64_t dilation : {1, 2}) {
          check_conv({.x = {2, channels, 13, 21},
                      .w = {channels, 1, kernel, kernel},
                      .strides = {stride, stride},
                      .pads = {1, 2, 2, 1},
                      .dilations = {dilation, dilation},
                      .group = channels},
                     {"conv_depthwise"});
        }
      }
    }
  }
  for (const std::int64_t height : {2, 3, 4, 5, 8, 31}) {
    for (const std::int64_t width : {5, 8, 40})
      check_conv({.x = {1, 16, height, width}, .w = {16, 1, 3, 3}, .pads = {1, 1, 1, 1}, .group = 16},
                 {"conv_depthwise"});
  }
  check_conv({.x = {1, 16, 30}, .w = {16, 1, 7}, .pads = {3, 3}, .group = 16}, {"conv_depthwise"});
  check_conv({.x = {1, 8, 4, 5, 6}, .w = {8, 1, 3, 3, 3}, .pads = {1, 1, 1, 1, 1, 1}, .group = 8},
             {"conv_depthwise"});
}

TEST_CASE("Conv: filters that only a run knows") {
  check_conv({.x = {2, 9, 6, 6}, .w = {17, 9, 3, 3}, .constant = false, .pads = {1, 1, 1, 1}},
             {"conv_plain"});
  check_conv({.x = {1, 9, 6, 6}, .w = {17, 9, 1, 1}, .bias = false, .constant = false}, {"conv_plain"});
}

TEST_CASE("Conv: everything that is fused behind it") {
  using enum kernels::ActivationKind;
  const std::vector<std::pair<ConvCase, std::string>> cases = {
      {{.x = {2, 19, 6, 7}, .w = {21, 19, 3, 3}, .pads = {1, 1, 1, 1}}, "conv_direct"},
      {{.x = {1, 19, 9, 15}, .w = {42, 19, 1, 1}}, "conv_direct"},
      {{.x = {1, 3, 9, 9}, .w = {20, 3, 3, 3}, .strides = {2, 2}}, "conv_few_channels"},
      {{.x = {1, 21, 9, 9}, .w = {21, 1, 3, 3}, .pads = {1, 1, 1, 1}, .group = 21}, "conv_depthwise"},
      {{.x = {1, 12, 5, 5}, .w = {18, 4, 3, 3}, .group = 3}, "conv_plain"}};
  auto slopes = std::make_shared<std::vector<float>>(48, 0.0F);
  for (std::size_t i = 0; i < 18; ++i) (*slopes)[i] = 0.03F * static_cast<float>(i);
  for (const auto& [c, name] : cases) {
    for (const auto kind : {None, Relu, Clip, LeakyRelu, PRelu, Silu, Tanh}) {
      for (const bool residual : {false, true}) {
        LoweringCase test = convolution(c);
        test.epilogue.before = {.kind = kind, .alpha = kind == LeakyRelu ? 0.1F : -0.5F, .beta = 0.75F};
        if (kind == Silu) test.epilogue.before.alpha = 1.0F;
        if (kind == PRelu) {
          test.epilogue.before.slopes = slopes->data();
          test.epilogue.before.slope_count = c.w[0];
          test.epilogue.slopes_before = slopes;
        }
        test.epilogue.residual = residual;
        if (residual) test.epilogue.after.kind = kind == Tanh ? Sigmoid : Relu;
        check_lowerings(test, {name});
      }
    }
  }
}

TEST_CASE("Conv: images of one pixel are rows of a matrix product") {
  const std::set<std::string> required = {"conv_one_pixel", "conv_direct"};
  for (const std::int64_t in : {1, 13, 16, 64, 200}) {
    for (const std::int64_t out : {1, 9, 32, 100})
      check_conv({.x = {in == 13 ? 3 : 1, in, 1, 1}, .w = {out, in, 1, 1}, .bias = out != 32}, required);
  }
  check_conv({.x = {1, 24, 1}, .w = {16, 24, 1}}, required);
  LoweringCase test = convolution({.x = {2, 32, 1, 1}, .w = {48, 32, 1, 1}});
  auto slopes = std::make_shared<std::vector<float>>(48, 0.5F);
  for (std::size_t i = 0; i < 48; ++i) (*slopes)[i] = 0.03F * static_cast<float>(i);
  test.epilogue.before = {.kind = kernels::ActivationKind::PRelu};
  test.epilogue.before.slopes = slopes->data();
  test.epilogue.before.slope_count = 48;
  test.epilogue.slopes_before = slopes;
  test.epilogue.residual = true;
  test.epilogue.after.kind = kernels::ActivationKind::HardSwish;
  check_lowerings(test, required);
  LoweringResult padded =
      check_lowerings(convolution({.x = {1, 8, 1, 1}, .w = {8, 8, 1, 1}, .pads = {1, 0, 0, 0}}));
  CHECK(padded.refusals["conv_one_pixel"] == "not 1x1 images");
}

TEST_CASE("Conv: Winograd where it costs less, for every size, batch and epilogue") {
  const std::set<std::string> f4 = {"conv_winograd_f4", "conv_direct"};
  const std::set<std::string> both = {"conv_winograd_f4", "conv_winograd_f2", "conv_direct"};
  check_conv({.x = {1, 16, 12, 13}, .w = {24, 16, 3, 3}, .pads = {1, 1, 1, 1}}, both);
  check_conv({.x = {5, 17, 15, 14}, .w = {33, 17, 3, 3}, .bias = false}, both);
  check_conv({.x = {1, 40, 30, 41}, .w = {64, 40, 3, 3}, .pads = {0, 2, 1, 3}}, both);
  check_conv({.x = {1, 15, 33, 35}, .w = {31, 15, 3, 3}, .auto_pad = "SAME_UPPER"}, f4);
  check_conv({.x = {3, 64, 7, 7}, .w = {72, 64, 3, 3}, .pads = {1, 1, 1, 1}}, {"conv_winograd_f2"});
  check_conv({.x = {1, 64, 8, 8}, .w = {128, 64, 3, 3}, .pads = {1, 1, 1, 1}}, f4);
  for (const auto kind : {kernels::ActivationKind::Clip, kernels::ActivationKind::Silu}) {
    LoweringCase test = convolution({.x = {2, 24, 19, 21}, .w = {40, 24, 3, 3}, .pads = {1, 1, 1, 1}});
    test.epilogue.before = {.kind = kind, .alpha = -0.5F, .beta = 0.75F};
    test.epilogue.residual = true;
    test.epilogue.after.kind = kernels::ActivationKind::Relu;
    check_lowerings(test, both);
  }
}

TEST_CASE("Conv: Winograd refuses what it cannot do or would do worse") {
  const auto refusal = [](const ConvCase& c, const std::string& implementation) {
    return check_lowerings(convolution(c)).refusals[implementation];
  };
  const ConvCase usual = {.x = {1, 16, 16, 16}, .w = {16, 16, 3, 3}, .pads = {1, 1, 1, 1}};
  for (const std::string name : {"conv_winograd_f4", "conv_winograd_f2"}) {
    ConvCase c = usual;
    CHECK(refusal(c, name).empty());
    c.strides = {2, 2};
    CHECK(refusal(c, name) == "strides or dilations");
    c = usual;
    c.dilations = {1, 2};
    CHECK(refusal(c, name) == "strides or dilations");
    c = usual;
    c.w = {16, 16, 3, 2};
    CHECK(refusal(c, name) == "not 3x3");
    c = usual;
    c.group = 2;
    c.w = {16, 8, 3, 3};
    CHECK(refusal(c, name) == "groups");
    c = usual;
    c.constant = false;
    CHECK(refusal(c, name) == "weights that only a run knows");
    c = usual;
    c.x = {1, 8, 3, 3};
    c.w = {8, 8, 3, 3};
    CHECK(refusal(c, name).find("direct") != std::string::npos);
  }
  // Few tiles and large filters: the form with fewer points.
  LoweringCase deep = convolution({.x = {1, 256, 5, 5}, .w = {256, 256, 3, 3}, .pads = {1, 1, 1, 1}});
  deep.absolute = 2e-4;
  const LoweringResult result = check_lowerings(deep, {"conv_winograd_f2"});
  CHECK_FALSE(result.accepted.contains("conv_winograd_f4"));
  // A NaN among the filters would spread over whole tiles.
  LoweringCase infinite = convolution(usual);
  Tensor filters = random_tensor(Shape(usual.w), 6);
  filters.data<float>()[5] = INFINITY;
  GraphBuilder builder;
  builder.output(builder.op(
      "Conv", "y",
      {builder.input("x", DataType::Float32, usual.x), builder.constant("w", std::move(filters))}));
  infinite.graph = builder.graph();
  LoweringResult refused = check_lowerings(infinite, {"conv_direct"});
  CHECK(refused.refusals["conv_winograd_f4"] == "weights that are not finite");
  CHECK(refused.refusals["conv_winograd_f2"] == "weights that are not finite");
}

TEST_CASE("Conv: filters too large to be summed at once, and a lone block of output channels") {
  for (const ConvCase& c :
       {ConvCase{.x = {1, 384, 9, 15}, .w = {40, 384, 3, 3}, .strides = {2, 2}, .pads = {1, 1, 1, 1}},
        ConvCase{.x = {1, 2080, 5, 7}, .w = {24, 2080, 1, 1}}}) {
    LoweringCase large = convolution(c);
    large.absolute = 2e-4;
    check_lowerings(large, {"conv_direct"});
  }
  check_conv({.x = {1, 24, 9, 31}, .w = {16, 24, 1, 1}}, {"conv_direct"});
  check_conv({.x = {2, 32, 5, 61}, .w = {13, 32, 3, 5}, .pads = {1, 2, 1, 2}}, {"conv_direct"});
  check_conv({.x = {1, 32, 9, 61}, .w = {45, 32, 1, 1}, .strides = {2, 2}}, {"conv_direct"});
}

TEST_CASE("Conv: big enough to be split") {
  check_conv({.x = {1, 64, 14, 14}, .w = {72, 64, 3, 3}, .pads = {1, 1, 1, 1}}, {"conv_direct"});
  check_conv({.x = {1, 64, 28, 28}, .w = {64, 64, 1, 1}}, {"conv_direct"});
}

TEST_CASE("ConvTranspose: strides, dilations, padding, groups and output shapes") {
  const std::string op = "ConvTranspose";
  for (const std::int64_t stride : {1, 2, 3}) {
    for (const std::int64_t dilation : {1, 2}) {
      for (const std::int64_t kernel : {1, 2, 3, 4}) {
        check_conv({.op = op,
                    .x = {2, 9, 5, 6},
                    .w = {9, 11, kernel, kernel},
                    .strides = {stride, stride},
                    .dilations = {dilation, dilation}},
                   {"conv_transpose_direct", "conv_transpose_plain"});
      }
    }
  }
  const std::set<std::string> direct = {"conv_transpose_direct"};
  const std::set<std::string> plain = {"conv_transpose_plain"};
  check_conv({.op = op, .x = {1, 16, 7, 7}, .w = {16, 8, 4, 4}, .strides = {2, 2}, .pads = {1, 1, 1, 1}},
             direct);
  check_conv(
      {.op = op, .x = {1, 16, 7}, .w = {16, 8, 3}, .strides = {2}, .pads = {1, 1}, .output_padding = {1}},
      direct);
  check_conv({.op = op, .x = {1, 3, 4, 4, 4}, .w = {3, 5, 2, 2, 2}, .strides = {2, 2, 2}},
             {"conv_transpose_few_channels"});
  check_conv({.op = op, .x = {1, 6, 7, 7}, .w = {6, 2, 3, 3}, .strides = {2, 2}, .group = 3}, plain);
  check_conv({.op = op, .x = {1, 12, 7, 7}, .w = {12, 1, 4, 4}, .strides = {2, 2}, .group = 12}, plain);
  check_conv({.op = op, .x = {1, 9, 5, 5}, .w = {9, 4, 3, 3}, .constant = false, .strides = {2, 2}}, plain);
  for (const std::string auto_pad : {"SAME_UPPER", "SAME_LOWER", "VALID"}) {
    check_conv({.op = op, .x = {1, 9, 5, 5}, .w = {9, 4, 3, 3}, .strides = {2, 2}, .auto_pad = auto_pad},
               direct);
    check_conv({.op = op,
                .x = {1, 9, 5, 5},
                .w = {9, 4, 3, 3},
                .strides = {3, 2},
                .auto_pad = auto_pad,
                .output_shape = {16, 12}},
               direct);
  }
  LoweringCase fused = convolution({.op = op, .x = {1, 9, 5, 5}, .w = {9, 20, 3, 3}, .strides = {2, 2}});
  fused.epilogue.before.kind = kernels::ActivationKind::Gelu;
  check_lowerings(fused, direct);
}

}  // namespace ember::test
