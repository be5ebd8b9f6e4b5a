#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/audit.hpp>
#include <ember/model.hpp>

#include "simd/isa.hpp"
#include "soundness.hpp"
#include "support/graph_builder.hpp"
#include "support/memory_samples.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using graph::kNoValue;
using graph::ValueId;
using test::GraphBuilder;

namespace {

Tensor ints(const std::vector<std::int64_t>& values) {
  return {Shape{static_cast<std::int64_t>(values.size())}, values};
}
graph::Attribute list(std::vector<std::int64_t> values) { return graph::Attribute(std::move(values)); }
graph::Attribute word(const std::string& text) { return graph::Attribute(text); }
constexpr std::int64_t kOne = 1;

ValueId weights(GraphBuilder& b, const std::string& name, const Shape& shape, std::uint64_t seed,
                float low = -1.0F, float high = 1.0F) {
  return b.constant(name, test::random_tensor(shape, seed, low, high));
}
ValueId whole(GraphBuilder& b, const std::string& name, const std::vector<std::int64_t>& values) {
  return b.constant(name, ints(values));
}
ValueId number(GraphBuilder& b, const std::string& name, float value) {
  return b.constant(name, Tensor::scalar(value));
}

/// Makes a value of floats from x, of the shape [1, 4, 6, 6], by an operator.
using Build = std::function<ValueId(GraphBuilder&, ValueId)>;
using Cases = std::map<std::string, std::vector<Build>>;

/// A network of one node that needs nothing but x.
Build plain(const std::string& op, const GraphBuilder::Attributes& attributes = {}) {
  return [op, attributes](GraphBuilder& b, ValueId x) { return b.op(op, "y", {x}, attributes); };
}
/// The same behind 1.5 + x², as logarithms and roots want it.
Build of_positive(const std::string& op, const GraphBuilder::Attributes& attributes = {}) {
  return [op, attributes](GraphBuilder& b, ValueId x) {
    const ValueId square = b.op("Mul", "square", {x, x});
    return b.op(op, "y", {b.op("Add", "positive", {square, number(b, "one", 1.5F)})}, attributes);
  };
}
/// The same behind tanh(x) / 2, as inverse functions want it.
Build of_small(const std::string& op) {
  return [op](GraphBuilder& b, ValueId x) {
    return b.op(op, "y", {b.op("Mul", "small", {b.op("Tanh", "t", {x}), number(b, "half", 0.5F)})});
  };
}
/// An operator of x and a constant, and of x and its own sine.
std::vector<Build> binary(const std::string& op) {
  return {[op](GraphBuilder& b, ValueId x) {
            return b.op(op, "y", {x, weights(b, "w", {4, 1, 1}, 1, 0.5F, 2.0F)});
          },
          [op](GraphBuilder& b, ValueId x) { return b.op(op, "y", {x, b.op("Sin", "s", {x})}); },
          [op](GraphBuilder& b, ValueId x) {
            return b.op(op, "y", {weights(b, "w", {4, 6, 6}, 2), b.op("Softplus", "s", {x})});
          }};
}
/// Numbers of another kind, made floats again.
Build compared(const std::string& op) {
  return [op](GraphBuilder& b, ValueId x) {
    return b.op("Cast", "y", {b.op(op, "c", {x, weights(b, "w", {4, 6, 6}, 1)})}, {{"to", kOne}});
  };
}
Build logical(const std::string& op) {
  return [op](GraphBuilder& b, ValueId x) {
    const ValueId p = b.op("Greater", "p", {x, number(b, "zero", 0.0F)});
    const ValueId q = b.op("Less", "q", {x, number(b, "half", 0.5F)});
    const std::vector<ValueId> inputs = op == "Not" ? std::vector{p} : std::vector{p, q};
    return b.op("Cast", "y", {b.op(op, "l", inputs)}, {{"to", kOne}});
  };
}
Build reduced(const std::string& op) {
  return [op](GraphBuilder& b, ValueId x) {
    return b.op(op, "y", {x, whole(b, "axes", {1, 3})}, {{"keepdims", std::int64_t{0}}});
  };
}

Cases activations_and_functions() {
  Cases cases;
  for (const char* op : {"Relu", "Sigmoid",  "HardSwish",  "Mish",    "Softplus",   "Softsign", "Tanh",
                         "Erf",  "Abs",      "Neg",        "Floor",   "Ceil",       "Round",    "Sign",
                         "Exp",  "Sin",      "Cos",        "Atan",    "Sinh",       "Cosh",     "Asinh",
                         "Tan",  "Identity", "Reciprocal", "Softmax", "LogSoftmax", "Hardmax",  "Swish"})
    cases[op] = {plain(op)};
  for (const char* op : {"LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "Selu"})
    cases[op] = {plain(op, {{"alpha", 0.7F}})};
  cases["HardSigmoid"] = {plain("HardSigmoid", {{"alpha", 0.3F}, {"beta", 0.4F}})};
  cases["Gelu"] = {plain("Gelu"), plain("Gelu", {{"approximate", word("tanh")}})};
  for (const char* op : {"Log", "Sqrt", "Acosh", "Reciprocal"}) cases[op].push_back(of_positive(op));
  for (const char* op : {"Asin", "Acos", "Atanh"}) cases[op] = {of_small(op)};
  cases["Clip"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Clip", "y", {x, number(b, "low", -0.3F), number(b, "high", 0.6F)});
  }};
  cases["PRelu"] = {
      [](GraphBuilder& b, ValueId x) { return b.op("PRelu", "y", {x, weights(b, "slopes", {4, 1, 1}, 1)}); }};
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Mod"})
    cases[op] = binary(op);
  cases["Mod"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Mod", "y", {x, number(b, "m", 0.4F)}, {{"fmod", kOne}});
  }};
  cases["Pow"] = {[](GraphBuilder& b, ValueId x) { return b.op("Pow", "y", {x, number(b, "p", 2.0F)}); },
                  [](GraphBuilder& b, ValueId x) { return b.op("Pow", "y", {x, number(b, "p", 3.0F)}); },
                  [](GraphBuilder& b, ValueId x) {
                    return b.op("Pow", "y", {b.op("Exp", "e", {x}), number(b, "p", 0.5F)});
                  }};
  for (const char* op : {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
    cases[op] = {compared(op)};
  for (const char* op : {"And", "Or", "Xor", "Not"}) cases[op] = {logical(op)};
  for (const char* op : {"IsNaN", "IsInf"}) {
    cases[op] = {[op = std::string(op)](GraphBuilder& b, ValueId x) {
      return b.op("Cast", "y", {b.op(op, "i", {x})}, {{"to", kOne}});
    }};
  }
  for (const char* op : {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"}) {
    cases[op] = {[op = std::string(op)](GraphBuilder& b, ValueId x) {
      const ValueId i = b.op("Cast", "i", {x}, {{"to", std::int64_t{6}}});
      const std::vector<ValueId> inputs =
          op == "BitwiseNot" ? std::vector{i}
                             : std::vector{i, b.constant("m", Tensor::scalar<std::int32_t>(5))};
      return b.op("Cast", "y", {b.op(op, "o", inputs)}, {{"to", kOne}});
    }};
  }
  cases["BitShift"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId i = b.op("Cast", "i", {b.op("Abs", "a", {x})}, {{"to", std::int64_t{12}}});
    const ValueId by = b.constant("by", Tensor::scalar<std::uint32_t>(2));
    return b.op("Cast", "y", {b.op("BitShift", "s", {i, by}, {{"direction", word("LEFT")}})}, {{"to", kOne}});
  }};
  return cases;
}

Cases sums_and_windows() {
  Cases cases;
  const auto pads = list({1, 1, 1, 1});
  cases["Conv"] = {[=](GraphBuilder& b, ValueId x) {
                     return b.op("Conv", "y", {x, weights(b, "w", {5, 4, 3, 3}, 1), weights(b, "c", {5}, 2)},
                                 {{"pads", pads}});
                   },
                   [=](GraphBuilder& b, ValueId x) {
                     return b.op("Conv", "y", {x, weights(b, "w", {4, 1, 3, 3}, 1)},
                                 {{"group", std::int64_t{4}}, {"strides", list({2, 1})}});
                   },
                   [=](GraphBuilder& b, ValueId x) {
                     return b.op("Conv", "y", {x, weights(b, "w", {3, 4, 2, 2}, 1)},
                                 {{"dilations", list({2, 3})}});
                   }};
  cases["ConvTranspose"] = {[=](GraphBuilder& b, ValueId x) {
                              return b.op("ConvTranspose", "y", {x, weights(b, "w", {4, 3, 3, 3}, 1)},
                                          {{"strides", list({2, 2})}, {"pads", pads}});
                            },
                            [=](GraphBuilder& b, ValueId x) {
                              return b.op("ConvTranspose", "y",
                                          {x, weights(b, "w", {4, 3, 6, 6}, 1), weights(b, "c", {3}, 2)},
                                          {{"strides", list({2, 2})}});
                            }};
  cases["MatMul"] = {
      [](GraphBuilder& b, ValueId x) { return b.op("MatMul", "y", {x, weights(b, "w", {6, 5}, 1)}); },
      [](GraphBuilder& b, ValueId x) { return b.op("MatMul", "y", {x, b.op("Sin", "s", {x})}); }};
  cases["Gemm"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId f = b.op("Flatten", "f", {x});
    return b.op("Gemm", "y", {f, weights(b, "w", {7, 144}, 1), weights(b, "c", {7}, 2)},
                {{"transB", kOne}, {"alpha", 0.7F}, {"beta", 1.3F}});
  }};
  cases["BatchNormalization"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("BatchNormalization", "y",
                {x, weights(b, "s", {4}, 1), weights(b, "b", {4}, 2), weights(b, "m", {4}, 3),
                 weights(b, "v", {4}, 4, 0.1F, 2.0F)});
  }};
  // Scales of their own for each position, and runs from one element to all of them.
  for (const std::int64_t axis : {-1, -2, 1}) {
    cases["LayerNormalization"].push_back([axis](GraphBuilder& b, ValueId x) {
      const Shape shape = axis == -1 ? Shape{6} : axis == -2 ? Shape{6, 6} : Shape{4, 6, 6};
      return b.op("LayerNormalization", "y", {x, weights(b, "s", shape, 1), weights(b, "b", shape, 2)},
                  {{"axis", axis}});
    });
    cases["RMSNormalization"].push_back([axis](GraphBuilder& b, ValueId x) {
      const Shape shape = axis == -1 ? Shape{6} : axis == -2 ? Shape{6, 6} : Shape{4, 6, 6};
      return b.op("RMSNormalization", "y", {x, weights(b, "s", shape, 1)}, {{"axis", axis}});
    });
  }
  // Far from 0, where the mean is much larger than the deviations from it.
  cases["LayerNormalization"].push_back([](GraphBuilder& b, ValueId x) {
    const ValueId far = b.op("Add", "far", {x, number(b, "thousand", 1000.0F)});
    return b.op("LayerNormalization", "y", {far, weights(b, "s", {6}, 1)}, {{"epsilon", 1e-12F}});
  });
  cases["InstanceNormalization"] = {
      [](GraphBuilder& b, ValueId x) {
        return b.op("InstanceNormalization", "y", {x, weights(b, "s", {4}, 1), weights(b, "b", {4}, 2)});
      },
      [](GraphBuilder& b, ValueId x) {
        const ValueId far = b.op("Add", "far", {x, number(b, "thousand", 1000.0F)});
        return b.op("InstanceNormalization", "y", {far, weights(b, "s", {4}, 1), weights(b, "b", {4}, 2)});
      }};
  cases["GroupNormalization"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("GroupNormalization", "y", {x, weights(b, "s", {4}, 1), weights(b, "b", {4}, 2)},
                {{"num_groups", std::int64_t{2}}});
  }};
  cases["LRN"] = {plain("LRN", {{"size", std::int64_t{3}}})};
  cases["LpNormalization"] = {plain("LpNormalization")};
  cases["MeanVarianceNormalization"] = {plain("MeanVarianceNormalization")};
  const auto kernel = list({2, 3});
  cases["MaxPool"] = {plain("MaxPool", {{"kernel_shape", kernel}, {"pads", list({1, 1, 0, 1})}})};
  cases["AveragePool"] = {
      plain("AveragePool", {{"kernel_shape", kernel}, {"pads", list({1, 1, 0, 1})}}),
      plain("AveragePool",
            {{"kernel_shape", kernel}, {"pads", list({1, 1, 0, 1})}, {"count_include_pad", kOne}})};
  cases["LpPool"] = {plain("LpPool", {{"kernel_shape", kernel}})};
  cases["GlobalAveragePool"] = {plain("GlobalAveragePool")};
  cases["GlobalMaxPool"] = {plain("GlobalMaxPool")};
  cases["GlobalLpPool"] = {plain("GlobalLpPool")};
  for (const char* op : {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2",
                         "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp"})
    cases[op] = {reduced(op)};
  cases["ReduceLogSum"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("ReduceLogSum", "y", {b.op("Exp", "e", {x}), whole(b, "axes", {1})});
  }};
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    cases["Resize"].push_back([mode = std::string(mode)](GraphBuilder& b, ValueId x) {
      const ValueId scales = b.constant("scales", Tensor(Shape{4}, std::vector<float>{1, 1, 2, 1.5F}));
      return b.op("Resize", "y", {x, kNoValue, scales}, {{"mode", word(mode)}});
    });
  }
  cases["CumSum"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("CumSum", "y", {x, b.constant("axis", Tensor::scalar<std::int64_t>(2))});
  }};
  cases["Einsum"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Einsum", "y", {x, weights(b, "w", {6, 3}, 1)}, {{"equation", word("nchw,wk->nchk")}});
  }};
  return cases;
}

Cases movements() {
  Cases cases;
  cases["Reshape"] = {
      [](GraphBuilder& b, ValueId x) { return b.op("Reshape", "y", {x, whole(b, "shape", {-1, 36})}); }};
  cases["Flatten"] = {plain("Flatten")};
  cases["Squeeze"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Squeeze", "y", {b.op("Unsqueeze", "u", {x, whole(b, "a", {2})}), whole(b, "c", {2})});
  }};
  cases["Unsqueeze"] = {
      [](GraphBuilder& b, ValueId x) { return b.op("Unsqueeze", "y", {x, whole(b, "axes", {1})}); }};
  cases["Transpose"] = {plain("Transpose", {{"perm", list({0, 2, 3, 1})}})};
  cases["Concat"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Concat", "y", {x, weights(b, "w", {1, 2, 6, 6}, 1)}, {{"axis", kOne}});
  }};
  cases["Split"] = {[](GraphBuilder& b, ValueId x) {
    return b.node("Split", "y", {x, whole(b, "sizes", {1, 3})}, {{"axis", kOne}}, 2)[1];
  }};
  cases["Slice"] = {[](GraphBuilder& b, ValueId x) {
    return b.op(
        "Slice", "y",
        {x, whole(b, "from", {5}), whole(b, "to", {0}), whole(b, "axes", {2}), whole(b, "steps", {-2})});
  }};
  cases["Gather"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Gather", "y", {x, whole(b, "at", {3, 0})}, {{"axis", kOne}});
  }};
  cases["GatherElements"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId at = b.constant("at", Tensor(Shape{1, 1, 1, 2}, std::vector<std::int64_t>{2, 5}));
    return b.op("GatherElements", "y", {x, at}, {{"axis", std::int64_t{3}}});
  }};
  cases["GatherND"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId at = b.constant("at", Tensor(Shape{2, 2}, std::vector<std::int64_t>{0, 2, 0, 3}));
    return b.op("GatherND", "y", {x, at});
  }};
  cases["ScatterElements"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId at = b.constant("at", Tensor(Shape{1, 1, 1, 2}, std::vector<std::int64_t>{2, 5}));
    return b.op("ScatterElements", "y", {x, at, weights(b, "w", {1, 1, 1, 2}, 1)},
                {{"axis", std::int64_t{3}}});
  }};
  cases["ScatterND"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId at = b.constant("at", Tensor(Shape{1, 2}, std::vector<std::int64_t>{0, 2}));
    return b.op("ScatterND", "y", {x, at, weights(b, "w", {1, 6, 6}, 1)});
  }};
  cases["Expand"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Expand", "y", {x, whole(b, "shape", {2, 1, 1, 1, 1})});
  }};
  cases["Tile"] = {
      [](GraphBuilder& b, ValueId x) { return b.op("Tile", "y", {x, whole(b, "times", {1, 2, 1, 1})}); }};
  cases["Pad"] = {
      [](GraphBuilder& b, ValueId x) {
        return b.op("Pad", "y", {x, whole(b, "p", {0, 0, 1, 0, 0, 0, 2, 0}), number(b, "v", 0.5F)});
      },
      [](GraphBuilder& b, ValueId x) {
        return b.op("Pad", "y", {x, whole(b, "p", {0, 0, 1, 0, 0, 0, 2, 0})}, {{"mode", word("reflect")}});
      }};
  cases["DepthToSpace"] = {plain("DepthToSpace", {{"blocksize", std::int64_t{2}}})};
  cases["SpaceToDepth"] = {plain("SpaceToDepth", {{"blocksize", std::int64_t{2}}})};
  cases["Trilu"] = {plain("Trilu")};
  cases["Compress"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId keep = b.op("Cast", "keep", {whole(b, "k", {1, 0, 1, 1})}, {{"to", std::int64_t{9}}});
    return b.op("Compress", "y", {x, keep}, {{"axis", kOne}});
  }};
  cases["ReverseSequence"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("ReverseSequence", "y", {x, whole(b, "lengths", {3})},
                {{"batch_axis", std::int64_t{0}}, {"time_axis", std::int64_t{1}}});
  }};
  cases["Where"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId p = b.op("Greater", "p", {x, number(b, "zero", 0.0F)});
    return b.op("Where", "y", {p, x, weights(b, "w", {4, 6, 6}, 1)});
  }};
  cases["Dropout"] = {plain("Dropout")};
  cases["Cast"] = {[](GraphBuilder& b, ValueId x) {
    return b.op("Cast", "y", {b.op("Cast", "i", {x}, {{"to", std::int64_t{6}}})}, {{"to", kOne}});
  }};
  cases["CastLike"] = {
      [](GraphBuilder& b, ValueId x) { return b.op("CastLike", "y", {x, number(b, "like", 0.0F)}); }};
  cases["QuantizeLinear"] = cases["DequantizeLinear"] = {[](GraphBuilder& b, ValueId x) {
    const ValueId scale = number(b, "scale", 0.05F);
    const ValueId zero = b.constant("zero", Tensor::scalar<std::uint8_t>(120));
    return b.op("DequantizeLinear", "y", {b.op("QuantizeLinear", "q", {x, scale, zero}), scale, zero});
  }};
  cases["TopK"] = {
      [](GraphBuilder& b, ValueId x) { return b.node("TopK", "y", {x, whole(b, "k", {2})}, {}, 2)[0]; }};
  for (const char* op : {"ArgMax", "ArgMin"}) {
    cases[op] = {[op = std::string(op)](GraphBuilder& b, ValueId x) {
      return b.op("Cast", "y", {b.op(op, "a", {x}, {{"axis", kOne}})}, {{"to", kOne}});
    }};
  }
  for (const char* op : {"LSTM", "GRU", "RNN"}) {
    cases[op] = {[op = std::string(op)](GraphBuilder& b, ValueId x) {
      const std::int64_t gates = op == "LSTM" ? 4 : op == "GRU" ? 3 : 1;
      const ValueId s = b.op("Reshape", "s", {x, whole(b, "shape", {24, 1, 6})});
      return b.op(op, "y", {s, weights(b, "w", {1, gates * 3, 6}, 1), weights(b, "r", {1, gates * 3, 3}, 2)},
                  {{"hidden_size", std::int64_t{3}}});
    }};
  }
  return cases;
}

/// What is not about floats that a network makes of its input: shapes, constants, whole numbers, control
/// flow, and products of whole numbers, of which only the types' ranges are known.
const std::set<std::string> kNotHere = {
    "Constant",
    "ConstantOfShape",
    "Shape",
    "Size",
    "Range",
    "NonZero",
    "OneHot",
    "EyeLike",
    "If",
    "Loop",
    "Scan",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLinear",
    "Upsample",
    "Unique",
    "NonMaxSuppression",
    "Scatter",
};

/// Of these nothing is known but what their type can hold: channels behind them stay open. (Of Max and Min
/// where an operand is constant; of two variables there are bounds.)
const std::set<std::string> kWithoutBounds = {"Acos",
                                              "Acosh",
                                              "And",
                                              "ArgMax",
                                              "ArgMin",
                                              "Asin",
                                              "Atanh",
                                              "BitShift",
                                              "BitwiseAnd",
                                              "BitwiseNot",
                                              "BitwiseOr",
                                              "BitwiseXor",
                                              "Cast",
                                              "CastLike",
                                              "Cosh",
                                              "CumSum",
                                              "Einsum",
                                              "Equal",
                                              "GRU",
                                              "GlobalLpPool",
                                              "Greater",
                                              "GreaterOrEqual",
                                              "Hardmax",
                                              "IsInf",
                                              "IsNaN",
                                              "LRN",
                                              "LSTM",
                                              "Less",
                                              "LessOrEqual",
                                              "LpNormalization",
                                              "LpPool",
                                              "Max",
                                              "MeanVarianceNormalization",
                                              "Min",
                                              "Mod",
                                              "Not",
                                              "Or",
                                              "QuantizeLinear",
                                              "RNN",
                                              "ReduceL1",
                                              "ReduceL2",
                                              "ReduceLogSum",
                                              "ReduceLogSumExp",
                                              "ReduceProd",
                                              "ReduceSumSquare",
                                              "ScatterND",
                                              "Tan",
                                              "TopK",
                                              "Where",
                                              "Xor"};

Cases all_cases() {
  Cases cases = activations_and_functions();
  cases.merge(sums_and_windows());
  cases.merge(movements());
  return cases;
}

GraphBuilder network(const Build& build) {
  GraphBuilder b(newest_opset());
  const ValueId x = b.input("x", DataType::Float32, {1, 4, 6, 6});
  // What the operator reads has been rounded, and its result is read by a sum again.
  const ValueId h = b.op("Mul", "h", {x, weights(b, "hw", {4, 1, 1}, 9)});
  const ValueId y = build(b, h);
  b.output(b.op("Relu", "r", {b.op("Add", "z", {y, number(b, "last", -0.1F)})}));
  return b;
}

}  // namespace

TEST_CASE("no result of any operator lies outside its bounds, on any instruction set") {
  const Cases cases = all_cases();
  std::set<std::string> supported;
  for (const OperatorInfo& op : supported_operators()) {
    if (op.domain == "ai.onnx") supported.insert(op.name);
  }
  for (const std::string& op : supported)
    CHECK_MESSAGE((cases.contains(op) != kNotHere.contains(op)), op, " has neither a case nor an excuse");
  std::set<std::string> without;
  for (const auto& [op, builds] : cases) {
    if (!supported.contains(op)) continue;
    const Model model(std::make_shared<const graph::Graph>(network(builds.front()).graph()));
    for (const std::string& rule : auditing::Formulas(model, {{"x", {1, 4, 6, 6}}}).without_rule()) {
      if (rule.starts_with(op + " ")) without.insert(op);
    }
  }
  for (const std::string& op : without) CHECK_MESSAGE(kWithoutBounds.contains(op), op, " has no bounds");
  for (const std::string& op : kWithoutBounds)
    CHECK_MESSAGE((without.contains(op) || !supported.contains(op)), op, " has bounds by now");
  std::int64_t values = 0;
  for (const simd::Isa isa : simd::available_isas()) {
    ::setenv("EMBER_ISA", std::string(simd::to_string(isa)).c_str(), 1);
    CAPTURE(simd::to_string(isa));
    for (const auto& [op, builds] : cases) {
      if (!supported.contains(op)) continue;
      CAPTURE(op);
      for (std::size_t i = 0; i < builds.size(); ++i) {
        CAPTURE(i);
        const Model model(std::make_shared<const graph::Graph>(network(builds[i]).graph()));
        for (const float radius : {1e-6F, 0.1F, 3.0F, 200.0F})
          values += test::check_network(model, 7 * i + 1, radius, 2).checked;
      }
    }
  }
  ::unsetenv("EMBER_ISA");
  MESSAGE(values, " values checked");
}

TEST_CASE(
    "a network with an operator that has no bounds is audited all the same, and its channels stay open") {
  for (const char* op : {"CumSum", "LSTM", "LRN", "Tan"}) {
    CAPTURE(op);
    const Build build = all_cases().at(op).front();
    GraphBuilder b(newest_opset());
    const ValueId x = b.input("x", DataType::Float32, {1, 4, 6, 6});
    const ValueId y = build(b, x);
    const ValueId f = b.op("Flatten", "f", {y});
    const std::int64_t n = std::string(op) == "LSTM" ? 24 * 3 : 144;
    Tensor weight = test::random_tensor({n, 3}, 5, -0.01F, 0.01F);
    Tensor bias(DataType::Float32, {3});
    bias.data<float>()[1] = -1e4F;
    const ValueId g = std::string(op) == "LSTM" ? b.op("Reshape", "g", {y, whole(b, "flat", {1, n})}) : f;
    const ValueId z =
        b.op("Gemm", "z", {g, b.constant("weight", std::move(weight)), b.constant("bias", std::move(bias))});
    b.output(b.op("Relu", "r", {z}));
    test::MemorySamples samples(test::random_tensor({20, 4, 6, 6}, 6));
    AuditOptions options;
    options.domain_from_data = true;
    options.time_limit = 2.0;
    const AuditReport report =
        audit(Model(std::make_shared<const graph::Graph>(b.graph())), samples, options);
    const ChannelReport& channel = report.layers().back().channels[1];
    CHECK(channel.verdict == Verdict::Silent);
    CHECK(channel.proof == Proof::None);
    CHECK(channel.rate_bound > 0.0);
    bool noted = false;
    for (const std::string& note : report.notes) noted = noted || note.find(op) != std::string::npos;
    CHECK(noted);
  }
}
