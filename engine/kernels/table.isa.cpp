#include "kernels/table.hpp"

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

extern const ActivationKernels kActivation;
extern const ElementwiseKernels kElementwise;
extern const SoftmaxKernels kSoftmax;
extern const ReduceKernels kReduce;
extern const NormalizationKernels kNormalization;
extern const GemmKernels kGemm;
extern const StatisticsKernels kStatistics;
extern const MovementKernels kMovement;
extern const QuantizeKernels kQuantize;
extern const RecurrentKernels kRecurrent;
extern const ConvKernels kConv;
extern const WinogradKernels kWinograd;
extern const LayoutKernels kLayout;
extern const PoolKernels kPool;
extern const ResizeKernels kResize;
extern const ChannelGatherKernels kChannelGather;

extern const KernelTable kTable;
const KernelTable kTable = {
#if defined(EMBER_ISA_AVX512)
    .isa = simd::Isa::Avx512,
    .lanes = kLanes,
    .block = 16,
#elif defined(EMBER_ISA_AVX2)
    .isa = simd::Isa::Avx2,
    .lanes = kLanes,
    .block = 8,
#else
    .isa = simd::Isa::Sse42,
    .lanes = kLanes,
    .block = 8,
#endif
    .activation = &kActivation,
    .elementwise = &kElementwise,
    .softmax = &kSoftmax,
    .reduce = &kReduce,
    .normalization = &kNormalization,
    .gemm = &kGemm,
    .statistics = &kStatistics,
    .movement = &kMovement,
    .quantize = &kQuantize,
    .recurrent = &kRecurrent,
    .conv = &kConv,
    .winograd = &kWinograd,
    .layout = &kLayout,
    .pool = &kPool,
    .resize = &kResize,
    .channel_gather = &kChannelGather,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
