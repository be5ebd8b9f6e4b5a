#include <doctest/doctest.h>

#include <functional>
#include <numeric>

#include <ember/error.hpp>
#include <ember/model.hpp>
#include <ember/session.hpp>

#include "conformance/cases.hpp"
#include "onnx/read.hpp"
#include "onnx/tensor_proto.hpp"
#include "ops/interpreter.hpp"

// The ONNX project's backend node tests; tests/conformance/fetch gets them.

using namespace ember;
using namespace ember::conformance;

namespace {

/// Loads a model once and runs it on inputs in the order of its graph's inputs.
using Run = std::function<std::vector<Tensor>(std::vector<Tensor>)>;
using Load = std::function<Run(const fs::path& model)>;

Run load_interpreted(const fs::path& file) {
  auto graph = std::make_shared<graph::Graph>(onnx::read_file(file));
  ops::check_supported(*graph);
  return [graph](std::vector<Tensor> inputs) {
    std::map<std::string, Tensor> named;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      named[graph->value(graph->inputs.at(i)).name] = std::move(inputs[i]);
    return ops::interpret(*graph, named);
  };
}

Run load_session(const fs::path& file) {
  return [model = Model::load(file)](std::vector<Tensor> inputs) {
    TensorMap named;
    SessionOptions options;
    const std::vector<ValueInfo> infos = model.inputs();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      options.input_shapes[infos.at(i).name] = inputs[i].shape();
      named[infos[i].name] = std::move(inputs[i]);
    }
    TensorMap results = Session(model, options).run(named);
    std::vector<Tensor> outputs;
    for (const ValueInfo& info : model.outputs()) outputs.push_back(results.at(info.name));
    return outputs;
  };
}

std::vector<Tensor> read_tensors(const fs::path& folder, const std::string& prefix) {
  std::vector<Tensor> tensors;
  for (;;) {
    const fs::path file = folder / fmt::format("{}_{}.pb", prefix, tensors.size());
    if (!fs::exists(file)) return tensors;
    tensors.push_back(onnx::read_tensor_file(file).tensor);
  }
}

/// "" when every data set of the case comes out right.
std::string run_case(const Case& c, const Load& load) {
  const fs::path folder = data_folder() / c.name;
  try {
    const Run run = load(folder / "model.onnx");
    int sets = 0;
    for (; fs::exists(folder / fmt::format("test_data_set_{}", sets)); ++sets) {
      const fs::path data = folder / fmt::format("test_data_set_{}", sets);
      const std::vector<Tensor> outputs = run(read_tensors(data, "input"));
      const std::vector<Tensor> expected = read_tensors(data, "output");
      if (outputs.size() != expected.size())
        return fmt::format("{} outputs instead of {}", outputs.size(), expected.size());
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        const std::string wrong = difference(c, outputs[i].view(), expected[i].view());
        if (!wrong.empty()) return fmt::format("set {}, output {}: {}", sets, i, wrong);
      }
    }
    return sets == 0 ? "no data" : "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

void run_all(const std::string& how, const Load& load) {
  const std::vector<Case> cases = read_index();
  if (cases.empty()) {
    fmt::print("skipped: no ONNX test cases in {}; tests/conformance/fetch gets them\n",
               data_folder().string());
    return;
  }
  const std::map<std::string, std::string> known = read_known_failures();
  std::map<std::string, int> reasons;
  std::set<std::string> failed;
  int passed = 0;
  std::ofstream report(fs::path(EMBER_BINARY_DIR) / ("conformance-" + how + ".txt"));
  for (const Case& c : cases) {
    const std::string other = not_applicable(c);
    if (!other.empty()) {
      ++reasons[other];
      report << "not applicable  " << c.name << "  " << other << '\n';
      continue;
    }
    const std::string wrong = one_line(run_case(c, load));
    report << (wrong.empty() ? "passed  " : "failed  ") << c.name << "  " << wrong << '\n';
    if (wrong.empty()) {
      ++passed;
      if (known.contains(c.name)) FAIL_CHECK(c.name, " passes: take it out of known_failures.txt");
      continue;
    }
    failed.insert(c.name);
    fmt::print("failed: {}: {}\n", c.name, wrong);
    if (!known.contains(c.name)) FAIL_CHECK(c.name, ": ", wrong);
  }
  for (const auto& [reason, count] : reasons) fmt::print("not applicable: {} ({})\n", reason, count);
  const int others = std::accumulate(reasons.begin(), reasons.end(), 0,
                                     [](int sum, const auto& r) { return sum + r.second; });
  fmt::print("{}: {} passed, {} failed, {} not applicable\n", how, passed, failed.size(), others);
  CHECK(passed > 0);
}

}  // namespace

// A case counts as not applicable when ember lacks its operator, so an operator that went missing would
// pass unseen.
TEST_CASE("every operator that ember promises is there") {
  const std::string promised =
      "Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization MaxPool "
      "AveragePool GlobalAveragePool GlobalMaxPool Relu LeakyRelu PRelu Elu Selu Celu ThresholdedRelu Gelu "
      "Sigmoid HardSigmoid HardSwish Mish Softplus Softsign Tanh Erf Clip Softmax LogSoftmax Add Sub Mul Div "
      "Pow Min Max Mod Neg Abs Sign Sqrt Exp Log Floor Ceil Round Reciprocal Sin Cos Atan Not And Or Equal "
      "Greater GreaterOrEqual Less LessOrEqual Where ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd "
      "ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare ArgMax ArgMin TopK Reshape Flatten Transpose "
      "Squeeze "
      "Unsqueeze Concat Split Slice Gather GatherElements GatherND ScatterND Expand Tile Pad Resize Upsample "
      "DepthToSpace SpaceToDepth Shape Size Constant ConstantOfShape Range OneHot Trilu Cast Identity "
      "Dropout "
      "If LSTM GRU QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
      "ConvInteger "
      "MatMulInteger";
  for (const std::string& name : split(promised, ' ')) CHECK_MESSAGE(is_operator(":" + name), name);
}

TEST_CASE("ONNX node tests by reference") { run_all("reference", load_interpreted); }

TEST_CASE("ONNX node tests by session") { run_all("session", load_session); }
