#pragma once

#include <onnx/onnx_pb.h>

#include <ember/tensor.hpp>

#include "onnx/external_data.hpp"
#include "onnx/model_parser.hpp"

namespace ember::onnx {

/// A TensorProto's tensor. Large element buffers are moved out of the message, not copied. The number
/// of elements present is checked before anything is allocated. `apart`: raw elements that were taken out of
/// the message before. Throws Error (Unsupported for a type or form ember has not; InvalidModel, Io).
Tensor decode_tensor(::onnx::TensorProto& proto, ExternalData& external, RawElements apart = {});

/// Writes type and extents.
void describe_tensor(const Tensor& tensor, ::onnx::TensorProto& proto);
/// Writes the raw elements.
void encode_elements(const Tensor& tensor, ::onnx::TensorProto& proto);

}  // namespace ember::onnx
