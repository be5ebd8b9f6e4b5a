#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/channel_gather.hpp"
#include "kernels/table.hpp"
#include "ops/map_tasks.hpp"
#include "ops/slice.hpp"
#include "ops/strided_copy.hpp"

// Concat, Split, Slice and Gather along the channels of blocked tensors where pieces do not start at whole
// blocks: lanes are put together anew, and the layout stays.

namespace ember::ops {

namespace {

/// Where a channel of a result comes from.
struct ChannelSource {
  int input = 0;
  std::int64_t channel = 0;
};

/// The channels of one output, in order.
struct ChannelMap {
  int output = 0;
  std::vector<ChannelSource> channels;
};

constexpr std::size_t kMostLanes = 16;

/// One source block's part in a result block.
struct Part {
  int input = 0;
  std::int64_t block = 0;   ///< of the input
  std::int64_t blocks = 0;  ///< the input has
  std::array<std::int32_t, kMostLanes> lanes{};
};

struct ResultBlock {
  int output = 0;
  std::int64_t block = 0;
  std::int64_t blocks = 0;
  std::vector<Part> parts;
};

class ChannelGatherStep final : public Step {
 public:
  ChannelGatherStep(const LowerContext& c, const std::vector<ChannelMap>& maps)
      : kernels_(c.kernels().channel_gather),
        block_(c.block()),
        samples_(c.inputs[0].shape[0]),
        positions_(c.inputs[0].shape.elements(2, c.inputs[0].shape.rank())) {
    for (const ChannelMap& map : maps) add(c, map);
    constexpr std::int64_t kTaskPositions = 2048;
    const auto blocks = static_cast<std::int64_t>(results_.size());
    tasks_ =
        MapTasks(samples_, blocks, positions_, kTaskPositions, shares_positions(blocks * block_, positions_));
  }

  void run(const StepContext& context) const override {
    const auto blocks = static_cast<std::int64_t>(results_.size());
    context.parallel.for_each(tasks_.count(), samples_ * blocks * positions_, [&](std::int64_t index, int) {
      const MapTasks::Task task = tasks_.at(index);
      const ResultBlock& result = results_[static_cast<std::size_t>(task.plane % blocks)];
      const std::int64_t sample = task.plane / blocks;
      std::array<kernels::LaneDraw, kMostLanes> draws;
      std::size_t count = 0;
      for (const Part& part : result.parts) {
        const auto* from = static_cast<const float*>(context.inputs[static_cast<std::size_t>(part.input)]);
        draws[count++] = {from + at(sample * part.blocks + part.block, task.begin), part.lanes.data()};
      }
      auto* to = static_cast<float*>(context.outputs[static_cast<std::size_t>(result.output)]);
      kernels_->gather(draws.data(), static_cast<std::int64_t>(count), task.end - task.begin,
                       to + at(sample * result.blocks + result.block, task.begin));
    });
  }

 private:
  [[nodiscard]] std::int64_t at(std::int64_t plane, std::int64_t position) const {
    return (plane * positions_ + position) * block_;
  }

  [[nodiscard]] std::int64_t blocks_of(std::int64_t channels) const {
    return (channels + block_ - 1) / block_;
  }

  void add(const LowerContext& c, const ChannelMap& map) {
    const auto channels = static_cast<std::int64_t>(map.channels.size());
    for (std::int64_t block = 0; block < blocks_of(channels); ++block) {
      ResultBlock result{.output = map.output, .block = block, .blocks = blocks_of(channels), .parts = {}};
      for (std::int64_t lane = 0; lane < block_ && block * block_ + lane < channels; ++lane) {
        const ChannelSource& source = map.channels[static_cast<std::size_t>(block * block_ + lane)];
        Part& part = part_of(result, source, c);
        part.lanes[static_cast<std::size_t>(lane)] = static_cast<std::int32_t>(source.channel % block_);
      }
      results_.push_back(std::move(result));
    }
  }

  Part& part_of(ResultBlock& result, const ChannelSource& source, const LowerContext& c) const {
    for (Part& part : result.parts) {
      if (part.input == source.input && part.block == source.channel / block_) return part;
    }
    Part part{.input = source.input,
              .block = source.channel / block_,
              .blocks = blocks_of(c.inputs[static_cast<std::size_t>(source.input)].shape[1])};
    part.lanes.fill(-1);
    return result.parts.emplace_back(part);
  }

  const kernels::ChannelGatherKernels* kernels_;
  std::int64_t block_, samples_, positions_;
  MapTasks tasks_;  ///< of positions
  std::vector<ResultBlock> results_;
};

/// Everything blocked; inputs that no map names (bounds, indices) plain.
Lowered lowered(const LowerContext& c, const std::vector<ChannelMap>& maps, std::size_t data_inputs) {
  Lowered result{.step = std::make_unique<ChannelGatherStep>(c, maps)};
  result.input_layouts.assign(c.inputs.size(), Layout::Plain);
  for (std::size_t i = 0; i < data_inputs; ++i) result.input_layouts[i] = Layout::Blocked;
  result.output_layouts.assign(c.outputs.size(), Layout::Blocked);
  return result;
}

/// Refusals that all four share.
std::optional<Refusal> refuse(const LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return refusal;
  if (c.inputs[0].type != DataType::Float32) return Refusal{"an element type other than float32"};
  if (c.inputs[0].shape.rank() < 3) return Refusal{"rank below 3"};
  if (c.outputs[0].shape.elements() == 0 || c.inputs[0].shape.elements() == 0) return Refusal{"no elements"};
  if (c.constants[0] != nullptr) return Refusal{"a constant input"};
  return std::nullopt;
}

std::vector<ChannelSource> channels_from(int input, std::int64_t first, std::int64_t count,
                                         std::int64_t step = 1) {
  std::vector<ChannelSource> channels;
  for (std::int64_t i = 0; i < count; ++i) channels.push_back({input, first + i * step});
  return channels;
}

bool starts_at_blocks(const std::vector<TensorDesc>& pieces, int block) {
  for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
    if (pieces[i].shape[1] % block != 0) return false;
  }
  return true;
}

LowerResult consider_concat(LowerContext& c) {
  if (auto refusal = refuse(c)) return *std::move(refusal);
  if (normalize_axis(c, c.integer("axis", 0), c.outputs[0].shape.rank()) != 1)
    return Refusal{"an axis other than the channels"};
  if (starts_at_blocks(c.inputs, c.block())) return Refusal{"pieces that start at whole blocks"};
  std::int64_t blocked = 0;
  ChannelMap map;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const TensorDesc& input = c.inputs[i];
    if (c.constants[i] != nullptr) return Refusal{"a constant input"};
    if (input.shape.elements() == 0) return Refusal{"an empty input"};
    if (input.layout == Layout::Blocked) blocked += input.shape.elements();
    const auto channels = channels_from(static_cast<int>(i), 0, input.shape[1]);
    map.channels.insert(map.channels.end(), channels.begin(), channels.end());
  }
  if (2 * blocked < c.outputs[0].shape.elements()) return Refusal{"inputs that are mostly plain"};
  return lowered(c, {map}, c.inputs.size());
}

LowerResult consider_split(LowerContext& c) {
  if (auto refusal = refuse(c)) return *std::move(refusal);
  if (c.inputs[0].layout != Layout::Blocked) return Refusal{"a plain input"};
  if (normalize_axis(c, c.integer("axis", 0), c.inputs[0].shape.rank()) != 1)
    return Refusal{"an axis other than the channels"};
  std::vector<ChannelMap> maps;
  std::int64_t first = 0;
  for (int i = 0; i < c.output_count(); ++i) {
    const std::int64_t count = c.has_output(i) ? c.outputs[static_cast<std::size_t>(i)].shape[1] : 0;
    if (count == 0) return Refusal{"an output is left out or empty"};
    maps.push_back({i, channels_from(0, first, count)});
    first += count;
  }
  if (starts_at_blocks(c.outputs, c.block())) return Refusal{"pieces that start at whole blocks"};
  return lowered(c, maps, 1);
}

LowerResult consider_slice(LowerContext& c) {
  if (auto refusal = refuse(c)) return *std::move(refusal);
  const TensorDesc& in = c.inputs[0];
  if (in.layout != Layout::Blocked) return Refusal{"a plain input"};
  for (int i = 1; i < c.input_count(); ++i) {
    if (c.has_input(i) && c.constants[static_cast<std::size_t>(i)] == nullptr)
      return Refusal{"the bounds are not constant"};
  }
  const auto constant = [&](int i) { return integers_of(*c.constants[static_cast<std::size_t>(i)]); };
  const ResolvedSlice slice =
      resolve_slice(c, in.shape, c.opset() < 10 ? slice_attributes(c) : slice_inputs(c, constant));
  for (int axis = 0; axis < in.shape.rank(); ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    const bool whole = slice.shape[axis] == in.shape[axis] && slice.step[at] == 1;
    if (axis != 1 && !whole) return Refusal{"an axis other than the channels"};
  }
  if (are_whole_blocks(in, {slice.start[1], slice.shape[1], slice.step[1]})) return Refusal{"whole blocks"};
  return lowered(c, {{0, channels_from(0, slice.start[1], slice.shape[1], slice.step[1])}}, 1);
}

LowerResult consider_gather(LowerContext& c) {
  if (auto refusal = refuse(c)) return *std::move(refusal);
  const TensorDesc& in = c.inputs[0];
  if (in.layout != Layout::Blocked) return Refusal{"a plain input"};
  if (normalize_axis(c, c.integer("axis", 0), in.shape.rank()) != 1)
    return Refusal{"an axis other than the channels"};
  if (c.constants[1] == nullptr) return Refusal{"the indices are not constant"};
  if (c.constants[1]->shape().rank() != 1) return Refusal{"indices that change the rank"};
  ChannelMap map;
  for (std::int64_t channel : integers_of(*c.constants[1])) {
    if (channel < -in.shape[1] || channel >= in.shape[1]) return Refusal{"an index is out of range"};
    map.channels.push_back({0, channel < 0 ? channel + in.shape[1] : channel});
  }
  return lowered(c, {map}, 1);
}

}  // namespace

void add_channel_gather_candidates(CandidateMap& map) {
  map["Concat"].push_back({.implementation = "channel_concat", .consider = consider_concat});
  map["Split"].push_back({.implementation = "channel_split", .consider = consider_split});
  map["Slice"].push_back({.implementation = "channel_slice", .consider = consider_slice});
  map["Gather"].push_back({.implementation = "channel_gather", .consider = consider_gather});
}

}  // namespace ember::ops
