#pragma once

#include "kernels/activation.hpp"
#include "kernels/channel_gather.hpp"
#include "kernels/convolution.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gemm.hpp"
#include "kernels/layout.hpp"
#include "kernels/movement.hpp"
#include "kernels/normalization.hpp"
#include "kernels/pool.hpp"
#include "kernels/quantize.hpp"
#include "kernels/recurrent.hpp"
#include "kernels/reduce.hpp"
#include "kernels/resize.hpp"
#include "kernels/softmax.hpp"
#include "kernels/statistics.hpp"
#include "kernels/winograd.hpp"
#include "simd/isa.hpp"

namespace ember::kernels {

/// Every kernel of one instruction set. One member per family; a family is a struct of function
/// pointers in <family>.hpp, filled in by <family>.isa.cpp.
struct KernelTable {
  simd::Isa isa;
  int lanes;  ///< floats per vector
  int block;  ///< channels per block of the blocked layout: 16 with AVX-512, else 8
  const ActivationKernels* activation;
  const ElementwiseKernels* elementwise;
  const SoftmaxKernels* softmax;
  const ReduceKernels* reduce;
  const NormalizationKernels* normalization;
  const GemmKernels* gemm;
  const StatisticsKernels* statistics;
  const MovementKernels* movement;
  const QuantizeKernels* quantize;
  const RecurrentKernels* recurrent;
  const ConvKernels* conv;
  const WinogradKernels* winograd;
  const LayoutKernels* layout;
  const PoolKernels* pool;
  const ResizeKernels* resize;
  const ChannelGatherKernels* channel_gather;
};

/// The table of an instruction set. Using it on a processor without that set is undefined.
const KernelTable& table(simd::Isa isa);

}  // namespace ember::kernels
