#include "kernels/table.hpp"

namespace ember::kernels {

namespace sse42 {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}

const KernelTable& table(simd::Isa isa) {
  switch (isa) {
    case simd::Isa::Avx512: return avx512::kTable;
    case simd::Isa::Avx2: return avx2::kTable;
    case simd::Isa::Sse42: break;
  }
  return sse42::kTable;
}

}  // namespace ember::kernels
