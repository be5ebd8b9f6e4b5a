#pragma once

#include <cstdint>
#include <string>

#include <ember/tensor.hpp>

namespace ember::onnx {

/// The element type an ONNX TensorProto.DataType number stands for; Undefined for one ember has not.
DataType from_onnx(std::int32_t type) noexcept;
/// The TensorProto.DataType number of an element type (0 for Undefined).
std::int32_t to_onnx(DataType type) noexcept;
/// ONNX's name of a TensorProto.DataType number, for messages: "string", "float8e4m3fn", "type 99".
std::string onnx_type_name(std::int32_t type);

}  // namespace ember::onnx
