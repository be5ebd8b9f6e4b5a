#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <ember/tensor.hpp>

namespace ember {

/// Reads a NumPy .npy file (C or Fortran order, little-endian numbers or bool). Throws Error.
Tensor load_npy(const std::filesystem::path& file);
/// Reads every array of an .npz (stored or deflated). Throws Error; object arrays are refused.
std::map<std::string, Tensor> load_npz(const std::filesystem::path& file);
/// Writes appear whole or not at all. BFloat16 is written as float32. Throws Error (Io).
void save_npy(const std::filesystem::path& file, const ConstTensorView& tensor);
/// Writes several .npy files. No file appears before all of them are written.
void save_npy(const std::map<std::filesystem::path, ConstTensorView>& files);
void save_npz(const std::filesystem::path& file, const std::map<std::string, Tensor>& tensors);

}  // namespace ember
