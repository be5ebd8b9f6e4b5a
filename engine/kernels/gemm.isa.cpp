#include "kernels/gemm.hpp"

#include "kernels/register_tile.hpp"
#include "kernels/square_transpose.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Steps of k per pass: what a tile of b takes in L1 next to the rows of a.
constexpr std::int64_t kDepthBlock = 512;

TileWork work_of(const GemmJob& job) {
  TileWork w;
  w.a_row = job.a_row;
  w.c_row = job.c_row;
  w.c_block = kBlock;
  w.resume = job.resume;
  w.positive_zero = true;
  w.before = &job.epilogue.before;
  w.after = &job.epilogue.after;
  return w;
}

void aim_columns(const GemmJob& job, std::int64_t tile, TileWork& w) {
  const std::int64_t column = tile * kTileColumns;
  w.channel = column;
  w.bias = job.epilogue.bias == nullptr ? nullptr : job.epilogue.bias + column;
}

/// One tile that sticks out of c on the right: computed beside it and copied.
void run_ragged(const GemmJob& job, TileWork w, std::int64_t row, std::int64_t rows, std::int64_t tile) {
  float out[kTileRows * kTileColumns] = {};
  float residual[kTileRows * kTileColumns] = {};
  const std::int64_t column = tile * kTileColumns;
  const std::int64_t columns = job.n - column;
  if (job.epilogue.residual != nullptr) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < columns; ++i)
        residual[r * kTileColumns + i] = job.epilogue.residual[(row + r) * job.c_row + column + i];
    }
    w.residual = residual;
  }
  if (job.resume) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < columns; ++i)
        out[r * kTileColumns + i] = job.c[(row + r) * job.c_row + column + i];
    }
  }
  w.a = job.a + row * job.a_row;
  w.b = job.b + column * job.k;
  w.c = out;
  w.c_row = kTileColumns;
  if (job.steps != nullptr) {
    w.depth = job.step_count;
    few_rows(w, rows, 1, 0, job.steps);
  } else {
    w.depth = job.k;
    register_tile(rows, vectors_for(columns))(w);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = job.c + (row + r) * job.c_row + column;
    for (std::int64_t i = 0; i < columns; ++i) to[i] = out[r * kTileColumns + i];
  }
}

/// Calls f(first row, rows) for row tiles of as equal a height as possible.
template <class F>
EMBER_INLINE void for_each_row_tile(std::int64_t begin, std::int64_t end, F&& f) {
  const std::int64_t rows = end - begin;
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t first = begin + rows * t / tiles;
    f(first, begin + rows * (t + 1) / tiles - first);
  }
}

void run_rows(const GemmJob& job, std::int64_t row_begin, std::int64_t row_end, std::int64_t tile_begin,
              std::int64_t tile_end) {
  TileWork w = work_of(job);
  const std::int64_t whole = smaller(tile_end, job.n / kTileColumns);
  for (std::int64_t k = 0; k < job.k || k == 0; k += kDepthBlock) {
    w.depth = smaller(kDepthBlock, job.k - k);
    w.resume = job.resume || k > 0;
    w.partial = k + w.depth < job.k;
    for (std::int64_t tile = tile_begin; tile < whole; ++tile) {
      aim_columns(job, tile, w);
      w.b = job.b + (tile * job.k + k) * kTileColumns;
      for_each_row_tile(row_begin, row_end, [&](std::int64_t row, std::int64_t rows) {
        const std::int64_t at = row * job.c_row + tile * kTileColumns;
        w.a = job.a + row * job.a_row + k;
        w.c = job.c + at;
        w.residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + at;
        register_tile(rows, kTileVectors)(w);
      });
    }
  }
  if (whole < tile_end) {
    w = work_of(job);
    aim_columns(job, whole, w);
    for_each_row_tile(row_begin, row_end,
                      [&](std::int64_t row, std::int64_t rows) { run_ragged(job, w, row, rows, whole); });
  }
}

/// Few rows: bound by how fast weights arrive, so several tiles at once, each read once from memory, for one
/// pair of rows after the other.
void run_few_rows(const GemmJob& job, std::int64_t row_begin, std::int64_t row_end, std::int64_t tile_begin,
                  std::int64_t tile_end) {
  TileWork w = work_of(job);
  const std::int64_t whole = smaller(tile_end, job.n / kTileColumns);
  const std::int64_t wide = few_rows_tiles(smaller(2, row_end - row_begin));
  w.depth = job.steps == nullptr ? job.k : job.step_count;
  for (std::int64_t tile = tile_begin; tile < whole; tile += wide) {
    aim_columns(job, tile, w);
    w.b = job.b + tile * job.k * kTileColumns;
    for (std::int64_t row = row_begin; row < row_end; row += 2) {
      const std::int64_t at = row * job.c_row + tile * kTileColumns;
      w.a = job.a + row * job.a_row;
      w.c = job.c + at;
      w.residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + at;
      few_rows(w, smaller(2, row_end - row), smaller(wide, whole - tile), job.k * kTileColumns, job.steps);
    }
  }
  if (whole < tile_end) {
    w = work_of(job);
    aim_columns(job, whole, w);
    for (std::int64_t row = row_begin; row < row_end; row += 2)
      run_ragged(job, w, row, smaller(2, row_end - row), whole);
  }
}

void run(const GemmJob& job, std::int64_t row_begin, std::int64_t row_end, std::int64_t tile_begin,
         std::int64_t tile_end) {
  if (row_end - row_begin <= GemmKernels::kFewRows)
    run_few_rows(job, row_begin, row_end, tile_begin, tile_end);
  else run_rows(job, row_begin, row_end, tile_begin, tile_end);
}

/// Steps at which any row is not zero.
std::int64_t count_nonzero(const float* a, std::int64_t rows, std::int64_t a_row, std::int64_t k) {
  const Vec zero = broadcast(0.0F);
  std::int64_t zeros = 0;
  for (std::int64_t i = 0; i < k; i += kLanes) {
    const std::int64_t n = smaller(kLanes, k - i);
    Mask all = load_partial(a + i, n) == zero;
    for (std::int64_t r = 1; r < rows; ++r) all = all & (load_partial(a + r * a_row + i, n) == zero);
    // Lanes beyond the end read as zeros.
    zeros += static_cast<std::int64_t>(horizontal_sum(select(all, broadcast(1.0F), zero))) - (kLanes - n);
  }
  return k - zeros;
}

std::int64_t nonzero(const float* a, std::int64_t rows, std::int64_t a_row, std::int64_t k, std::int64_t most,
                     std::int32_t* steps) {
  if (count_nonzero(a, rows, a_row, k) > most) return -1;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    bool any = false;
    for (std::int64_t r = 0; r < rows; ++r) any |= !(a[r * a_row + i] == 0.0F);
    steps[count] = static_cast<std::int32_t>(i);
    count += any ? 1 : 0;
  }
  // Whoever looks ahead sees the last one again.
  const std::int32_t last = count == 0 ? 0 : steps[count - 1];
  for (std::int64_t i = 0; i < GemmKernels::kStepPadding; ++i) steps[count + i] = last;
  return count;
}

void pack(const PackSource& source, std::int64_t k, std::int64_t n, float* packed, std::int64_t tile_begin,
          std::int64_t tile_end) {
  const Vec scale = broadcast(source.scale);
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::int64_t column = tile * kTileColumns;
    const std::int64_t columns = smaller(kTileColumns, n - column);
    const float* from = source.b + column * source.column_step;
    float* to = packed + column * k;
    for (std::int64_t row = 0; row < k; ++row, to += kTileColumns, from += source.row_step) {
      if (columns == kTileColumns && source.column_step == 1) {
        for (std::int64_t v = 0; v < kTileColumns; v += kLanes) store(to + v, scale * load(from + v));
        continue;
      }
      for (std::int64_t i = 0; i < kTileColumns; ++i)
        to[i] = i < columns ? source.scale * from[i * source.column_step] : 0.0F;
    }
  }
}

void transpose(const float* from, std::int64_t rows, std::int64_t columns, float* to, std::int64_t row_begin,
               std::int64_t row_end) {
  transpose_matrix(from + row_begin * columns, columns, row_end - row_begin, columns, to + row_begin, rows);
}

}  // namespace

extern const GemmKernels kGemm;
const GemmKernels kGemm = {
    .tile = {.rows = kTileRows, .columns = kTileColumns},
    .run = run,
    .nonzero = nonzero,
    .pack = pack,
    .transpose = transpose,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
