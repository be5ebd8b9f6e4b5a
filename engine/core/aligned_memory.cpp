#include "core/aligned_memory.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember {

std::shared_ptr<void> allocate_aligned(std::size_t bytes) {
  const std::size_t rounded = align_up(bytes == 0 ? 1 : bytes);
  void* memory = rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    throw Error(ErrorCode::ResourceLimit, fmt::format("cannot allocate {} bytes", bytes));
  }
  return {memory, [](void* p) { std::free(p); }};
}

}  // namespace ember
