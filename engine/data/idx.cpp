#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "data/array_format.hpp"

namespace ember::data {

namespace {

DataType idx_type(std::byte code) {
  switch (std::to_integer<int>(code)) {
    case 0x08: return DataType::UInt8;
    case 0x09: return DataType::Int8;
    case 0x0B: return DataType::Int16;
    case 0x0C: return DataType::Int32;
    case 0x0D: return DataType::Float32;
    case 0x0E: return DataType::Float64;
    default: return DataType::Undefined;
  }
}

std::int64_t big_endian_32(std::span<const std::byte> bytes) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | std::to_integer<std::int64_t>(bytes[i]);
  return value;
}

/// Throws Error for what cannot be an IDX header; `head` holds the header at least.
ArrayFormat parse(std::span<const std::byte> head) {
  ArrayFormat format;
  format.type = head.size() < 4 || head[0] != std::byte{0} || head[1] != std::byte{0} ? DataType::Undefined
                                                                                      : idx_type(head[2]);
  if (format.type == DataType::Undefined) {
    throw Error(ErrorCode::InvalidData, "is not IDX: it does not start with 00 00, a type code and a rank");
  }
  const auto rank = std::to_integer<std::size_t>(head[3]);
  format.offset = 4 + 4 * rank;
  if (head.size() < format.offset) throw Error(ErrorCode::InvalidData, "ends within its IDX header");
  std::vector<std::int64_t> dims;
  dims.reserve(rank);
  for (std::size_t axis = 0; axis < rank; ++axis)
    dims.push_back(big_endian_32(head.subspan(4 + 4 * axis, 4)));
  format.shape = Shape(dims);
  format.big_endian = true;
  return format;
}

}  // namespace

std::uint64_t idx_stream_bytes(std::span<const std::byte> head) {
  try {
    const ArrayFormat format = parse(head);
    return format.shape.elements() > kMaxElements ? 0 : format.offset + format.bytes();
  } catch (const Error&) {
    return 0;  // parse_idx_header() reports it, with the file's name
  }
}

ArrayFormat parse_idx_header(ByteReader& bytes, const std::string& where) {
  constexpr std::uint64_t kLongest = 4 + 4 * 255;
  std::vector<std::byte> head(std::min(bytes.size(), kLongest));
  bytes.read(0, head);
  try {
    const ArrayFormat format = parse(head);
    require_exact_size(format, bytes.size());
    return format;
  } catch (const Error& error) {
    throw Error(ErrorCode::InvalidData, fmt::format("{} {}", where, error.reason()));
  }
}

}  // namespace ember::data
