#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ember/ember.hpp>

#include "graph/graph.hpp"
#include "simd/isa.hpp"
#include "support/spoiled_weights.hpp"
#include "support/zoo.hpp"

// Every network of the zoo against the outputs that another engine gave, in every way ember can run it.

using namespace ember;
namespace fs = std::filesystem;

namespace {

struct Entry {
  std::string name;
  fs::path model;
  TensorMap inputs, outputs;
  bool quantised = false;
};

std::vector<Entry> entries() {
  const fs::path zoo = test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return {};
  }
  std::ifstream file(zoo / "index.json");
  std::vector<Entry> found;
  for (const auto& item : nlohmann::json::parse(file)) {
    Entry entry{.name = item.at("name"),
                .model = zoo / item.at("model").get<std::string>(),
                .inputs = {},
                .outputs = {}};
    entry.quantised = item.at("ops").contains("QuantizeLinear");
    for (auto& [key, tensor] : load_npz(zoo / item.at("case").get<std::string>())) {
      (key.starts_with("in/") ? entry.inputs : entry.outputs)
          .emplace(key.substr(key.find('/') + 1), std::move(tensor));
    }
    found.push_back(std::move(entry));
  }
  return found;
}

/// The quantisation step of an output: the scale of the DequantizeLinear that makes it, 0 when none does.
double output_step(const graph::Graph& graph, const std::string& name) {
  graph::ValueId value = graph.find_value(name);
  while (graph.value(value).producer != graph::kNoNode) {
    const graph::Node& node = graph.node(graph.value(value).producer);
    if (node.op == "DequantizeLinear") return graph.constant(node.inputs[1])->data<float>()[0];
    if (node.op != "Identity" && node.op != "Reshape") break;
    value = node.inputs[0];
  }
  return 0.0;
}

/// Absolute tolerance of the networks that need more than the usual 1e-4, and why.
double absolute_tolerance(const std::string& network) {
  // Its logits reach 6e8 and cancel near zero; 2500 is 4e-6 of that scale.
  if (network == "portraitseg_sinet") return 2500;
  // 113 convolutions deep. Two of 301,665 outputs are so ill-conditioned that every float32 engine, the one
  // that made the expected outputs included, is further than 1e-4 from a double-precision run.
  if (network == "yolox_nano_coco") return 1e-3;
  // The expected outputs were rounded to half precision after every node; here only the last is.
  if (network == "squeezenet11_imagenet_fp16_winml") return 1e-3;
  return 1e-4;
}

double as_double(const Tensor& tensor, std::size_t i) {
  return tensor.type() == DataType::Float16 ? static_cast<double>(static_cast<float>(tensor.data<Half>()[i]))
                                            : static_cast<double>(tensor.data<float>()[i]);
}

/// Empty when `got` is as good as `expected`, else what is wrong. Quantised networks may differ by a few
/// steps of their output scale, since a rounding tie decided the other way travels on.
std::string difference(const Tensor& got, const Tensor& expected, double absolute, double step) {
  if (got.shape() != expected.shape())
    return "shape " + to_string(got.shape()) + ", expected " + to_string(expected.shape());
  if (got.type() != expected.type()) return std::string("type ") + to_string(got.type());
  if (!is_floating(got.type())) {
    return std::memcmp(got.raw(), expected.raw(), got.bytes()) == 0 ? "" : "elements differ";
  }
  double worst = 0;
  std::size_t best_got = 0;
  std::size_t best_expected = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(got.elements()); ++i) {
    const double a = as_double(got, i);
    const double b = as_double(expected, i);
    const double allowed = step > 0 ? 4.0 * step : absolute + 1e-3 * std::abs(b);
    const double error = std::abs(a - b);
    worst = std::max(worst, std::isfinite(error) ? error / allowed : INFINITY);
    if (a > as_double(got, best_got)) best_got = i;
    if (b > as_double(expected, best_expected)) best_expected = i;
  }
  if (worst > 1.0) return "error is " + std::to_string(worst) + " times the tolerance";
  const bool tie = as_double(expected, best_got) == as_double(expected, best_expected);
  return step > 0 && !tie ? "another argmax" : "";
}

void check(const Entry& entry, const Model& model, const SessionOptions& options, const std::string& how) {
  Session session(model, options);
  const TensorMap outputs = session.run(entry.inputs);
  for (const auto& [name, expected] : entry.outputs) {
    REQUIRE_MESSAGE(outputs.contains(name), entry.name << " has no output " << name);
    const double step = entry.quantised ? output_step(model.graph(), name) : 0.0;
    const std::string wrong = difference(outputs.at(name), expected, absolute_tolerance(entry.name), step);
    CHECK_MESSAGE(wrong.empty(), entry.name << " (" << how << "), output " << name << ": " << wrong);
  }
}

void set_isa(const std::string& name) { ::setenv("EMBER_ISA", name.c_str(), 1); }

}  // namespace

TEST_CASE("every zoo network gives the expected outputs on every instruction set, at one and two threads") {
  for (const Entry& entry : entries()) {
    const Model model = Model::load(entry.model);
    for (const simd::Isa isa : simd::available_isas()) {
      set_isa(std::string(to_string(isa)));
      for (const int threads : {1, 2}) {
        check(entry, model, {.threads = threads},
              std::string(to_string(isa)) + ", threads " + std::to_string(threads));
      }
    }
    ::unsetenv("EMBER_ISA");
  }
}

TEST_CASE("every zoo network gives the expected outputs with each portable pass left out") {
  for (const Entry& entry : entries()) {
    const Model model = Model::load(entry.model);
    for (const std::string& pass : pass_names())
      check(entry, model, {.disabled_passes = {pass}}, "without " + pass);
  }
}

TEST_CASE("every zoo network has the same bits at one and two threads, and when its weights are released") {
  for (const Entry& entry : entries()) {
    const Model model = Model::load(entry.model);
    const TensorMap one = Session(model, {.threads = 1}).run(entry.inputs);
    CHECK_MESSAGE(test::same_bits(one, Session(model, {.threads = 2}).run(entry.inputs)), entry.name);
    std::map<std::string, Shape> shapes;
    for (const auto& [name, tensor] : entry.inputs) shapes.emplace(name, tensor.shape());
    for (const int threads : {1, 2}) {
      test::SpoiledWeights weights;
      Session released(weights.model_of(model.graph()),
                       {.threads = threads, .input_shapes = shapes, .release_weights = true});
      CHECK_MESSAGE(test::same_bits(one, released.run(entry.inputs)), entry.name << ", released");
    }
  }
}
