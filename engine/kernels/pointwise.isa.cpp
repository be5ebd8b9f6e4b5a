#include "kernels/pointwise.hpp"

#include "kernels/register_tile.hpp"
#include "kernels/tile_epilogue.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Floats of packed weights that stay in L1 while one tile of outputs after the other passes.
constexpr std::int64_t kMostWeights = 8192;

/// How many rows of packed weights ahead to fetch, for the first tile.
constexpr std::int64_t kPrefetchRows = 48;

/// One column tile of a job.
struct ColumnTile {
  const float* input = nullptr;
  std::int64_t channels = 0;  ///< in steps of `lanes`
  std::int64_t channel_stride = 0;
  std::int64_t lanes = 0;
  bool fetch_ahead = false;  ///< the input is not in L2 yet
  const float* weights = nullptr;
  const float* bias = nullptr;  ///< may be null
  float* output = nullptr;
  std::int64_t out_block = 0;
  const float* residual = nullptr;  ///< laid out as the output, may be null
  std::int64_t channel = 0;
  const TileEpilogue* epilogue = nullptr;    ///< null: none, or it follows
  const CountedEpilogue* counted = nullptr;  ///< in place of `epilogue`

  [[nodiscard]] EMBER_INLINE std::int64_t column(std::int64_t vector) const {
    return vector / kVectorsPerBlock * out_block + vector % kVectorsPerBlock * kLanes;
  }
};

/// `tiles` times kRows outputs from output `first` on. All tiles in one function, so that the next one's sums
/// start while the last one's are stored.
template <int kRows, int kVectors>
void run_tiles(const ColumnTile& t, std::int64_t first, std::int64_t tiles) {
  const std::int64_t channels = t.channels;
  const std::int64_t channel_stride = t.channel_stride;
  const std::int64_t lanes = t.lanes;
  const float* input = t.input + first * kBlock;
  std::int64_t at = first * kBlock;
  for (; tiles > 0; --tiles, input += kRows * kBlock, at += kRows * kBlock) {
    Vec sums[kRows][kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Vec bias = t.bias != nullptr ? load(t.bias + v * kLanes) : broadcast(0.0F);
#pragma GCC unroll 32
      for (int r = 0; r < kRows; ++r) sums[r][v] = bias;
    }
    const float* weights = t.weights;
    const float* block = input;
#pragma GCC unroll 1
    for (std::int64_t c = 0; c < channels; ++c, block += channel_stride) {
      if (t.fetch_ahead) {
#pragma GCC unroll 32
        for (int r = 0; r < kRows; ++r) __builtin_prefetch(block + (kRows + r) * kBlock);
      }
      const float* a = block;
#pragma GCC unroll 1
      for (std::int64_t k = 0; k < lanes; ++k, ++a, weights += kTileColumns) {
        Vec columns[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) columns[v] = load(weights + v * kLanes);
        __builtin_prefetch(weights + kPrefetchRows * kTileColumns);
        if constexpr (kVectors * kLanes > 16)
          __builtin_prefetch(weights + kPrefetchRows * kTileColumns + kTileColumns / 2);
#pragma GCC unroll 32
        for (int r = 0; r < kRows; ++r) {
          const Vec value = broadcast(a[r * kBlock]);
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) sums[r][v] = fmadd(value, columns[v], sums[r][v]);
        }
      }
    }
    const auto residual_at = [&](int r, int v) { return t.residual + at + r * kBlock + t.column(v); };
    if (t.counted != nullptr) t.counted->apply_tile(sums, t.residual != nullptr, residual_at, t.channel);
    else if (t.epilogue != nullptr) t.epilogue->apply_tile(sums, t.residual != nullptr, residual_at);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* out = t.output + at + t.column(v);
#pragma GCC unroll 32
      for (int r = 0; r < kRows; ++r) store(out + r * kBlock, sums[r][v]);
    }
  }
}

using RunTiles = void (*)(const ColumnTile&, std::int64_t first, std::int64_t tiles);

template <int kVectors>
struct TilesOf {
  template <int kRows>
  struct Rows {
    static constexpr RunTiles run = run_tiles<kRows, kVectors>;
  };
};
template <int kVectors>
inline constexpr int kMostRows = static_cast<int>(kVectors == 1 ? kNarrowTileRows : kTileRows);
template <int kVectors>
constexpr RowTable<RunTiles, TilesOf<kVectors>::template Rows, kMostRows<kVectors>> kRunTiles;

/// Outputs [begin, end) in tiles as equal as possible.
template <int kVectors>
void run_outputs(const ColumnTile& t, std::int64_t begin, std::int64_t end) {
  const std::int64_t count = end - begin;
  const std::int64_t tiles = (count + kMostRows<kVectors> - 1) / kMostRows<kVectors>;
  const std::int64_t rows = count / tiles;
  const std::int64_t higher = count % tiles;
  if (higher > 0) kRunTiles<kVectors>[rows + 1](t, begin, higher);
  kRunTiles<kVectors>[rows](t, begin + higher * (rows + 1), tiles - higher);
}

}  // namespace

bool is_narrow_pointwise(const ConvJob& job) {
  const auto& [depth, height, width] = job.axes;
  const bool one_row = depth.output * height.output == 1 && depth.taps * height.taps * width.taps == 1;
  const bool on_input = depth.in_offset == 0 && height.in_offset == 0 && width.in_offset == 0;
  const bool neighbours = width.in_step == 1 && width.in_stride == kBlock && width.out_stride == kBlock &&
                          width.output <= width.input && job.lanes <= kBlock && job.lane_stride == 1;
  return one_row && on_input && neighbours && job.channels * job.lanes * kTileColumns <= kMostWeights;
}

void run_pointwise(const ConvJob& job, std::int64_t begin, std::int64_t end, std::int64_t tile_begin,
                   std::int64_t tile_end) {
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  const CountedEpilogue counted(job.epilogue);
  const bool gathers = job.epilogue.watched() && !counted.applies();
  const bool in_registers = counted.applies() || (epilogue.in_registers && !gathers);
  // What has no room in registers follows some tiles later, which are still in L1.
  constexpr std::int64_t kTogether = 4 * kTileRows;
  constexpr std::int64_t kGathered = kChunk / kTileRows * kTileRows;
  const std::int64_t step = in_registers ? end - begin : gathers ? kGathered : kTogether;
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::int64_t blocks = smaller(kTileColumns / kBlock, job.blocks - tile * (kTileColumns / kBlock));
    const std::int64_t vectors = blocks * kVectorsPerBlock;
    const std::int64_t channel = tile * kTileColumns;
    const std::int64_t out = tile * (kTileColumns / kBlock) * job.out_block;
    ColumnTile t;
    t.input = job.input;
    t.channels = job.channels;
    t.channel_stride = job.channel_stride;
    t.lanes = job.lanes;
    t.fetch_ahead = tile == tile_begin;
    t.weights = job.weights + channel * job.channels * job.lanes;
    t.bias = job.epilogue.bias == nullptr ? nullptr : job.epilogue.bias + channel;
    t.output = job.output + out;
    t.out_block = job.out_block;
    t.residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + out;
    t.channel = job.channel + channel;
    if (counted.applies()) t.counted = &counted;
    else if (in_registers) t.epilogue = &epilogue;
    for (std::int64_t at = begin; at < end; at += step) {
      const std::int64_t until = smaller(at + step, end);
      if (vectors == 1) run_outputs<1>(t, at, until);
      else run_outputs<kTileVectors>(t, at, until);
      for (std::int64_t v = 0; v < vectors && !in_registers; ++v) {
        const std::int64_t first = at * kBlock + t.column(v);
        const float* residual = t.residual == nullptr ? nullptr : t.residual + first;
        const std::int64_t channel_of = t.channel + v * kLanes;
        if (gathers)
          finish_watched(job.epilogue, {t.output + first, 1, 0, until - at, kBlock}, residual, channel_of);
        else finish_stored(epilogue, t.output + first, residual, until - at, kBlock, channel_of);
      }
    }
  }
}

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
