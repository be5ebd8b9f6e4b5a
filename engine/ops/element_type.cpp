#include "ops/element_type.hpp"

#include <array>

namespace ember::ops {

namespace {

struct Known {
  const char* name;
  DataType type = DataType::Undefined;
};

// By TensorProto.DataType.
constexpr std::array<Known, 27> kTypes{{
    {"undefined"},
    {"float32", DataType::Float32},
    {"uint8", DataType::UInt8},
    {"int8", DataType::Int8},
    {"uint16", DataType::UInt16},
    {"int16", DataType::Int16},
    {"int32", DataType::Int32},
    {"int64", DataType::Int64},
    {"string"},
    {"bool", DataType::Bool},
    {"float16", DataType::Float16},
    {"float64", DataType::Float64},
    {"uint32", DataType::UInt32},
    {"uint64", DataType::UInt64},
    {"complex64"},
    {"complex128"},
    {"bfloat16", DataType::BFloat16},
    {"float8e4m3fn"},
    {"float8e4m3fnuz"},
    {"float8e5m2"},
    {"float8e5m2fnuz"},
    {"uint4"},
    {"int4"},
    {"float4e2m1"},
    {"float8e8m0"},
    {"uint2"},
    {"int2"},
}};

bool in_table(std::int64_t code) noexcept {
  return code >= 0 && code < static_cast<std::int64_t>(kTypes.size());
}

}  // namespace

DataType element_type(std::int64_t code) noexcept {
  return in_table(code) ? kTypes[static_cast<std::size_t>(code)].type : DataType::Undefined;
}

std::string element_type_name(std::int64_t code) {
  return in_table(code) ? kTypes[static_cast<std::size_t>(code)].name : "type number " + std::to_string(code);
}

}  // namespace ember::ops
