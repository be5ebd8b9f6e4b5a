#include <ember/labels.hpp>

#include <map>
#include <utility>

#include <fmt/format.h>

#include <ember/error.hpp>
#include <ember/npy.hpp>

namespace ember {

namespace {

template <class T>
std::vector<std::int64_t> widened(const Tensor& tensor) {
  const auto values = tensor.data<T>();
  std::vector<std::int64_t> labels;
  labels.reserve(values.size());
  for (const T value : values) labels.push_back(static_cast<std::int64_t>(value));
  return labels;
}

Tensor chosen(const std::filesystem::path& file, const std::string& array) {
  if (file.extension() != ".npz") return load_npy(file);
  std::map<std::string, Tensor> arrays = load_npz(file);
  if (const auto found = arrays.find(array); found != arrays.end()) return std::move(found->second);
  if (arrays.size() == 1) return std::move(arrays.begin()->second);
  throw Error(ErrorCode::InvalidData, fmt::format("'{}' has no array '{}'", file.string(), array),
              {.cure = "name the array so, or give an .npy"});
}

}  // namespace

std::vector<std::int64_t> load_labels(const std::filesystem::path& file, const std::string& array) {
  const Tensor tensor = chosen(file, array);
  if (tensor.shape().rank() == 1) {
    switch (tensor.type()) {
      case DataType::Int8: return widened<std::int8_t>(tensor);
      case DataType::Int16: return widened<std::int16_t>(tensor);
      case DataType::Int32: return widened<std::int32_t>(tensor);
      case DataType::Int64: return widened<std::int64_t>(tensor);
      case DataType::UInt8: return widened<std::uint8_t>(tensor);
      case DataType::UInt16: return widened<std::uint16_t>(tensor);
      case DataType::UInt32: return widened<std::uint32_t>(tensor);
      case DataType::UInt64: return widened<std::uint64_t>(tensor);
      default: break;
    }
  }
  throw Error(ErrorCode::InvalidData,
              fmt::format("'{}' holds {}{}, not one whole number per sample", file.string(),
                          to_string(tensor.type()), to_string(tensor.shape())),
              {.cure = "save a one-dimensional array of integers"});
}

}  // namespace ember
