#include "data/array_format.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::data {

namespace {

template <std::size_t kBytes>
void swap_each(std::span<std::byte> elements) {
  for (std::size_t at = 0; at + kBytes <= elements.size(); at += kBytes) {
    std::reverse(elements.begin() + static_cast<std::ptrdiff_t>(at),
                 elements.begin() + static_cast<std::ptrdiff_t>(at + kBytes));
  }
}

/// Copies column-major elements to row-major ones.
template <std::size_t kBytes>
void transpose(const Shape& shape, const std::byte* from, std::byte* to) {
  const int rank = shape.rank();
  std::array<std::int64_t, Shape::kMaxRank> index{};
  std::array<std::int64_t, Shape::kMaxRank> stride{};
  std::int64_t step = 1;
  for (int axis = 0; axis < rank; ++axis) {
    stride[static_cast<std::size_t>(axis)] = step;
    step *= shape[axis];
  }
  std::int64_t source = 0;
  for (std::int64_t element = 0; element < shape.elements(); ++element) {
    std::memcpy(to + static_cast<std::size_t>(element) * kBytes,
                from + static_cast<std::size_t>(source) * kBytes, kBytes);
    for (int axis = rank - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      source += stride[a];
      if (++index[a] < shape[axis]) break;
      source -= stride[a] * shape[axis];
      index[a] = 0;
    }
  }
}

}  // namespace

void require_exact_size(const ArrayFormat& format, std::uint64_t size) {
  const bool possible = format.shape.elements() <= kMaxElements;
  const std::uint64_t expected = possible ? format.offset + format.bytes() : 0;
  if (possible && size == expected) return;
  const std::string declared =
      fmt::format("declares {} of shape {}", to_string(format.type), to_string(format.shape));
  if (possible && size > expected) {
    throw Error(ErrorCode::InvalidData, fmt::format("{} but holds {} bytes more", declared, size - expected));
  }
  throw Error(ErrorCode::InvalidData, fmt::format("{} but holds only {} bytes: it is truncated or damaged",
                                                  declared, size - std::min(size, format.offset)));
}

void to_native_order(const ArrayFormat& format, std::span<std::byte> elements) {
  if (!format.big_endian) return;
  switch (size_of(format.type)) {
    case 2: swap_each<2>(elements); break;
    case 4: swap_each<4>(elements); break;
    case 8: swap_each<8>(elements); break;
    default: break;
  }
}

Tensor read_array(ByteReader& bytes, const ArrayFormat& format) {
  Tensor tensor(format.type, format.shape);
  const std::span elements(static_cast<std::byte*>(tensor.raw()), tensor.bytes());
  bytes.read(format.offset, elements);
  to_native_order(format, elements);
  if (format.type == DataType::Bool) {
    // Any byte but 0 and 1 would be undefined behaviour when read as bool.
    for (std::byte& byte : elements) byte = byte == std::byte{0} ? byte : std::byte{1};
  }
  if (!format.fortran_order || format.shape.rank() < 2) return tensor;
  Tensor row_major(format.type, format.shape);
  auto* to = static_cast<std::byte*>(row_major.raw());
  switch (size_of(format.type)) {
    case 1: transpose<1>(format.shape, elements.data(), to); break;
    case 2: transpose<2>(format.shape, elements.data(), to); break;
    case 4: transpose<4>(format.shape, elements.data(), to); break;
    default: transpose<8>(format.shape, elements.data(), to); break;
  }
  return row_major;
}

}  // namespace ember::data
