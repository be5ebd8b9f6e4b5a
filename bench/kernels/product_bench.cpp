#include <cstdint>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/aligned_memory.hpp"
#include "kernels/table.hpp"
#include "ops/direct_conv.hpp"
#include "support/peak.hpp"

// Floating-point operations per second of matrix products and convolutions on one thread.

using namespace ember;

namespace {

/// Aligned as the engine aligns tensors and packed weights.
class Numbers {
 public:
  explicit Numbers(std::int64_t count)
      : memory_(allocate_aligned(static_cast<std::size_t>(count) * sizeof(float))), count_(count) {
    for (std::int64_t i = 0; i < count; ++i) data()[i] = static_cast<float>(i % 101) * 0.01F - 0.5F;
  }
  [[nodiscard]] float* data() const { return static_cast<float*>(memory_.get()); }
  [[nodiscard]] std::int64_t size() const { return count_; }

 private:
  std::shared_ptr<void> memory_;
  std::int64_t count_;
};

/// FLOP/s, and the share of the measured multiply-add peak.
void count_flops(benchmark::State& state, simd::Isa isa, double flops) {
  using benchmark::Counter;
  const double peak = bench::fma_peak(simd::to_string(isa));
  state.counters["FLOP/s"] = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["%peak"] = Counter(100 * flops / peak, Counter::kIsIterationInvariantRate);
}

void gemm(benchmark::State& state, simd::Isa isa, std::int64_t m, std::int64_t k, std::int64_t n) {
  const kernels::GemmKernels& kernels = *kernels::table(isa).gemm;
  const std::int64_t tiles = (n + kernels.tile.columns - 1) / kernels.tile.columns;
  const std::int64_t rows = 12 * kernels.tile.rows;  // as a step splits them
  const Numbers a(m * k);
  const Numbers b(tiles * kernels.tile.columns * k);
  const Numbers c(m * n);
  const kernels::GemmJob job{
      .m = m, .n = n, .k = k, .a = a.data(), .a_row = k, .b = b.data(), .c = c.data(), .c_row = n};
  for (auto _ : state) {
    for (std::int64_t row = 0; row < m; row += rows) kernels.run(job, row, std::min(m, row + rows), 0, tiles);
    benchmark::ClobberMemory();
  }
  count_flops(state, isa, 2.0 * static_cast<double>(m) * static_cast<double>(n * k));
  // What reading the weights alone would take of the bandwidth of memory.
  const double bytes = sizeof(float) * static_cast<double>(b.size());
  state.counters["%stream"] = benchmark::Counter(100 * bytes / bench::read_bandwidth(),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

/// Square kernel and image, padded to keep the size; depthwise where `depthwise`.
void conv(benchmark::State& state, simd::Isa isa, std::int64_t channels, std::int64_t size,
          std::int64_t kernel, bool depthwise) {
  const kernels::KernelTable& table = kernels::table(isa);
  const kernels::ConvKernels& kernels = *table.conv;
  ops::ConvGeometry g{.batch = 1, .in_channels = channels, .out_channels = channels};
  g.windows.rank = 2;
  for (const std::size_t axis : {1U, 2U}) {
    g.windows.axes[axis] = {
        .input = size, .kernel = kernel, .output = size, .pad_begin = kernel / 2, .pad_end = kernel / 2};
  }
  const ops::ConvPhase phase = ops::conv_phase(g, table.block, kernels.tile.columns, false);
  const Numbers x(channels * size * size);
  const Numbers w(static_cast<std::int64_t>(phase.packing.size()));
  const Numbers y(x.size());
  const std::int64_t plane = size * size * table.block;
  const std::int64_t blocks = channels / table.block;
  kernels::ConvJob job{.channels = blocks,
                       .channel_stride = plane,
                       .lanes = table.block,
                       .input = x.data(),
                       .weights = w.data(),
                       .output = y.data(),
                       .blocks = blocks,
                       .out_block = plane};
  kernels::DepthwiseJob depthwise_job{.input = x.data(),
                                      .weights = w.data(),
                                      .output = y.data(),
                                      .blocks = blocks,
                                      .in_block = plane,
                                      .out_block = plane};
  for (int i = 0; i < ops::kSpatialAxes; ++i) job.axes[i] = depthwise_job.axes[i] = phase.axes[i];
  const std::int64_t rows = phase.axes[1].output;
  const std::int64_t strips = rows * ops::ceil_div(phase.axes[2].output, kernels.tile.rows);
  for (auto _ : state) {
    if (depthwise) {
      kernels.depthwise(depthwise_job, 0, rows);
    } else {
      // As a step does it: input that stays in L2 while one tile of filters after the other passes.
      const std::int64_t chunk =
          std::max<std::int64_t>(1, (128 << 10) * strips / (4 * channels * size * size));
      for (std::int64_t strip = 0; strip < strips; strip += chunk)
        kernels.run(job, strip, std::min(strips, strip + chunk), 0, phase.packing.tiles());
    }
    benchmark::ClobberMemory();
  }
  count_flops(state, isa, depthwise ? g.conv_flops() / static_cast<double>(channels) : g.conv_flops());
}

const bool kRegistered = [] {
  for (const simd::Isa isa : simd::available_isas()) {
    const std::string name(simd::to_string(isa));
    struct Product {
      std::int64_t m, k, n;
    };
    for (const auto& [m, k, n] : {Product{6, 256, 32}, Product{512, 512, 512}, Product{128, 784, 512},
                                  Product{8, 1024, 1024}, Product{1, 1024, 1024}, Product{1, 25088, 4096}}) {
      benchmark::RegisterBenchmark(fmt::format("gemm {}x{}x{} {}", m, k, n, name).c_str(), gemm, isa, m, k,
                                   n);
    }
    struct Image {
      std::int64_t channels, size;
    };
    for (const auto& [channels, size] : {Image{16, 14}, Image{64, 56}, Image{128, 28}, Image{256, 14},
                                         Image{512, 7}, Image{576, 64}, Image{576, 65}}) {
      for (const std::int64_t kernel : {1, 3}) {
        benchmark::RegisterBenchmark(
            fmt::format("conv {0}x{0} {1}@{2} {3}", kernel, channels, size, name).c_str(), conv, isa,
            channels, size, kernel, false);
      }
      benchmark::RegisterBenchmark(fmt::format("depthwise 3x3 {}@{} {}", channels, size, name).c_str(), conv,
                                   isa, channels, size, 3, true);
    }
  }
  return true;
}();

}  // namespace
