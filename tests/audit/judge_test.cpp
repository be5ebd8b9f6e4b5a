#include "audit/judge.hpp"

#include <doctest/doctest.h>

#include "audit/binomial.hpp"

using namespace ember;
using kernels::Activation;
using kernels::ActivationKind;

namespace {

/// A channel seen in 1,000 samples of 4 positions, unremarkable: fires in half of them.
ChannelStatistics usual() {
  ChannelStatistics s;
  s.samples = 1000;
  s.samples_fired = 500;
  s.positions = 4000;
  s.positions_fired = 1500;
  s.pre_min = -2;
  s.pre_max = 2;
  s.out_max = 2;
  s.out_sum = s.out_sum_abs = 1200;
  s.out_sum_squares = 1800;
  return s;
}

ChannelStatistics never_fired() {
  ChannelStatistics s = usual();
  s.samples_fired = s.positions_fired = 0;
  s.pre_max = -0.5;
  s.out_max = s.out_sum = s.out_sum_abs = s.out_sum_squares = 0;
  return s;
}

/// The judgement of one channel among two usual ones.
ChannelReport judged(const ChannelStatistics& s, const Activation& activation, double tau = 0.0,
                     bool network_output = false) {
  LayerReport layer;
  layer.channels = {{.index = 0, .statistics = s},
                    {.index = 1, .statistics = usual()},
                    {.index = 2, .statistics = usual()}};
  auditing::judge(layer, activation, network_output,
                  {.alpha = 0.05, .channels = 3, .rare_below = 0.001, .dormant_tau = tau});
  return layer.channels[0];
}

const Activation kRelu{ActivationKind::Relu};
const Activation kRelu6{ActivationKind::Clip, 0.0F, 6.0F};
const Activation kLeaky{ActivationKind::LeakyRelu, 0.1F};
const Activation kSigmoid{ActivationKind::Sigmoid};
const Activation kElu{ActivationKind::Elu, 1.0F};

}  // namespace

TEST_CASE("a rectifier that never fired is silent, with the joint bound") {
  const ChannelReport channel = judged(never_fired(), kRelu);
  CHECK(channel.verdict == Verdict::Silent);
  CHECK(channel.rate_bound == doctest::Approx(auditing::upper_rate(0, 1000, 0.05 / 3)));
  CHECK(channel.dormancy == 0.0);
}

TEST_CASE(
    "positions that are not finite weaken the bound, and leave a channel unjudged when there is nothing "
    "else") {
  ChannelStatistics s = never_fired();
  s.not_finite = 400;
  CHECK(judged(s, kRelu).rate_bound == doctest::Approx(auditing::upper_rate(0, 600, 0.05 / 3)));
  s.not_finite = 4000;
  CHECK(judged(s, kRelu).verdict == Verdict::Healthy);
}

TEST_CASE("rare counts samples, not positions") {
  ChannelStatistics s = usual();
  s.samples_fired = s.positions_fired = 1;
  CHECK(judged(s, kRelu).verdict == Verdict::Healthy);  // 1 of 1,000 is not below 0.001
  s.samples = 1001;
  const ChannelReport channel = judged(s, kRelu);
  CHECK(channel.verdict == Verdict::Rare);
  CHECK(channel.rate_bound == doctest::Approx(auditing::upper_rate(1, 1001, 0.05 / 3)));
}

TEST_CASE("dormant compares with the layer's mean, except at the network's output") {
  ChannelStatistics s = usual();
  s.out_sum_abs = 10;
  const double score = (10.0 / 4000) / ((10.0 + 1200 + 1200) / 3 / 4000 + 1e-9);
  CHECK(judged(s, kRelu).dormancy == doctest::Approx(score));
  CHECK(judged(s, kRelu, 0.025).verdict == Verdict::Dormant);
  CHECK(judged(s, kRelu, 0.001).verdict == Verdict::Healthy);
  CHECK(judged(s, kRelu, 0.025, true).verdict == Verdict::Healthy);
}

TEST_CASE("a Clip stuck at its upper end is constant") {
  ChannelStatistics s = usual();
  s.samples_fired = s.samples_saturated = 1000;
  s.positions_fired = s.positions_saturated = 4000;
  s.pre_min = 7;
  s.pre_max = 9;
  s.out_min = s.out_max = 6;
  s.out_sum = s.out_sum_abs = 24000;
  CHECK(judged(s, kRelu6).verdict == Verdict::Constant);
}

TEST_CASE("a squashing unit that is flat throughout is saturated, not silent") {
  ChannelStatistics s = usual();
  s.samples_fired = s.positions_fired = 0;
  s.samples_saturated = 1000;
  s.positions_saturated = 4000;
  s.out_min = 0.0001;
  s.out_max = 0.9999;
  CHECK(judged(s, kSigmoid).verdict == Verdict::Saturated);
  s.samples_saturated = 999;
  CHECK(judged(s, kSigmoid).verdict == Verdict::Healthy);
}

TEST_CASE("a ReLU that never clips is always on; one that touches an upper end is not") {
  ChannelStatistics s = usual();
  s.samples_fired = 1000;
  s.positions_fired = 4000;
  s.pre_min = 0.1;
  s.out_min = 0.1;
  CHECK(judged(s, kRelu).verdict == Verdict::AlwaysOn);
  CHECK(judged(s, kLeaky).verdict == Verdict::AlwaysOn);
  CHECK(judged(s, kElu).verdict == Verdict::AlwaysOn);
  CHECK(judged(s, {ActivationKind::Gelu}).verdict == Verdict::Healthy);  // never linear
  s.positions_saturated = 1;
  CHECK(judged(s, kRelu6).verdict == Verdict::Healthy);
}

TEST_CASE("a leaky unit on its negative side acts linearly and is not called silent") {
  ChannelStatistics s = never_fired();
  s.out_min = -0.2;
  s.out_max = -0.05;
  s.out_sum_abs = 400;
  CHECK(judged(s, kLeaky).verdict == Verdict::AlwaysOn);
  CHECK(judged(s, kElu).verdict == Verdict::Healthy);
  const Activation plain{ActivationKind::LeakyRelu, 0.0F};  // a ReLU by another name
  s.out_min = s.out_max = s.out_sum_abs = 0;
  CHECK(judged(s, plain).verdict == Verdict::Silent);
  const float slopes[16] = {0.0F, 0.1F, 0.1F};
  CHECK(judged(s, {.kind = ActivationKind::PRelu, .slopes = slopes, .slope_count = 3}).verdict ==
        Verdict::Silent);
}

TEST_CASE("an output that is always 0 is silent whatever the activation") {
  ChannelStatistics s = never_fired();
  s.pre_min = s.pre_max = 0;
  s.out_min = 0;
  CHECK(judged(s, kLeaky).verdict == Verdict::Silent);
  CHECK(judged(s, {ActivationKind::Tanh}).verdict == Verdict::Silent);
}
