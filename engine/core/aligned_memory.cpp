#include "core/aligned_memory.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember {

namespace {

/// From here on memory is asked for in pages of this size: weights that stream by then cost few translations
/// of addresses.
constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// From here on zeroed memory comes from the system.
constexpr std::size_t kMapped = std::size_t{128} << 10;

[[noreturn]] void refuse(std::size_t bytes) {
  throw Error(ErrorCode::ResourceLimit, fmt::format("cannot allocate {} bytes", bytes));
}

}  // namespace

std::shared_ptr<void> allocate_aligned(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  const std::size_t rounded = align_up(bytes == 0 ? 1 : bytes, alignment);
  void* memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) refuse(bytes);
#if defined(__linux__)
  // Advice: where it is not taken, nothing changes. Only whole pages, so that no memory is spent on the rest.
  if (alignment == kHugePage) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return {memory, [](void* p) { std::free(p); }};
}

std::shared_ptr<void> allocate_zeroed(std::size_t bytes) {
#if defined(__linux__)
  if (bytes >= kMapped) {
    const bool huge = bytes >= kHugePage;
    const std::size_t mapped = huge ? align_up(bytes, kHugePage) + kHugePage : bytes;
    void* const start =
        mapped < bytes ? MAP_FAILED
                       : ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) refuse(bytes);
    void* memory = start;
    if (huge) {
      std::size_t room = mapped;
      std::align(kHugePage, bytes, memory, room);
      ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    }
    return {memory, [start, mapped](void*) { ::munmap(start, mapped); }};
  }
#endif
  std::shared_ptr<void> memory = allocate_aligned(bytes);
  std::memset(memory.get(), 0, bytes);
  return memory;
}

}  // namespace ember
