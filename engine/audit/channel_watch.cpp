#include "audit/channel_watch.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "audit/firing.hpp"

namespace ember::auditing {

namespace {

using kernels::StatisticsBlock;

constexpr std::int64_t kPerBlock = StatisticsBlock::kChannels;

StatisticsBlock empty_block() {
  StatisticsBlock block{};
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::ranges::fill(block.pre_min, kInfinity);
  std::ranges::fill(block.out_min, kInfinity);
  std::ranges::fill(block.pre_max, -kInfinity);
  std::ranges::fill(block.out_max, -kInfinity);
  return block;
}

/// [N][ceil(C/b)][P][b] as [N][C][P].
void unblock(const float* from, const ops::TensorDesc& desc, std::vector<float>& to) {
  const std::int64_t channels = desc.shape[1];
  const std::int64_t positions = desc.shape.elements(2, desc.shape.rank());
  const std::int64_t blocks = (channels + desc.block - 1) / desc.block;
  to.resize(static_cast<std::size_t>(desc.shape.elements()));
  std::size_t at = 0;
  for (std::int64_t n = 0; n < desc.shape[0]; ++n) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const float* channel = from + (n * blocks + c / desc.block) * positions * desc.block + c % desc.block;
      for (std::int64_t p = 0; p < positions; ++p) to[at++] = channel[p * desc.block];
    }
  }
}

}  // namespace

ChannelWatch::Extents ChannelWatch::split(const Shape& shape) {
  const int rank = shape.rank();
  const bool batched = batch_ > 1 && rank > 0 && shape[0] == batch_;
  if (batch_ > 1 && !batched) batch_missing_ = true;
  if (rank == 0) return {1, 1, 1, 1};
  if (rank == 1) {
    axis_ = 0;
    return batched ? Extents{used_, 1, 1, 1} : Extents{1, 1, shape[0], 1};
  }
  axis_ = rank == 2 || last_axis_ ? rank - 1 : 1;
  const std::int64_t inner = shape.elements(axis_ + 1, rank);
  if (batched) return {used_, shape.elements(1, axis_), shape[axis_], inner};
  return {1, shape.elements(0, axis_), shape[axis_], inner};
}

void ChannelWatch::grow(std::int64_t channels) {
  if (channels <= channels_) return;
  channels_ = channels;
  blocks_.resize(static_cast<std::size_t>((channels + kPerBlock - 1) / kPerBlock), empty_block());
}

void ChannelWatch::observe(const runtime::ProbeData& data) {
  if (data.desc.type != DataType::Float32) {
    unwatchable_ = true;
    return;
  }
  const Extents extents = split(data.desc.shape);
  grow(extents.channels);
  samples_ += extents.samples;
  positions_ += extents.samples * extents.outer * extents.inner;
  if (extents.outer * extents.inner == 0) return;
  if (data.desc.layout == ops::Layout::Plain) {
    accumulate_plain(data.data, extents, data);
  } else if (axis_ == 1) {
    accumulate_blocked(data.data, extents, data);
  } else {
    unblock(data.data, data.desc, plain_);
    accumulate_plain(plain_.data(), extents, data);
  }
}

// One task per block of 16 channels: what is added to a channel, and in which order, is the same at any
// number of threads.

void ChannelWatch::accumulate_plain(const float* values, const Extents& extents,
                                    const runtime::ProbeData& data) {
  const std::int64_t per_sample = extents.outer * extents.channels * extents.inner;
  const std::int64_t tasks = (extents.channels + kPerBlock - 1) / kPerBlock;
  data.parallel.for_each(tasks, extents.samples * per_sample, [&](std::int64_t task, int) {
    const std::int64_t first = task * kPerBlock;
    const auto width = static_cast<int>(std::min(kPerBlock, extents.channels - first));
    kernels::StatisticsSource source{.data = values + first * extents.inner,
                                     .samples = extents.samples,
                                     .sample_stride = per_sample,
                                     .groups = 1,
                                     .group_stride = 0,
                                     .positions = extents.outer,
                                     .position_stride = extents.channels,
                                     .channels = width,
                                     .first_channel = first};
    StatisticsBlock& block = blocks_[static_cast<std::size_t>(task)];
    if (extents.inner == 1) {
      const kernels::FiringRule rule = firing_of(activation_, first).rule;
      data.kernels.statistics->accumulate(source, activation_, rule, block, 0);
      return;
    }
    source.groups = extents.outer;
    source.group_stride = extents.channels * extents.inner;
    source.positions = extents.inner;
    source.position_stride = 1;
    source.channels = 1;
    for (int lane = 0; lane < width; ++lane) {
      const kernels::FiringRule rule = firing_of(activation_, source.first_channel).rule;
      data.kernels.statistics->accumulate(source, activation_, rule, block, lane);
      source.data += extents.inner;
      ++source.first_channel;
    }
  });
}

void ChannelWatch::accumulate_blocked(const float* values, const Extents& extents,
                                      const runtime::ProbeData& data) {
  const std::int64_t width = data.desc.block;
  const std::int64_t stored = (extents.channels + width - 1) / width;
  const std::int64_t positions = extents.inner;
  const std::int64_t image = stored * positions * width;
  const std::int64_t tasks = (extents.channels + kPerBlock - 1) / kPerBlock;
  const std::int64_t per_task = kPerBlock / width;
  data.parallel.for_each(tasks, extents.samples * extents.outer * image, [&](std::int64_t task, int) {
    for (std::int64_t part = task * per_task; part < std::min(stored, (task + 1) * per_task); ++part) {
      const std::int64_t first = part * width;
      const kernels::StatisticsSource source{
          .data = values + part * positions * width,
          .samples = extents.samples,
          .sample_stride = extents.outer * image,
          .groups = extents.outer,
          .group_stride = image,
          .positions = positions,
          .position_stride = width,
          .channels = static_cast<int>(std::min(width, extents.channels - first)),
          .first_channel = first};
      data.kernels.statistics->accumulate(source, activation_, firing_of(activation_, first).rule,
                                          blocks_[static_cast<std::size_t>(task)],
                                          static_cast<int>(first % kPerBlock));
    }
  });
}

ChannelStatistics ChannelWatch::statistics(std::int64_t channel) const {
  const StatisticsBlock& block = blocks_[static_cast<std::size_t>(channel / kPerBlock)];
  const auto lane = static_cast<std::size_t>(channel % kPerBlock);
  ChannelStatistics s;
  s.samples = samples_;
  s.samples_fired = block.samples_fired[lane];
  s.samples_saturated = block.samples_saturated[lane];
  s.positions = positions_;
  s.positions_fired = block.positions_fired[lane];
  s.positions_saturated = block.positions_saturated[lane];
  s.not_finite = block.not_finite[lane];
  if (s.positions == s.not_finite) return s;  // no minimum or sum of nothing
  s.pre_min = block.pre_min[lane];
  s.pre_max = block.pre_max[lane];
  s.pre_sum = block.pre_sum[lane];
  s.pre_sum_squares = block.pre_sum_squares[lane];
  s.out_min = block.out_min[lane];
  s.out_max = block.out_max[lane];
  s.out_sum = block.out_sum[lane];
  s.out_sum_squares = block.out_sum_squares[lane];
  s.out_sum_abs = block.out_sum_abs[lane];
  return s;
}

}  // namespace ember::auditing
