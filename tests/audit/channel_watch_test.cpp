#include "audit/channel_watch.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/table.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using auditing::ChannelWatch;
using kernels::Activation;
using kernels::ActivationKind;

namespace {

const Activation kRelu{ActivationKind::Relu};

void show(ChannelWatch& watch, const Tensor& value, simd::Isa isa, ops::Layout layout = ops::Layout::Plain) {
  SerialParallel parallel;
  const kernels::KernelTable& table = kernels::table(isa);
  ops::TensorDesc desc{DataType::Float32, value.shape(), layout,
                       layout == ops::Layout::Blocked ? table.block : 1};
  if (layout == ops::Layout::Plain) {
    watch.observe({value.data<float>().data(), desc, table, parallel});
    return;
  }
  // Padding that would fire everything if it were counted.
  std::vector<float> blocked(static_cast<std::size_t>(desc.stored_elements()), 1e30F);
  const std::int64_t positions = value.shape().elements(2, value.shape().rank());
  const std::int64_t channels = value.shape()[1];
  const std::int64_t stored = (channels + table.block - 1) / table.block;
  for (std::int64_t n = 0; n < value.shape()[0]; ++n) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t p = 0; p < positions; ++p) {
        blocked[static_cast<std::size_t>(((n * stored + c / table.block) * positions + p) * table.block +
                                         c % table.block)] =
            value.data<float>()[static_cast<std::size_t>((n * channels + c) * positions + p)];
      }
    }
  }
  watch.observe({blocked.data(), desc, table, parallel});
}

/// What a ReLU's channel `c` on `axis` should show of the first `used` samples along axis 0.
ChannelStatistics expected(const Tensor& value, int axis, std::int64_t c, std::int64_t used) {
  const Shape& shape = value.shape();
  const std::int64_t inner = shape.elements(axis + 1, shape.rank());
  const std::int64_t outer = shape.elements(1, axis);
  ChannelStatistics s;
  for (std::int64_t n = 0; n < used; ++n) {
    bool fired = false;
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t i = 0; i < inner; ++i) {
        const float x =
            value.data<float>()[static_cast<std::size_t>(((n * outer + o) * shape[axis] + c) * inner + i)];
        fired = fired || x > 0;
        s.positions_fired += x > 0 ? 1 : 0;
        ++s.positions;
        s.pre_sum += static_cast<double>(x);
        s.out_sum += static_cast<double>(std::max(0.0F, x));
      }
    }
    s.samples_fired += fired ? 1 : 0;
    ++s.samples;
  }
  return s;
}

void check_channels(const ChannelWatch& watch, const Tensor& value, int axis, std::int64_t used) {
  REQUIRE(watch.channels() == value.shape()[axis]);
  CHECK(watch.channel_axis() == axis);
  for (std::int64_t c = 0; c < watch.channels(); ++c) {
    const ChannelStatistics got = watch.totals().statistics(c);
    const ChannelStatistics want = expected(value, axis, c, used);
    CHECK(got.samples == want.samples);
    CHECK(got.samples_fired == want.samples_fired);
    CHECK(got.positions == want.positions);
    CHECK(got.positions_fired == want.positions_fired);
    CHECK(got.pre_sum == doctest::Approx(want.pre_sum).epsilon(1e-4));
    CHECK(got.out_sum == doctest::Approx(want.out_sum).epsilon(1e-4));
  }
}

}  // namespace

TEST_CASE("feature maps are watched by axis 1 in both layouts, matrices by their last axis") {
  for (const simd::Isa isa : simd::available_isas()) {
    for (const Shape& shape :
         {Shape{5, 19, 3, 7}, Shape{5, 33, 1, 1}, Shape{5, 3, 40}, Shape{5, 16, 2, 3, 2}}) {
      const Tensor value = test::random_tensor(shape, 1, -1.0F, 0.05F);
      for (const ops::Layout layout : {ops::Layout::Plain, ops::Layout::Blocked}) {
        ChannelWatch watch(kRelu, false);
        watch.expect(5, 3);  // a partial batch: the last two do not count
        show(watch, value, isa, layout);
        check_channels(watch, value, 1, 3);
        CHECK_FALSE(watch.batch_missing());
      }
    }
    const Tensor matrix = test::random_tensor({6, 37}, 2, -1.0F, 0.3F);
    ChannelWatch watch(kRelu, false);
    watch.expect(6, 6);
    show(watch, matrix, isa);
    check_channels(watch, matrix, 1, 6);
    const Tensor tokens = test::random_tensor({4, 5, 21}, 3, -1.0F, 0.1F);
    ChannelWatch last(kRelu, true);
    last.expect(4, 4);
    show(last, tokens, isa);
    check_channels(last, tokens, 2, 4);
  }
}

TEST_CASE("layouts, batches and runs add up to the same statistics") {
  const Tensor value = test::random_tensor({6, 21, 5, 5}, 4, -1.0F, 0.05F);
  const std::int64_t per_sample = 21 * 25;
  for (const simd::Isa isa : simd::available_isas()) {
    ChannelWatch whole(kRelu, false);
    whole.expect(6, 6);
    show(whole, value, isa);
    ChannelWatch single(kRelu, false);
    single.expect(1, 1);
    for (std::int64_t n = 0; n < 6; ++n) {
      Tensor one(DataType::Float32, {1, 21, 5, 5});
      one.view().copy_from(value.data<float>().subspan(static_cast<std::size_t>(n * per_sample),
                                                       static_cast<std::size_t>(per_sample)));
      show(single, one, isa);
    }
    for (std::int64_t c = 0; c < 21; ++c) {
      CHECK(single.totals().statistics(c).samples_fired == whole.totals().statistics(c).samples_fired);
      CHECK(single.totals().statistics(c).pre_sum == whole.totals().statistics(c).pre_sum);  // to the bit
      CHECK(single.totals().statistics(c).out_sum_squares == whole.totals().statistics(c).out_sum_squares);
    }
  }
}

TEST_CASE("a value whose axis 0 is not the batch counts as one sample per run and says so") {
  const Tensor folded = test::random_tensor({12, 7}, 5);
  ChannelWatch watch(kRelu, false);
  watch.expect(4, 4);
  show(watch, folded, simd::Isa::Sse42);
  CHECK(watch.batch_missing());
  CHECK(watch.totals().statistics(0).samples == 1);
  CHECK(watch.totals().statistics(0).positions == 12);
  ChannelWatch single(kRelu, false);
  single.expect(1, 1);  // one sample per run: nothing to keep apart
  show(single, folded, simd::Isa::Sse42);
  CHECK_FALSE(single.batch_missing());
}

TEST_CASE("vectors and scalars are watched too") {
  ChannelWatch vector(kRelu, false);
  vector.expect(1, 1);
  show(vector, test::random_tensor({9}, 6), simd::Isa::Sse42);
  CHECK(vector.channels() == 9);
  ChannelWatch per_sample(kRelu, false);
  per_sample.expect(9, 9);
  show(per_sample, test::random_tensor({9}, 6), simd::Isa::Sse42);
  CHECK(per_sample.channels() == 1);
  CHECK(per_sample.totals().statistics(0).samples == 9);
  ChannelWatch scalar(kRelu, false);
  scalar.expect(1, 1);
  show(scalar, test::random_tensor(Shape{}, 6), simd::Isa::Sse42);
  CHECK(scalar.channels() == 1);
}

TEST_CASE("extremes are kept sample by sample, for the channels asked for") {
  const Tensor value = test::random_tensor({5, 20, 3, 2}, 4);
  for (const ops::Layout layout : {ops::Layout::Plain, ops::Layout::Blocked}) {
    ChannelWatch watch(kRelu, false);
    const std::vector<std::int64_t> channels = {0, 7, 17};
    watch.keep_ranges(channels);
    watch.expect(5, 4);  // the last sample only fills up the batch
    show(watch, value, simd::choose_isa(), layout);
    for (const std::int64_t c : channels) {
      const auto ranges = watch.ranges(c);
      REQUIRE(ranges.size() == 4);
      for (std::size_t n = 0; n < ranges.size(); ++n) {
        const auto values = value.data<float>().subspan((n * 20 + static_cast<std::size_t>(c)) * 6, 6);
        CHECK(ranges[n].low == std::ranges::min(values));
        CHECK(ranges[n].high == std::ranges::max(values));
      }
    }
  }
}
