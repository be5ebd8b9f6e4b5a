#include <ember/npy.hpp>

#include <bit>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "core/output_file.hpp"
#include "data/array_format.hpp"
#include "data/npz_file.hpp"
#include "data/npz_writer.hpp"

namespace ember {

static_assert(std::endian::native == std::endian::little, "arrays are written as they lie in memory");

Tensor load_npy(const std::filesystem::path& file) {
  const auto bytes = data::open_file(file);
  return data::read_array(*bytes, data::parse_npy_header(*bytes, fmt::format("'{}'", file.string())));
}

std::map<std::string, Tensor> load_npz(const std::filesystem::path& file) {
  const data::NpzFile archive(file);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, index] : archive) {
    const data::NpzArray array = archive.open(name);
    tensors.emplace(name, data::read_array(*array.bytes, array.format));
  }
  return tensors;
}

void save_npy(const std::map<std::filesystem::path, ConstTensorView>& files) {
  std::vector<std::unique_ptr<OutputFile>> outputs;
  for (const auto& [file, tensor] : files) {
    const Tensor converted = data::npy_storable(tensor);
    const ConstTensorView stored = converted.empty() ? tensor : converted.view();
    OutputFile& output = *outputs.emplace_back(std::make_unique<OutputFile>(file));
    output.write(data::npy_header(stored));
    output.write(std::span(static_cast<const std::byte*>(stored.raw()), stored.bytes()));
  }
  for (const auto& output : outputs) output->commit();
}

void save_npy(const std::filesystem::path& file, const ConstTensorView& tensor) {
  save_npy(std::map<std::filesystem::path, ConstTensorView>{{file, tensor}});
}

void save_npz(const std::filesystem::path& file, const std::map<std::string, Tensor>& tensors) {
  write_file(file, data::zip_arrays(tensors));
}

}  // namespace ember
