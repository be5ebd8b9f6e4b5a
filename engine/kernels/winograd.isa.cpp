#include "kernels/winograd.hpp"

#include "kernels/register_tile.hpp"
#include "kernels/tile_epilogue.hpp"
#include "kernels/winograd_transform.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Where a tile lies.
struct TilePlace {
  std::int64_t sample = 0;
  std::int64_t y = 0;  ///< of its first output
  std::int64_t x = 0;
};

template <int kOutputs>
class TileWalk {
 public:
  TileWalk(const WinogradJob& job, std::int64_t tile)
      : down_((job.out_height + kOutputs - 1) / kOutputs),
        across_((job.out_width + kOutputs - 1) / kOutputs) {
    place_ = {tile / (down_ * across_), tile / across_ % down_ * kOutputs, tile % across_ * kOutputs};
  }
  [[nodiscard]] const TilePlace& place() const { return place_; }
  void next() {
    place_.x += kOutputs;
    if (place_.x < across_ * kOutputs) return;
    place_.x = 0;
    place_.y += kOutputs;
    if (place_.y < down_ * kOutputs) return;
    place_.y = 0;
    ++place_.sample;
  }

 private:
  std::int64_t down_, across_;
  TilePlace place_;
};

EMBER_INLINE std::int64_t blocks_of(std::int64_t channels) { return (channels + kBlock - 1) / kBlock; }

/// One window, `row` floats between its rows, one vector of channels.
template <int kOutputs>
EMBER_INLINE void transform_window(const float* window, std::int64_t row, float* to, std::int64_t point) {
  using Transform = WinogradTransform<kOutputs>;
  constexpr int kWindow = Transform::kWindow;
  Vec half[kWindow][kWindow];
#pragma GCC unroll 8
  for (int x = 0; x < kWindow; ++x) {
    Vec d[kWindow];
    Vec v[kWindow];
#pragma GCC unroll 8
    for (int y = 0; y < kWindow; ++y) d[y] = load(window + y * row + x * kBlock);
    Transform::input(d, v);
#pragma GCC unroll 8
    for (int y = 0; y < kWindow; ++y) half[y][x] = v[y];
  }
#pragma GCC unroll 8
  for (int y = 0; y < kWindow; ++y) {
    Vec v[kWindow];
    Transform::input(half[y], v);
#pragma GCC unroll 8
    for (int x = 0; x < kWindow; ++x) store(to + (y * kWindow + x) * point, v[x]);
  }
}

/// The part of a window that lies on the input, and zeros around it.
template <int kWindow>
void copy_border(const WinogradJob& job, const float* plane, std::int64_t top, std::int64_t left,
                 float* patch) {
  for (std::int64_t y = 0; y < kWindow; ++y) {
    for (std::int64_t x = 0; x < kWindow; ++x, patch += kBlock) {
      const bool inside = top + y >= 0 && top + y < job.in_height && left + x >= 0 && left + x < job.in_width;
      const float* from = plane + ((top + y) * job.in_width + left + x) * kBlock;
#pragma GCC unroll 2
      for (std::int64_t v = 0; v < kBlock; v += kLanes)
        store(patch + v, inside ? load(from + v) : broadcast(0.0F));
    }
  }
}

/// Whether an image of so many floats leaves little of L2, so that its rows come from farther away, in
/// pieces too short for the hardware to foresee.
EMBER_INLINE bool is_far(std::int64_t image) { return image >= 128 << 10; }

/// Has the image's part come that a tile a little further along the row is the first to meet, or writes.
template <int kOutputs>
EMBER_INLINE void fetch_rows(const float* rows, std::int64_t image_row) {
  constexpr std::int64_t kTilesAhead = 3;
  constexpr std::int64_t kLine = 16;
#pragma GCC unroll 4
  for (int y = 0; y < kOutputs; ++y) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < kOutputs * kBlock; i += kLine)
      __builtin_prefetch(rows + y * image_row + kTilesAhead * kOutputs * kBlock + i);
  }
}

template <int kOutputs>
void transform(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows) {
  constexpr int kWindow = WinogradTransform<kOutputs>::kWindow;
  const std::int64_t blocks = blocks_of(job.in_channels);
  const std::int64_t plane = job.in_height * job.in_width * kBlock;
  const bool far = is_far(blocks * plane);
  const std::int64_t image_row = job.in_width * kBlock;
  // Blocks outermost: neighbouring tiles of one block read on where the last one ended.
  for (std::int64_t block = 0; block < blocks; ++block) {
    TileWalk<kOutputs> walk(job, tile);
    float* to = job.transformed + block * job.transformed_block + row * kBlock;
    for (std::int64_t r = 0; r < rows; ++r, walk.next(), to += kBlock) {
      const TilePlace& at = walk.place();
      const std::int64_t top = at.y - job.pad_top;
      const std::int64_t left = at.x - job.pad_left;
      const bool inside =
          top >= 0 && left >= 0 && top + kWindow <= job.in_height && left + kWindow <= job.in_width;
      const float* image = job.input + (at.sample * blocks + block) * plane;
      if (far)
        fetch_rows<kOutputs>(image + (top + kWindow - kOutputs) * image_row + left * kBlock, image_row);
      float patch[kWindow * kWindow * kBlock];
      const float* window = image + top * image_row + left * kBlock;
      std::int64_t window_row = image_row;
      if (!inside) {
        copy_border<kWindow>(job, image, top, left, patch);
        window = patch;
        window_row = kWindow * kBlock;
      }
      for (std::int64_t v = 0; v < kBlock; v += kLanes)
        transform_window<kOutputs>(window + v, window_row, to + v, job.transformed_point);
    }
  }
}

/// A register tile's operands: a[blocks of channels][rows][kBlock], c the same, a_block and c_block floats
/// between their blocks.
struct Product {
  const float* a;
  std::int64_t a_block;
  const float* b;
  std::int64_t channels;
  float* c;
  std::int64_t c_block;
  const float* ahead;       ///< filters needed next
  std::int64_t ahead_step;  ///< floats of them to fetch per channel
};

/// With nothing before or after the sums: these products are short.
template <int kRows, int kVectors>
void product(const Product& p) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = broadcast(0.0F);
  }
  const float* block = p.a;
  const float* b = p.b;
  const float* ahead = p.ahead;
  const std::int64_t ahead_step = p.ahead_step;
#pragma GCC unroll 1
  for (std::int64_t left = p.channels; left > 0; left -= kBlock, block += p.a_block) {
    const float* a = block;
    const float* end = block + smaller(left, kBlock);
#pragma GCC unroll 1
    for (; a != end; ++a, b += kTileColumns, ahead += ahead_step) {
      Vec columns[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) columns[v] = load(b + v * kLanes);
      __builtin_prefetch(ahead);
      __builtin_prefetch(ahead + ahead_step / 2);
#pragma GCC unroll 32
      for (int r = 0; r < kRows; ++r) {
        const Vec value = broadcast(a[r * kBlock]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] = fmadd(value, columns[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      store(p.c + v / kVectorsPerBlock * p.c_block + r * kBlock + v % kVectorsPerBlock * kLanes, sums[r][v]);
    }
  }
}

using ProductFunction = void (*)(const Product&);

template <int kVectors>
struct ProductOf {
  template <int kRows>
  struct Rows {
    static constexpr ProductFunction run = product<kRows, kVectors>;
  };
};
constexpr RowTable<ProductFunction, ProductOf<kTileVectors>::Rows, kTileRows> kProducts;
constexpr RowTable<ProductFunction, ProductOf<1>::Rows, kNarrowTileRows> kNarrowProducts;

void multiply(const WinogradJob& job, std::int64_t point, std::int64_t rows, std::int64_t tile_begin,
              std::int64_t tile_end) {
  const std::int64_t blocks = blocks_of(job.out_channels);
  constexpr std::int64_t kBlocksPerTile = kTileColumns / kBlock;
  const std::int64_t tiles = (blocks + kBlocksPerTile - 1) / kBlocksPerTile;
  const std::int64_t filter_tile = job.in_channels * kTileColumns;
  Product p;
  p.a_block = job.transformed_block;
  p.channels = job.in_channels;
  p.c_block = job.products_block;
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    p.b = job.filters + (point * tiles + tile) * filter_tile;
    p.ahead = p.b + filter_tile;
    const bool narrow = (blocks - tile * kBlocksPerTile) * kVectorsPerBlock < kTileVectors;
    const std::int64_t most = narrow ? kNarrowTileRows : kTileRows;
    const std::int64_t parts = (rows + most - 1) / most;
    // The passes over one tile of filters share the fetching of the next.
    p.ahead_step = kTileColumns / parts;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = rows * part / parts;
      const std::int64_t count = rows * (part + 1) / parts - first;
      p.a = job.transformed + point * job.transformed_point + first * kBlock;
      p.c = job.products + point * job.products_point + tile * kBlocksPerTile * job.products_block +
            first * kBlock;
      (narrow ? kNarrowProducts[count] : kProducts[count])(p);
      p.ahead += p.ahead_step * job.in_channels;
    }
  }
}

/// Outputs of one tile, one vector of channels: [kOutputs][kOutputs] sums without their bias.
template <int kOutputs>
EMBER_INLINE void combine(const float* from, std::int64_t point, Vec (&outputs)[kOutputs][kOutputs]) {
  using Transform = WinogradTransform<kOutputs>;
  constexpr int kWindow = Transform::kWindow;
  Vec half[kOutputs][kWindow];
#pragma GCC unroll 8
  for (int x = 0; x < kWindow; ++x) {
    Vec m[kWindow];
    Vec y[kOutputs];
#pragma GCC unroll 8
    for (int i = 0; i < kWindow; ++i) m[i] = load(from + (i * kWindow + x) * point);
    Transform::output(m, y);
#pragma GCC unroll 4
    for (int i = 0; i < kOutputs; ++i) half[i][x] = y[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kOutputs; ++i) Transform::output(half[i], outputs[i]);
}

/// Tiles that are watched: like finish(), by rows of tiles, so that the epilogue meets long runs while they
/// are in L1.
template <int kOutputs>
void finish_watched_tiles(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows) {
  const std::int64_t blocks = blocks_of(job.out_channels);
  const std::int64_t plane = job.out_height * job.out_width * kBlock;
  const std::int64_t image_row = job.out_width * kBlock;
  const std::int64_t across = (job.out_width + kOutputs - 1) / kOutputs;
  const std::int64_t down = (job.out_height + kOutputs - 1) / kOutputs;
  for (std::int64_t r = row; r < row + rows;) {
    const TilePlace at = TileWalk<kOutputs>(job, tile + (r - row)).place();
    const std::int64_t tiles = smaller(row + rows - r, across - at.x / kOutputs);
    // Whole rows of tiles lie one behind the other: several at a time where they are short.
    std::int64_t tile_rows = 1;
    if (tiles == across) {
      const std::int64_t fitting = larger(1, kChunk / (kOutputs * job.out_width));
      tile_rows = smaller(fitting, smaller((row + rows - r) / across, down - at.y / kOutputs));
    }
    const std::int64_t high = smaller(tile_rows * kOutputs, job.out_height - at.y);
    const std::int64_t wide = smaller(tiles * kOutputs, job.out_width - at.x);
    ProductEpilogue epilogue = job.epilogue;
    const std::int64_t pieces = at.sample * job.sample_pieces;
    if (epilogue.watch_before.rule != nullptr) epilogue.watch_before.pieces += pieces;
    if (epilogue.watch_after.rule != nullptr) epilogue.watch_after.pieces += pieces;
    const std::int64_t out = at.sample * blocks * plane + at.y * image_row + at.x * kBlock;
    for (std::int64_t channel = 0; channel < blocks * kBlock; channel += kLanes) {
      const std::int64_t first = out + channel / kBlock * plane + channel % kBlock;
      const float* from = job.products + channel / kBlock * job.products_block + channel % kBlock;
      const Vec bias = job.epilogue.bias == nullptr ? broadcast(0.0F) : load(job.epilogue.bias + channel);
      for (std::int64_t top = 0; top < high; top += kOutputs) {
        for (std::int64_t t = 0; t < tiles; ++t) {
          Vec outputs[kOutputs][kOutputs];
          combine<kOutputs>(from + (r + top / kOutputs * tiles + t) * kBlock, job.products_point, outputs);
          float* to = job.output + first + top * image_row + t * kOutputs * kBlock;
#pragma GCC unroll 4
          for (int y = 0; y < kOutputs; ++y) {
            if (top + y >= high) break;
#pragma GCC unroll 4
            for (int x = 0; x < kOutputs; ++x) {
              if (t * kOutputs + x >= wide) break;
              store(to + y * image_row + x * kBlock, outputs[y][x] + bias);
            }
          }
        }
      }
      const Positions positions = tiles == across
                                      ? Positions{job.output + first, 1, 0, high * wide, kBlock}
                                      : Positions{job.output + first, high, image_row, wide, kBlock};
      finish_watched(epilogue, positions, epilogue.residual == nullptr ? nullptr : epilogue.residual + first,
                     channel);
    }
    r += tile_rows * tiles;
  }
}

template <int kOutputs>
void finish(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows) {
  const CountedEpilogue counted(job.epilogue);
  if (job.epilogue.watched() && !counted.applies()) {
    finish_watched_tiles<kOutputs>(job, tile, row, rows);
    return;
  }
  const std::int64_t blocks = blocks_of(job.out_channels);
  const std::int64_t plane = job.out_height * job.out_width * kBlock;
  const std::int64_t image_row = job.out_width * kBlock;
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  const bool residual = job.epilogue.residual != nullptr;
  for (std::int64_t block = 0; block < blocks; ++block) {
    TileWalk<kOutputs> walk(job, tile);
    const float* from = job.products + block * job.products_block + row * kBlock;
    for (std::int64_t r = 0; r < rows; ++r, walk.next(), from += kBlock) {
      const TilePlace& at = walk.place();
      const std::int64_t high = smaller(kOutputs, job.out_height - at.y);
      const std::int64_t wide = smaller(kOutputs, job.out_width - at.x);
      const std::int64_t out = (at.sample * blocks + block) * plane + at.y * image_row + at.x * kBlock;
      for (std::int64_t v = 0; v < kBlock; v += kLanes) {
        Vec outputs[kOutputs][kOutputs];
        combine<kOutputs>(from + v, job.products_point, outputs);
        const std::int64_t channel = block * kBlock + v;
        const Vec bias = job.epilogue.bias == nullptr ? broadcast(0.0F) : load(job.epilogue.bias + channel);
        IntVec fired(0);
#pragma GCC unroll 4
        for (int y = 0; y < kOutputs; ++y) {
          if (y >= high) break;
          float* to = job.output + out + v + y * image_row;
          const float* added = residual ? job.epilogue.residual + out + v + y * image_row : nullptr;
#pragma GCC unroll 4
          for (int x = 0; x < kOutputs; ++x) {
            if (x >= wide) break;
            const Vec sum = outputs[y][x] + bias;
            if (counted.applies()) {
              store(to + x * kBlock, counted.apply(sum, residual ? added + x * kBlock : nullptr, fired));
              continue;
            }
            store(to + x * kBlock,
                  epilogue.in_registers ? epilogue.apply(sum, residual ? added + x * kBlock : nullptr) : sum);
          }
          if (!epilogue.in_registers && !counted.applies())
            finish_stored(epilogue, to, added, wide, kLanes, kBlock, channel);
        }
        if (counted.applies())
          counted.add(at.sample * job.sample_pieces * PieceTotals::kChannels + channel, fired);
      }
    }
  }
}

/// In double, so that the transformed filters are off by their own rounding alone.
template <int kOutputs>
void pack(const float* filters, std::int64_t out_channels, std::int64_t in_channels, float* packed) {
  using Transform = WinogradTransform<kOutputs>;
  constexpr int kWindow = Transform::kWindow;
  const std::int64_t tiles = (out_channels + kTileColumns - 1) / kTileColumns;
  const std::int64_t point = tiles * in_channels * kTileColumns;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t columns = smaller(kTileColumns, out_channels - tile * kTileColumns);
    for (std::int64_t c = 0; c < in_channels; ++c) {
      // One filter of every column, the columns side by side.
      double g[9][kTileColumns] = {};
      for (std::int64_t m = 0; m < columns; ++m) {
        const float* filter = filters + ((tile * kTileColumns + m) * in_channels + c) * 9;
        for (int x = 0; x < 9; ++x) g[x][m] = static_cast<double>(filter[x]);
      }
      float* to = packed + (tile * in_channels + c) * kTileColumns;
      for (int i = 0; i < kWindow; ++i) {
        const double* f = Transform::kFilter[i];
        double half[3][kTileColumns];
        for (int x = 0; x < 3; ++x) {
          for (int m = 0; m < kTileColumns; ++m)
            half[x][m] = f[0] * g[x][m] + f[1] * g[3 + x][m] + f[2] * g[6 + x][m];
        }
        for (int j = 0; j < kWindow; ++j, to += point) {
          f = Transform::kFilter[j];
          for (int m = 0; m < kTileColumns; ++m)
            to[m] = static_cast<float>(f[0] * half[0][m] + f[1] * half[1][m] + f[2] * half[2][m]);
        }
      }
    }
  }
}

template <int kOutputs>
constexpr WinogradForm form() {
  return {.outputs = kOutputs,
          .window = WinogradTransform<kOutputs>::kWindow,
          .transform = transform<kOutputs>,
          .multiply = multiply,
          .finish = finish<kOutputs>,
          .pack = pack<kOutputs>};
}

}  // namespace

extern const WinogradKernels kWinograd;
const WinogradKernels kWinograd = {
    .tile = {.rows = kTileRows, .columns = kTileColumns},
    .f2 = form<2>(),
    .f4 = form<4>(),
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
