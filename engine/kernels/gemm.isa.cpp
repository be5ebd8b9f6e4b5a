#include "kernels/gemm.hpp"

#include "kernels/column_tile.hpp"
#include "kernels/few_rows.hpp"
#include "kernels/square_transpose.hpp"
#include "kernels/tile_epilogue.hpp"
#include "kernels/vector_loop.hpp"
#include "simd/lanes.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

namespace {

/// Rows that what has no room in registers follows: they are still in L1.
constexpr std::int64_t kRowsTogether = 4 * kTileRows;

/// A job's rows from `row` on, and its columns from those of `tile` on.
ColumnTile part_of(const GemmJob& job, const TileEpilogue& epilogue, std::int64_t row, std::int64_t tile) {
  const std::int64_t column = tile * kTileColumns;
  const std::int64_t at = row * job.c_row + column;
  ColumnTile t;
  t.input = job.a + row * job.a_row;
  t.input_row = job.a_row;
  t.depth = t.lanes = job.k;
  t.weights = job.b + column * job.k;
  t.bias = job.epilogue.bias == nullptr ? nullptr : job.epilogue.bias + column;
  t.resume = job.resume;
  t.positive_zero = true;
  t.output = job.c + at;
  t.out_row = job.c_row;
  t.residual = job.epilogue.residual == nullptr ? nullptr : job.epilogue.residual + at;
  t.channel = column;
  t.epilogue = epilogue.in_registers ? &epilogue : nullptr;
  return t;
}

/// What of the epilogue has no room in registers.
EMBER_INLINE void finish(const ColumnTile& t, const TileEpilogue& epilogue, std::int64_t rows,
                         std::int64_t columns) {
  if (t.epilogue == nullptr)
    finish_stored(epilogue, t.output, t.residual, rows, columns, t.out_row, t.channel);
}

/// Copies `columns` columns of rows that lie from_row and to_row apart.
void copy_rows(const float* from, std::int64_t from_row, float* to, std::int64_t to_row, std::int64_t rows,
               std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r, from += from_row, to += to_row) {
    std::int64_t i = 0;
    for (; i + kLanes <= columns; i += kLanes) store(to + i, load(from + i));
    if (i < columns) store_partial(to + i, load_partial(from + i, columns - i), columns - i);
  }
}

/// Runs `product` on a part of `rows` rows and `width` columns, of which `columns` exist: beside c, and
/// copied.
template <std::int64_t kFloats, class Product>
EMBER_INLINE void run_beside(ColumnTile t, std::int64_t rows, std::int64_t width, std::int64_t columns,
                             Product&& product) {
  float out[kFloats];
  float residual[kFloats];
  float* c = t.output;
  const std::int64_t c_row = t.out_row;
  if (t.residual != nullptr) {
    for (std::int64_t i = 0; i < rows * width; ++i) residual[i] = 0.0F;
    copy_rows(t.residual, c_row, residual, width, rows, columns);
    t.residual = residual;
  }
  if (t.resume) {
    for (std::int64_t i = 0; i < rows * width; ++i) out[i] = 0.0F;
    copy_rows(c, c_row, out, width, rows, columns);
  }
  t.output = out;
  t.out_row = width;
  product(t);
  copy_rows(out, width, c, c_row, rows, columns);
}

void run_rows(const GemmJob& job, std::int64_t row_begin, std::int64_t row_end, std::int64_t tile_begin,
              std::int64_t tile_end) {
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  const std::int64_t whole = smaller(tile_end, job.n / kTileColumns);
  const std::int64_t passes = larger(1, (job.k + kStepsPerPass - 1) / kStepsPerPass);
  const std::int64_t together = epilogue.in_registers ? row_end - row_begin : kRowsTogether;
  const auto first_step = [&](std::int64_t pass) { return job.k * pass / passes; };
  const auto weights_of = [&](std::int64_t tile, std::int64_t pass) {
    return job.b + (tile * job.k + first_step(pass)) * kTileColumns;
  };
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const std::int64_t k = first_step(pass);
    const bool last = pass + 1 == passes;
    const std::int64_t step = last ? together : row_end - row_begin;
    for (std::int64_t tile = tile_begin; tile < whole; ++tile) {
      // Behind the last columns of a part most often come those of the next.
      const float* next = nullptr;
      if (tile + 1 < whole) next = weights_of(tile + 1, pass);
      else if (!last) next = weights_of(tile_begin, pass + 1);
      else if ((tile + 1) * kTileColumns < job.n) next = weights_of(tile + 1, 0);
      for (std::int64_t row = row_begin; row < row_end; row += step) {
        const std::int64_t rows = smaller(step, row_end - row);
        ColumnTile t = part_of(job, epilogue, row, tile);
        t.input += k;
        t.depth = t.lanes = first_step(pass + 1) - k;
        t.weights = weights_of(tile, pass);
        t.next = next;
        t.resume = job.resume || pass > 0;
        if (!last) t.epilogue = nullptr;
        run_column(t, kTileVectors, 0, rows);
        if (last) finish(t, epilogue, rows, kTileColumns);
      }
    }
  }
  if (whole == tile_end) return;
  const std::int64_t columns = job.n - whole * kTileColumns;
  for (std::int64_t row = row_begin; row < row_end; row += kRowsTogether) {
    const std::int64_t rows = smaller(kRowsTogether, row_end - row);
    const ColumnTile t = part_of(job, epilogue, row, whole);
    run_beside<kRowsTogether * kTileColumns>(t, rows, kTileColumns, columns, [&](const ColumnTile& beside) {
      run_column(beside, vectors_for(columns), 0, rows);
      finish(beside, epilogue, rows, columns);
    });
  }
}

/// Few rows: bound by how fast weights arrive, so several tiles at once, each read once from memory, for one
/// pair of rows after the other.
void run_few_rows(const GemmJob& job, std::int64_t row_begin, std::int64_t row_end, std::int64_t tile_begin,
                  std::int64_t tile_end) {
  constexpr std::int64_t kFloats = 2 * few_rows_tiles(2) * kTileColumns;
  static_assert(kFloats >= few_rows_tiles(1) * kTileColumns);
  const TileEpilogue epilogue(job.epilogue.before, job.epilogue.after);
  const std::int64_t together = few_rows_tiles(smaller(2, row_end - row_begin));
  for (std::int64_t tile = tile_begin; tile < tile_end; tile += together) {
    const std::int64_t tiles = smaller(together, tile_end - tile);
    const std::int64_t width = tiles * kTileColumns;
    const std::int64_t columns = smaller(width, job.n - tile * kTileColumns);
    for (std::int64_t row = row_begin; row < row_end; row += 2) {
      const std::int64_t rows = smaller(2, row_end - row);
      ColumnTile t = part_of(job, epilogue, row, tile);
      if (job.steps != nullptr) t.depth = job.step_count;
      const auto product = [&](const ColumnTile& part) {
        few_rows(part, rows, tiles, job.k * kTileColumns, job.steps);
        finish(part, epilogue, rows, columns);
      };
      if (columns == width) product(t);
      else run_beside<kFloats>(t, rows, width, columns, product);
    }
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
  const Vec one = broadcast(1.0F);
  const auto zeros_at = [&](std::int64_t i, std::int64_t n) {
    Mask all = get(a + i, n) == zero;
    for (std::int64_t r = 1; r < rows; ++r) all = all & (get(a + r * a_row + i, n) == zero);
    return select(all, one, zero);
  };
  // Counts per lane are small whole numbers, exact in float.
  Vec zeros = zero;
  std::int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) zeros = zeros + zeros_at(i, kLanes);
  std::int64_t beyond = 0;
  if (i < k) {
    zeros = zeros + zeros_at(i, k - i);
    beyond = kLanes - (k - i);  // lanes beyond the end read as zeros
  }
  return k - (static_cast<std::int64_t>(sum_lanes(zeros)) - beyond);
}

/// Appends the steps from `first` to first + n - 1, n at most kLanes, that count.
EMBER_INLINE std::int64_t list_steps(const float* a, std::int64_t rows, std::int64_t a_row,
                                     std::int64_t first, std::int64_t n, std::int32_t* steps) {
#if defined(EMBER_ISA_AVX512)
  __mmask16 any = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const __m512 x = get(a + r * a_row + first, n);
    any = static_cast<__mmask16>(any | _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ));
  }
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i at = _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(first)));
  // A whole vector: what is beyond the count is overwritten, or padding.
  _mm512_storeu_si512(steps, _mm512_maskz_compress_epi32(any, at));
  return __builtin_popcount(any);
#else
  std::int64_t count = 0;
  for (std::int64_t i = first; i < first + n; ++i) {
    bool any = false;
    for (std::int64_t r = 0; r < rows; ++r) any |= !(a[r * a_row + i] == 0.0F);
    steps[count] = static_cast<std::int32_t>(i);
    count += any ? 1 : 0;
  }
  return count;
#endif
}

std::int64_t nonzero(const float* a, std::int64_t rows, std::int64_t a_row, std::int64_t k, std::int64_t most,
                     std::int32_t* steps) {
  if (count_nonzero(a, rows, a_row, k) > most) return -1;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < k; i += kLanes)
    count += list_steps(a, rows, a_row, i, smaller(kLanes, k - i), steps + count);
  // Whoever looks ahead sees the last one again.
  const std::int32_t last = count == 0 ? 0 : steps[count - 1];
  for (std::int64_t i = 0; i < GemmKernels::kStepPadding; ++i) steps[count + i] = last;
  return count;
}

/// Columns [column, column + columns) of a k × n matrix as one tile.
void pack_tile(const PackSource& source, std::int64_t k, std::int64_t column, std::int64_t columns,
               float* to) {
  constexpr std::int64_t width = kTileColumns;
  const Vec scale = broadcast(source.scale);
  const float* from = source.b + column * source.column_step;
  if (source.column_step == 1) {
    for (std::int64_t row = 0; row < k; ++row, to += width, from += source.row_step) {
      for (std::int64_t i = 0; i < width; i += kLanes) {
        const std::int64_t lanes = larger(0, smaller(kLanes, columns - i));
        store(to + i, scale * get(from + i, lanes));
      }
    }
    return;
  }
  if (source.row_step == 1) {
    for (std::int64_t row = 0; row < k && columns < width; ++row) {
      for (std::int64_t i = columns; i < width; ++i) to[row * width + i] = 0.0F;
    }
    transpose_matrix(from, source.column_step, columns, k, to, width);
    if (source.scale == 1.0F) return;
    for (std::int64_t i = 0; i < k * width; i += kLanes) store(to + i, scale * load(to + i));
    return;
  }
  for (std::int64_t row = 0; row < k; ++row, to += width, from += source.row_step) {
    for (std::int64_t i = 0; i < width; ++i)
      to[i] = i < columns ? source.scale * from[i * source.column_step] : 0.0F;
  }
}

void pack(const PackSource& source, std::int64_t k, std::int64_t n, float* packed, std::int64_t tile_begin,
          std::int64_t tile_end) {
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::int64_t column = tile * kTileColumns;
    pack_tile(source, k, column, smaller(kTileColumns, n - column), packed + column * k);
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
