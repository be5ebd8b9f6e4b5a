#include "audit/trial.hpp"

#include <vector>

#include <doctest/doctest.h>

using namespace ember;
using namespace ember::auditing;
using kernels::Activation;
using kernels::ActivationKind;

namespace {

const Activation kRelu{.kind = ActivationKind::Relu};
const Activation kRelu6{.kind = ActivationKind::Clip, .alpha = 0.0F, .beta = 6.0F};
/// The second sample's values are all the same.
const std::vector<Range> kSamples = {{-3.0F, -1.0F}, {-2.0F, -2.0F}, {-9.0F, -0.5F}};

}  // namespace

TEST_CASE("samples are counted by what a change makes of their extremes") {
  CHECK(samples_alive(kSamples, {}, kRelu, false) == 0);
  CHECK(samples_alive(kSamples, {1.0, 0.75, 0.75}, kRelu, false) == 1);
  CHECK(samples_alive(kSamples, {1.0, 1.5, 1.5}, kRelu, false) == 2);
  CHECK(samples_alive(kSamples, {-1.0, 0.0, 0.0}, kRelu, false) == 3);
  CHECK(samples_alive(kSamples, {-1.0, -2.5, -2.5}, kRelu, false) == 2);
}

TEST_CASE("what borders leave open is not counted") {
  // The second sample gets either amount somewhere, the others' largest value may be where the less is added.
  CHECK(samples_alive(kSamples, {1.0, 0.1, 0.2}, kRelu, false) == 0);
  CHECK(samples_alive(kSamples, {1.0, 1.6, 1.9}, kRelu, false) == 2);
  CHECK(samples_alive(kSamples, {1.0, 1.6, 2.5}, kRelu, false) == 3);
  CHECK(!samples_alive(kSamples, {1.0, 0.6, 1.5}, kRelu, false).has_value());
}

TEST_CASE("what fires and never varies is off, and what leaves the flat part is free") {
  const std::vector<Range> even = {{-1.0F, -1.0F}, {-1.0F, -1.0F}};
  CHECK(samples_alive(even, {1.0, 2.0, 2.0}, kRelu, false) == 0);
  CHECK(samples_alive(even, {1.0, 2.0, 3.0}, kRelu, false) == 2);
  CHECK(samples_alive(kSamples, {1.0, 20.0, 20.0}, kRelu6, false) == 0);
  CHECK(samples_alive(kSamples, {1.0, 14.0, 14.0}, kRelu6, false) == 3);
  CHECK(samples_alive(kSamples, {1.0, 20.0, 20.0}, kRelu6, true) == 0);
  CHECK(samples_alive(kSamples, {1.0, 14.0, 14.0}, kRelu6, true) == 1);
}

TEST_CASE("extremes do not tell of an activation that fires between two limits") {
  CHECK(told_by_extremes(kRelu, false));
  CHECK(told_by_extremes(kRelu6, true));
  CHECK(!told_by_extremes({.kind = ActivationKind::Sigmoid}, false));
  CHECK(!told_by_extremes({.kind = ActivationKind::Tanh}, true));
}
