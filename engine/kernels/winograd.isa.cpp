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

template <int kOutputs>
void transform(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows) {
  constexpr int kWindow = WinogradTransform<kOutputs>::kWindow;
  const std::int64_t blocks = blocks_of(job.in_channels);
  const std::int64_t plane = job.in_height * job.in_width * kBlock;
  const std::int64_t image_row = job.in_width * kBlock;
  TileWalk<kOutputs> walk(job, tile);
  for (std::int64_t r = row; r < row + rows; ++r, walk.next()) {
    const TilePlace& at = walk.place();
    const std::int64_t top = at.y - job.pad_top;
    const std::int64_t left = at.x - job.pad_left;
    const bool inside =
        top >= 0 && left >= 0 && top + kWindow <= job.in_height && left + kWindow <= job.in_width;
    const float* image = job.input + at.sample * blocks * plane;
    float* to = job.transformed + r * job.transformed_row;
    for (std::int64_t block = 0; block < blocks; ++block, image += plane, to += kBlock) {
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

/// A register tile with nothing before or after the sums: these products are short.
template <int kRows, int kVectors>
void product(const float* a, std::int64_t a_row, const float* b, std::int64_t depth, float* c,
             std::int64_t c_row) {
  constexpr std::int64_t kAhead = 48 * kTileColumns;
  Vec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = broadcast(0.0F);
  }
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < depth; ++k, ++a, b += kTileColumns) {
    Vec columns[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) columns[v] = load(b + v * kLanes);
    __builtin_prefetch(b + kAhead);
    if constexpr (kVectors * kLanes > 16) __builtin_prefetch(b + kAhead + 16);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec value = broadcast(a[r * a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] = fmadd(value, columns[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(c + r * c_row + v * kLanes, sums[r][v]);
  }
}

using Product = void (*)(const float*, std::int64_t, const float*, std::int64_t, float*, std::int64_t);

template <int kVectors>
Product product_of(std::int64_t rows) {
  switch (rows) {
    case 1: return product<1, kVectors>;
    case 2: return product<2, kVectors>;
    case 3: return product<3, kVectors>;
    case 4: return product<4, kVectors>;
#if !defined(EMBER_ISA_SSE42)
    case 5: return product<5, kVectors>;
    case 6: return product<6, kVectors>;
#endif
#if defined(EMBER_ISA_AVX512)
    case 7: return product<7, kVectors>;
    case 8: return product<8, kVectors>;
    case 9: return product<9, kVectors>;
    case 10: return product<10, kVectors>;
    case 11: return product<11, kVectors>;
    case 12: return product<12, kVectors>;
    case 13: return product<13, kVectors>;
    case 14: return product<14, kVectors>;
#endif
    default: return nullptr;
  }
}

void multiply(const WinogradJob& job, std::int64_t point, std::int64_t rows, std::int64_t tile_begin,
              std::int64_t tile_end) {
  const std::int64_t blocks = blocks_of(job.out_channels);
  constexpr std::int64_t kBlocksPerTile = kTileColumns / kBlock;
  const std::int64_t tiles = (blocks + kBlocksPerTile - 1) / kBlocksPerTile;
  const std::int64_t parts = (rows + kTileRows - 1) / kTileRows;
  const float* a = job.transformed + point * job.transformed_point;
  float* c = job.products + point * job.products_point;
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const float* b = job.filters + (point * tiles + tile) * job.in_channels * kTileColumns;
    const bool narrow = (blocks - tile * kBlocksPerTile) * kVectorsPerBlock < kTileVectors;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = rows * part / parts;
      const std::int64_t count = rows * (part + 1) / parts - first;
      (narrow ? product_of<1>(count) : product_of<kTileVectors>(count))(
          a + first * job.transformed_row, job.transformed_row, b, job.in_channels,
          c + first * job.products_row + tile * kTileColumns, job.products_row);
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

template <int kOutputs>
void finish(const WinogradJob& job, std::int64_t tile, std::int64_t row, std::int64_t rows) {
  const std::int64_t blocks = blocks_of(job.out_channels);
  const std::int64_t plane = job.out_height * job.out_width * kBlock;
  const std::int64_t image_row = job.out_width * kBlock;
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  TileWalk<kOutputs> walk(job, tile);
  for (std::int64_t r = row; r < row + rows; ++r, walk.next()) {
    const TilePlace& at = walk.place();
    const std::int64_t high = smaller(kOutputs, job.out_height - at.y);
    const std::int64_t wide = smaller(kOutputs, job.out_width - at.x);
    const float* from = job.products + r * job.products_row;
    std::int64_t out = at.sample * blocks * plane + at.y * image_row + at.x * kBlock;
    for (std::int64_t block = 0; block < blocks; ++block, from += kBlock, out += plane) {
      for (std::int64_t v = 0; v < kBlock; v += kLanes) {
        Vec outputs[kOutputs][kOutputs];
        combine<kOutputs>(from + v, job.products_point, outputs);
        const std::int64_t channel = block * kBlock + v;
        const Vec bias = job.epilogue.bias == nullptr ? broadcast(0.0F) : load(job.epilogue.bias + channel);
        const bool residual = job.epilogue.residual != nullptr;
#pragma GCC unroll 4
        for (int y = 0; y < kOutputs; ++y) {
          if (y >= high) break;
          float* to = job.output + out + v + y * image_row;
          const float* added = residual ? job.epilogue.residual + out + v + y * image_row : nullptr;
#pragma GCC unroll 4
          for (int x = 0; x < kOutputs; ++x) {
            if (x >= wide) break;
            const Vec sum = outputs[y][x] + bias;
            store(to + x * kBlock,
                  epilogue.in_registers ? epilogue.apply(sum, residual ? added + x * kBlock : nullptr) : sum);
          }
          if (!epilogue.in_registers) finish_stored(epilogue, to, added, wide, kBlock, channel);
        }
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
  for (std::int64_t m = 0; m < tiles * kTileColumns; ++m) {
    for (std::int64_t c = 0; c < in_channels; ++c) {
      float* to = packed + ((m / kTileColumns) * in_channels + c) * kTileColumns + m % kTileColumns;
      if (m >= out_channels) {
        for (int p = 0; p < kWindow * kWindow; ++p) to[p * point] = 0.0F;
        continue;
      }
      const float* g = filters + (m * in_channels + c) * 9;
      double half[kWindow][3];
      for (int i = 0; i < kWindow; ++i) {
        const double* f = Transform::kFilter[i];
        for (int x = 0; x < 3; ++x)
          half[i][x] = f[0] * static_cast<double>(g[x]) + f[1] * static_cast<double>(g[3 + x]) +
                       f[2] * static_cast<double>(g[6 + x]);
      }
      for (int i = 0; i < kWindow; ++i) {
        for (int j = 0; j < kWindow; ++j) {
          const double* f = Transform::kFilter[j];
          to[(i * kWindow + j) * point] =
              static_cast<float>(f[0] * half[i][0] + f[1] * half[i][1] + f[2] * half[i][2]);
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
