#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

namespace ember::data {

/// A version 1.0 .npy header for `tensor`, padded so that the elements start on a multiple of 64.
std::string npy_header(const ConstTensorView& tensor);
/// `tensor` as float32 when NumPy has no name for its type (bfloat16); otherwise empty.
Tensor npy_storable(const ConstTensorView& tensor);
/// The bytes of an .npz: a zip of stored .npy files, the same for the same tensors. Throws Error.
std::vector<std::byte> zip_arrays(const std::map<std::string, Tensor>& tensors);

}  // namespace ember::data
