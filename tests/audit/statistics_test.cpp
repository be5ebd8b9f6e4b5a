#include <doctest/doctest.h>

#include <ember/audit.hpp>

using namespace ember;

namespace {

/// One sample of the given values, all counted by hand as a ReLU would.
ChannelStatistics sample(std::initializer_list<double> values) {
  ChannelStatistics s;
  s.samples = 1;
  s.pre_min = s.pre_max = *values.begin();
  s.out_min = s.out_max = std::max(0.0, *values.begin());
  for (const double x : values) {
    const double y = std::max(0.0, x);
    ++s.positions;
    s.positions_fired += x > 0 ? 1 : 0;
    s.pre_min = std::min(s.pre_min, x);
    s.pre_max = std::max(s.pre_max, x);
    s.pre_sum += x;
    s.pre_sum_squares += x * x;
    s.out_min = std::min(s.out_min, y);
    s.out_max = std::max(s.out_max, y);
    s.out_sum += y;
    s.out_sum_squares += y * y;
    s.out_sum_abs += y;
  }
  s.samples_fired = s.positions_fired > 0 ? 1 : 0;
  return s;
}

ChannelStatistics merged(ChannelStatistics a, const ChannelStatistics& b) {
  a.merge(b);
  return a;
}

void check_equal(const ChannelStatistics& a, const ChannelStatistics& b) {
  CHECK(a.samples == b.samples);
  CHECK(a.samples_fired == b.samples_fired);
  CHECK(a.samples_saturated == b.samples_saturated);
  CHECK(a.positions == b.positions);
  CHECK(a.positions_fired == b.positions_fired);
  CHECK(a.positions_saturated == b.positions_saturated);
  CHECK(a.not_finite == b.not_finite);
  CHECK(a.pre_min == b.pre_min);
  CHECK(a.pre_max == b.pre_max);
  CHECK(a.pre_sum == b.pre_sum);
  CHECK(a.pre_sum_squares == b.pre_sum_squares);
  CHECK(a.out_min == b.out_min);
  CHECK(a.out_max == b.out_max);
  CHECK(a.out_sum == b.out_sum);
  CHECK(a.out_sum_squares == b.out_sum_squares);
  CHECK(a.out_sum_abs == b.out_sum_abs);
}

}  // namespace

TEST_CASE("merging statistics is associative and commutative, with nothing as its neutral element") {
  // Eighths add without rounding, so sums must agree to the bit.
  ChannelStatistics a = sample({-1.5, 2.25, -3.0});
  ChannelStatistics b = sample({-0.5, -7.125});
  ChannelStatistics c = sample({4.0});
  a.samples_saturated = 1;
  a.positions_saturated = 3;
  b.not_finite = 1;
  b.positions += 1;
  ChannelStatistics nothing;
  ChannelStatistics unseen;  // a sample of NaN alone has no minimum
  unseen.samples = unseen.positions = unseen.not_finite = 1;
  check_equal(merged(merged(a, b), c), merged(a, merged(b, c)));
  check_equal(merged(a, b), merged(b, a));
  check_equal(merged(nothing, b), b);
  check_equal(merged(b, nothing), b);
  const ChannelStatistics with_unseen = merged(unseen, b);
  CHECK(with_unseen.pre_max == -0.5);
  CHECK(with_unseen.not_finite == 2);
  const ChannelStatistics all = merged(merged(a, b), c);
  CHECK(all.samples == 3);
  CHECK(all.samples_fired == 2);
  CHECK(all.positions == 7);
  CHECK(all.pre_min == -7.125);
  CHECK(all.pre_max == 4.0);
  CHECK(all.out_sum == 6.25);
}
