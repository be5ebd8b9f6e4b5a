#include "core/aligned_memory.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember {

namespace {

/// From here on memory is asked for in pages of this size: weights that stream by then cost few translations
/// of addresses.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

std::shared_ptr<void> allocate_aligned(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  const std::size_t rounded = align_up(bytes == 0 ? 1 : bytes, alignment);
  void* memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) {
    throw Error(ErrorCode::ResourceLimit, fmt::format("cannot allocate {} bytes", bytes));
  }
#if defined(__linux__)
  // Advice: where it is not taken, nothing changes. Only whole pages, so that no memory is spent on the rest.
  if (alignment == kHugePage) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return {memory, [](void* p) { std::free(p); }};
}

}  // namespace ember
