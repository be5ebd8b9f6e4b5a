#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <ember/tensor.hpp>

#include "data/byte_reader.hpp"

namespace ember::data {

/// More elements than any file holds; up to here sizes in bytes cannot overflow.
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 58;

/// Where and how an array lies in a stream of bytes.
struct ArrayFormat {
  DataType type = DataType::Undefined;
  Shape shape;
  bool fortran_order = false;
  bool big_endian = false;
  std::uint64_t offset = 0;  ///< of the first element

  [[nodiscard]] std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(shape.elements()) * size_of(type);
  }
};

/// The header of an .npy stream, versions 1 to 3. Nothing of the array's size is allocated, and the
/// size is known to be exactly what the stream holds. `where` names file and array in errors.
/// Throws Error (InvalidData).
ArrayFormat parse_npy_header(ByteReader& bytes, const std::string& where);

/// The header of an IDX stream. Throws Error (InvalidData).
ArrayFormat parse_idx_header(ByteReader& bytes, const std::string& where);
/// How many bytes the IDX stream that starts with `head` says it has (0 when it is not IDX).
std::uint64_t idx_stream_bytes(std::span<const std::byte> head);

/// Checks that `size` bytes are exactly the header and the elements of `format`. Throws Error
/// (InvalidData) whose reason continues a sentence that starts with the array's name.
void require_exact_size(const ArrayFormat& format, std::uint64_t size);

/// Makes elements native: swaps their bytes if they are big-endian.
void to_native_order(const ArrayFormat& format, std::span<std::byte> elements);

/// The whole array as a row-major tensor. Throws Error.
Tensor read_array(ByteReader& bytes, const ArrayFormat& format);

}  // namespace ember::data
