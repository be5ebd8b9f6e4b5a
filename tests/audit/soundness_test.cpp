#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/session.hpp>

#include "simd/isa.hpp"
#include "soundness.hpp"
#include "support/random_network.hpp"

using namespace ember;
using graph::ValueId;
using test::check_network;

namespace {

/// Convolutions that are computed by Winograd's transforms, on domains where their error is all there is.
void check_transforms() {
  for (const simd::Isa isa : simd::available_isas()) {
    ::setenv("EMBER_ISA", std::string(simd::to_string(isa)).c_str(), 1);
    CAPTURE(simd::to_string(isa));
    for (const auto& [extent, channels, groups] :
         {std::tuple{24, 64, 1}, std::tuple{14, 64, 1}, std::tuple{24, 116, 2}}) {
      CAPTURE(groups);
      test::GraphBuilder b;
      const ValueId x = b.input("x", DataType::Float32, {-1, channels, extent, extent});
      const ValueId z =
          b.op("Conv", "z",
               {x, b.constant("w", test::random_tensor({channels, channels / groups, 3, 3}, 1)),
                b.constant("c", test::random_tensor({channels}, 2))},
               {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}, {"group", std::int64_t{groups}}});
      b.output(b.op("Relu", "y", {z}));
      const Model model(std::make_shared<const graph::Graph>(b.graph()));
      bool transformed = false;
      for (const ProfileEntry& entry : Session(model).profile())
        transformed = transformed || entry.implementation.find("winograd") != std::string::npos;
      CHECK(transformed);
      check_network(model, 3, 0.0F, 1);
      check_network(model, 4, 1e-5F, 1);
    }
  }
  ::unsetenv("EMBER_ISA");
}

void check_networks(int count, int runs) {
  test::CheckedValues totals;
  for (const simd::Isa isa : simd::available_isas()) {
    ::setenv("EMBER_ISA", std::string(simd::to_string(isa)).c_str(), 1);
    CAPTURE(simd::to_string(isa));
    for (int i = 0; i < count; ++i) {
      const auto seed = static_cast<std::uint64_t>(i);
      CAPTURE(seed);
      auto graph = i % 3 == 0 ? test::RandomNetwork(seed).vectors(5, 4) : test::RandomNetwork(seed).images(4);
      const Model model(std::make_shared<const graph::Graph>(graph.graph()));
      for (const float radius : {1e-6F, 0.02F, 0.5F, 30.0F}) {
        const test::CheckedValues found = check_network(model, seed, radius, runs);
        totals.checked += found.checked;
        totals.contradictions += found.contradictions;
      }
    }
  }
  ::unsetenv("EMBER_ISA");
  MESSAGE(totals.checked, " values checked against bounds, ", totals.contradictions, " outside");
}

}  // namespace

TEST_CASE("no value of a random network lies outside its bounds, on any instruction set") {
  check_networks(60, 3);
}

TEST_CASE("the error of convolutions by transform is within its bound") { check_transforms(); }
