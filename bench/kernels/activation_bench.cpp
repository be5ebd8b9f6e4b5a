#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "kernels/table.hpp"
#include "ops/activation_pattern.hpp"

// Elements per second of every activation kernel on every instruction set, in L1 and out of all caches.

using namespace ember;

namespace {

constexpr std::int64_t kInCache = 4096;
constexpr std::int64_t kInMemory = 32 << 20;

void run(benchmark::State& state, simd::Isa isa, const kernels::Activation& activation, std::int64_t count) {
  std::vector<float> x(static_cast<std::size_t>(count));
  std::vector<float> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 2001) * 0.01F - 10.0F;
  const kernels::ActivationKernels& kernels = *kernels::table(isa).activation;
  for (auto _ : state) {
    kernels.apply_channel(activation, x.data(), y.data(), count, 0);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * count);
}

/// Every kind, with parameters that keep them in their usual range.
std::vector<kernels::Activation> activations() {
  using enum kernels::ActivationKind;
  std::vector<kernels::Activation> all;
  for (const kernels::ActivationKind kind :
       {None, Relu, LeakyRelu, Elu, Selu, Celu, ThresholdedRelu, Gelu, GeluTanh, Sigmoid, HardSigmoid,
        HardSwish, Silu, Mish, Softplus, Softsign, Tanh, Clip}) {
    all.push_back({.kind = kind, .alpha = kind == Clip ? 0.0F : 1.0F, .beta = kind == Clip ? 6.0F : 1.0F});
  }
  return all;
}

const bool kRegistered = [] {
  for (const simd::Isa isa : simd::available_isas()) {
    for (const kernels::Activation& activation : activations()) {
      for (const std::int64_t count : {kInCache, kInMemory}) {
        const std::string name = fmt::format("{}/{}/{}", ops::to_string(activation.kind),
                                             simd::to_string(isa), count == kInCache ? "cache" : "memory");
        benchmark::RegisterBenchmark(name.c_str(), run, isa, activation, count);
      }
    }
  }
  return true;
}();

}  // namespace
