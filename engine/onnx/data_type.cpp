#include "onnx/data_type.hpp"

#include <array>
#include <cstddef>

#include <fmt/format.h>

namespace ember::onnx {

namespace {

struct Entry {
  const char* name;
  DataType type;
};

// Indexed by TensorProto.DataType. Longer than the enumeration of older protobuf definitions, which
// keep the number as a plain integer.
constexpr std::array kTypes = {
    Entry{"undefined", DataType::Undefined},
    Entry{"float", DataType::Float32},
    Entry{"uint8", DataType::UInt8},
    Entry{"int8", DataType::Int8},
    Entry{"uint16", DataType::UInt16},
    Entry{"int16", DataType::Int16},
    Entry{"int32", DataType::Int32},
    Entry{"int64", DataType::Int64},
    Entry{"string", DataType::Undefined},
    Entry{"bool", DataType::Bool},
    Entry{"float16", DataType::Float16},
    Entry{"double", DataType::Float64},
    Entry{"uint32", DataType::UInt32},
    Entry{"uint64", DataType::UInt64},
    Entry{"complex64", DataType::Undefined},
    Entry{"complex128", DataType::Undefined},
    Entry{"bfloat16", DataType::BFloat16},
    Entry{"float8e4m3fn", DataType::Undefined},
    Entry{"float8e4m3fnuz", DataType::Undefined},
    Entry{"float8e5m2", DataType::Undefined},
    Entry{"float8e5m2fnuz", DataType::Undefined},
    Entry{"uint4", DataType::Undefined},
    Entry{"int4", DataType::Undefined},
    Entry{"float4e2m1", DataType::Undefined},
    Entry{"float8e8m0", DataType::Undefined},
    Entry{"uint2", DataType::Undefined},
    Entry{"int2", DataType::Undefined},
    Entry{"float6e2m3", DataType::Undefined},
    Entry{"float6e3m2", DataType::Undefined},
};

bool is_known(std::int32_t type) { return type >= 0 && static_cast<std::size_t>(type) < kTypes.size(); }

}  // namespace

DataType from_onnx(std::int32_t type) noexcept {
  return is_known(type) ? kTypes[static_cast<std::size_t>(type)].type : DataType::Undefined;
}

std::int32_t to_onnx(DataType type) noexcept {
  if (type == DataType::Undefined) return 0;
  for (std::size_t at = 0; at < kTypes.size(); ++at) {
    if (kTypes[at].type == type) return static_cast<std::int32_t>(at);
  }
  return 0;
}

std::string onnx_type_name(std::int32_t type) {
  return is_known(type) ? kTypes[static_cast<std::size_t>(type)].name : fmt::format("type {}", type);
}

}  // namespace ember::onnx
