#pragma once

#include <cstddef>
#include <memory>

namespace ember {

/// Every buffer the engine allocates starts on a cache line, which is also the widest vector.
inline constexpr std::size_t kAlignment = 64;

[[nodiscard]] constexpr std::size_t align_up(std::size_t bytes, std::size_t alignment = kAlignment) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Uninitialised memory on a kAlignment boundary, at least one byte.
/// Throws Error (ResourceLimit) when the system has no more.
std::shared_ptr<void> allocate_aligned(std::size_t bytes);

/// The same filled with zeros. Large memory comes from the system as zeros, page by page when it is first
/// written, so what stays unused costs nothing.
std::shared_ptr<void> allocate_zeroed(std::size_t bytes);

}  // namespace ember
