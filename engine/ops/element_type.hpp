#pragma once

#include <cstdint>
#include <string>

#include "ops/op.hpp"

namespace ember::ops {

/// The element type of an ONNX type number (TensorProto.DataType), as attributes such as `to` and
/// `output_dtype` give it; Undefined for one that ember does not hold.
DataType element_type(std::int64_t code) noexcept;

/// "float8e4m3fn", "int4", …; "type number 99" for one unknown.
std::string element_type_name(std::int64_t code);

}  // namespace ember::ops
