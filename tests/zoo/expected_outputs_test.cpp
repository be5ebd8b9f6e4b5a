#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ember/ember.hpp>

#include "graph/graph.hpp"
#include "simd/isa.hpp"
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
float output_step(const graph::Graph& graph, const std::string& name) {
  graph::ValueId value = graph.find_value(name);
  while (graph.value(value).producer != graph::kNoNode) {
    const graph::Node& node = graph.node(graph.value(value).producer);
    if (node.op == "DequantizeLinear") return graph.constant(node.inputs[1])->data<float>()[0];
    if (node.op != "Identity" && node.op != "Reshape") break;
    value = node.inputs[0];
  }
  return 0.0F;
}

/// Empty when `got` is as good as `expected`, else what is wrong. Quantised networks may differ by a few
/// steps of their output scale, since a rounding tie decided the other way travels on.
std::string difference(const Tensor& got, const Tensor& expected, float step) {
  if (got.shape() != expected.shape())
    return "shape " + to_string(got.shape()) + ", expected " + to_string(expected.shape());
  if (got.type() != expected.type()) return std::string("type ") + to_string(got.type());
  if (got.type() != DataType::Float32) {
    return std::equal(static_cast<const char*>(got.raw()), static_cast<const char*>(got.raw()) + got.bytes(),
                      static_cast<const char*>(expected.raw()))
               ? ""
               : "elements differ";
  }
  const auto a = got.data<float>();
  const auto b = expected.data<float>();
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double allowed = step > 0 ? 4.0 * step : 1e-4 + 1e-3 * std::abs(static_cast<double>(b[i]));
    const double error = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::max(worst, std::isfinite(error) ? error / allowed : INFINITY);
  }
  return worst <= 1.0 ? "" : "error is " + std::to_string(worst) + " times the tolerance";
}

void check(const Entry& entry, const Model& model, const SessionOptions& options, const std::string& how) {
  Session session(model, options);
  const TensorMap outputs = session.run(entry.inputs);
  for (const auto& [name, expected] : entry.outputs) {
    REQUIRE_MESSAGE(outputs.contains(name), entry.name << " has no output " << name);
    const float step = entry.quantised ? output_step(model.graph(), name) : 0.0F;
    const std::string wrong =
        difference(outputs.at(name), expected, entry.quantised && step == 0.0F ? 1.0F / 256 : step);
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

TEST_CASE("every zoo network has the same bits at one and two threads") {
  for (const Entry& entry : entries()) {
    const Model model = Model::load(entry.model);
    const TensorMap one = Session(model, {.threads = 1}).run(entry.inputs);
    const TensorMap two = Session(model, {.threads = 2}).run(entry.inputs);
    for (const auto& [name, tensor] : one) {
      const bool same = std::equal(static_cast<const char*>(tensor.raw()),
                                   static_cast<const char*>(tensor.raw()) + tensor.bytes(),
                                   static_cast<const char*>(two.at(name).raw()));
      CHECK_MESSAGE(same, entry.name << ", output " << name);
    }
  }
}
