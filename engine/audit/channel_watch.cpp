#include "audit/channel_watch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include "audit/firing.hpp"

namespace ember::auditing {

namespace {

using kernels::StatisticsBlock;

constexpr std::int64_t kPerBlock = StatisticsBlock::kChannels;

StatisticsBlock empty_block() {
  StatisticsBlock block{};
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::ranges::fill(block.pre_min, kInfinity);
  std::ranges::fill(block.out_min, kInfinity);
  std::ranges::fill(block.pre_max, -kInfinity);
  std::ranges::fill(block.out_max, -kInfinity);
  return block;
}

/// A ramp is monotone and never negative, so that steps need not gather all of its output.
void derive_output(StatisticsBlock& block, const kernels::Activation& ramp) {
  const float top =
      ramp.kind == kernels::ActivationKind::Clip ? ramp.beta : std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < StatisticsBlock::kChannels; ++i) {
    block.out_sum_abs[i] = block.out_sum[i];
    if (block.pre_min[i] > block.pre_max[i]) continue;  // of nothing
    block.out_min[i] = std::clamp(block.pre_min[i], 0.0F, top);
    block.out_max[i] = std::clamp(block.pre_max[i], 0.0F, top);
  }
}

void forget(kernels::PieceTotals& piece) {
  std::ranges::fill(piece.begun, 0);
  std::ranges::fill(piece.irregular, 0);
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
  firings_.resize(blocks_.size());
  fired_.resize(static_cast<std::size_t>(channels));
  totals_.channels.resize(static_cast<std::size_t>(channels));
}

void ChannelWatch::keep_ranges(std::span<const std::int64_t> channels) {
  for (const std::int64_t channel : channels) ranges_[channel];
}

void ChannelWatch::restore(LayerTotals totals) {
  totals_ = std::move(totals);
  grow(static_cast<std::int64_t>(totals_.channels.size()));
  for (std::size_t c = 0; c < fired_.size(); ++c) {
    fired_[c] = static_cast<char>(totals_.channels[c].first_fired != ChannelTotals::kNever);
  }
}

void ChannelWatch::cut(const Extents& extents) {
  pieces_.clear();
  const std::int64_t end = first_ + used_;
  if (extents.samples != used_) {  // one sample for all of them
    pieces_.push_back({0, extents.samples, end % segment_ == 0 || end == end_});
    return;
  }
  for (std::int64_t at = first_; at < end;) {
    const std::int64_t next = std::min(end, (at / segment_ + 1) * segment_);
    pieces_.push_back({at - first_, next - at, next % segment_ == 0 || next == end_});
    at = next;
  }
}

void ChannelWatch::close(std::int64_t block) {
  StatisticsBlock& open = blocks_[static_cast<std::size_t>(block)];
  if (kernels::is_ramp(activation_)) derive_output(open, activation_);
  const std::int64_t first = block * kPerBlock;
  const std::int64_t end = std::min(first + kPerBlock, channels_);
  const auto add = [&](std::int64_t c) {
    totals_.channels[static_cast<std::size_t>(c)].add(open, static_cast<std::size_t>(c - first));
  };
  if (ranges_.empty()) {
    for (std::int64_t c = first; c < end; ++c) add(c);
  } else {
    // Blocks are closed side by side, but each channel's list is one block's only.
    for (auto kept = ranges_.lower_bound(first); kept != ranges_.end() && kept->first < end; ++kept) {
      add(kept->first);
      kept->second.push_back({open.pre_min[kept->first - first], open.pre_max[kept->first - first]});
    }
  }
  open = empty_block();
  std::vector<Firing>& firings = firings_[static_cast<std::size_t>(block)];
  for (const Firing& firing : firings) {
    const std::int64_t group = groups_.empty() ? -1 : groups_[static_cast<std::size_t>(firing.sample)];
    totals_.channels[static_cast<std::size_t>(first + firing.lane)].note_fired(firing.sample, group);
  }
  firings.clear();
}

bool ChannelWatch::follows(std::int64_t block) const {
  if (!groups_.empty()) return true;
  const auto first = fired_.begin() + block * kPerBlock;
  return std::find(first, first + std::min(kPerBlock, channels_ - block * kPerBlock), 0) !=
         first + std::min(kPerBlock, channels_ - block * kPerBlock);
}

template <class Accumulate>
void ChannelWatch::add_piece(const Piece& piece, std::int64_t block, const Accumulate& accumulate) {
  const StatisticsBlock& open = blocks_[static_cast<std::size_t>(block)];
  const std::int64_t channels = std::min(kPerBlock, channels_ - block * kPerBlock);
  std::int64_t at = 0;
  for (; at < piece.samples && follows(block); ++at) {
    std::array<std::int32_t, kPerBlock> before;
    std::copy_n(open.samples_fired, kPerBlock, before.begin());
    accumulate(piece.begin + at, 1);
    for (std::int64_t lane = 0; lane < channels; ++lane) {
      char& fired = fired_[static_cast<std::size_t>(block * kPerBlock + lane)];
      if (open.samples_fired[lane] == before[static_cast<std::size_t>(lane)]) continue;
      if (groups_.empty() && fired != 0) continue;
      fired = 1;
      firings_[static_cast<std::size_t>(block)].push_back({lane, first_ + piece.begin + at});
    }
  }
  if (at < piece.samples) accumulate(piece.begin + at, piece.samples - at);
  if (piece.last) close(block);
}

void ChannelWatch::prepare(const Extents& extents) {
  grow(extents.channels);
  cut(extents);
  for (const Piece& piece : pieces_) {
    open_samples_ += piece.samples;
    open_positions_ += piece.samples * extents.outer * extents.inner;
    if (!piece.last) continue;
    totals_.samples += std::exchange(open_samples_, 0);
    totals_.positions += std::exchange(open_positions_, 0);
  }
}

std::optional<kernels::WatchRule> ChannelWatch::rule() const {
  // Steps gather by channels of axis 1. That a PRelu's slopes differ changes nothing about what fires.
  if (last_axis_) return std::nullopt;
  return kernels::WatchRule{.firing = firing_of(activation_, 0).rule, .counts_only = counts_only_};
}

void ChannelWatch::observe(const runtime::PieceData& data) {
  const Extents extents = split(data.desc.shape);
  prepare(extents);
  const ops::PieceGrid& grid = data.grid;
  const kernels::WatchRule rule = *this->rule();
  // Where all of the run is one sample, the grid's samples are parts of it.
  const std::int64_t parts = grid.parts * extents.outer;
  constexpr std::int64_t kNanosecondsPerPiece = 50;
  data.parallel.for_each(grid.blocks, grid.count() * kNanosecondsPerPiece, [&](std::int64_t block, int) {
    for (const Piece& piece : pieces_) {
      add_piece(piece, block, [&](std::int64_t begin, std::int64_t samples) {
        data.kernels.statistics->add_pieces({.pieces = data.pieces + begin * parts * grid.blocks + block,
                                             .samples = samples,
                                             .sample_stride = parts * grid.blocks,
                                             .parts = parts,
                                             .part_stride = grid.blocks,
                                             .positions = extents.outer * extents.inner},
                                            activation_, rule, blocks_[static_cast<std::size_t>(block)]);
      });
    }
    // Samples that only fill up the batch.
    for (std::int64_t part = extents.samples * parts; part < grid.samples * grid.parts; ++part)
      forget(data.pieces[part * grid.blocks + block]);
  });
}

void ChannelWatch::observe(const runtime::ProbeData& data) {
  if (data.desc.type != DataType::Float32) {
    unwatchable_ = true;
    return;
  }
  const Extents extents = split(data.desc.shape);
  prepare(extents);
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
    for (const Piece& piece : pieces_) {
      add_piece(piece, task, [&](std::int64_t begin, std::int64_t samples) {
        accumulate_plain(values + begin * per_sample, samples, extents, task, *data.kernels.statistics);
      });
    }
  });
}

void ChannelWatch::accumulate_plain(const float* values, std::int64_t samples, const Extents& extents,
                                    std::int64_t task, const kernels::StatisticsKernels& kernels) {
  const std::int64_t first = task * kPerBlock;
  const auto width = static_cast<int>(std::min(kPerBlock, extents.channels - first));
  kernels::StatisticsSource source{.data = values + first * extents.inner,
                                   .samples = samples,
                                   .sample_stride = extents.outer * extents.channels * extents.inner,
                                   .groups = 1,
                                   .group_stride = 0,
                                   .positions = extents.outer,
                                   .position_stride = extents.channels,
                                   .channels = width,
                                   .first_channel = first};
  StatisticsBlock& block = blocks_[static_cast<std::size_t>(task)];
  if (extents.inner == 1) {
    kernels.accumulate(source, activation_, firing_of(activation_, first).rule, block, 0);
    return;
  }
  source.groups = extents.outer;
  source.group_stride = extents.channels * extents.inner;
  source.positions = extents.inner;
  source.position_stride = 1;
  source.channels = 1;
  for (int lane = 0; lane < width; ++lane) {
    kernels.accumulate(source, activation_, firing_of(activation_, source.first_channel).rule, block, lane);
    source.data += extents.inner;
    ++source.first_channel;
  }
}

void ChannelWatch::accumulate_blocked(const float* values, const Extents& extents,
                                      const runtime::ProbeData& data) {
  const std::int64_t width = data.desc.block;
  const std::int64_t stored = (extents.channels + width - 1) / width;
  const std::int64_t per_sample = extents.outer * stored * extents.inner * width;
  const std::int64_t tasks = (extents.channels + kPerBlock - 1) / kPerBlock;
  data.parallel.for_each(tasks, extents.samples * per_sample, [&](std::int64_t task, int) {
    for (const Piece& piece : pieces_) {
      add_piece(piece, task, [&](std::int64_t begin, std::int64_t samples) {
        accumulate_blocked(values + begin * per_sample, samples, extents, task, width,
                           *data.kernels.statistics);
      });
    }
  });
}

void ChannelWatch::accumulate_blocked(const float* values, std::int64_t samples, const Extents& extents,
                                      std::int64_t task, std::int64_t width,
                                      const kernels::StatisticsKernels& kernels) {
  const std::int64_t stored = (extents.channels + width - 1) / width;
  const std::int64_t positions = extents.inner;
  const std::int64_t image = stored * positions * width;
  const std::int64_t per_task = kPerBlock / width;
  for (std::int64_t part = task * per_task; part < std::min(stored, (task + 1) * per_task); ++part) {
    const std::int64_t first = part * width;
    const kernels::StatisticsSource source{
        .data = values + part * positions * width,
        .samples = samples,
        .sample_stride = extents.outer * image,
        .groups = extents.outer,
        .group_stride = image,
        .positions = positions,
        .position_stride = width,
        .channels = static_cast<int>(std::min(width, extents.channels - first)),
        .first_channel = first};
    kernels.accumulate(source, activation_, firing_of(activation_, first).rule,
                       blocks_[static_cast<std::size_t>(task)], static_cast<int>(first % kPerBlock));
  }
}

}  // namespace ember::auditing
