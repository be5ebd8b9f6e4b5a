#include "data/npz_writer.hpp"

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::data {

namespace {

const char* descr(DataType type) {
  switch (type) {
    case DataType::Float16: return "<f2";
    case DataType::Float32: return "<f4";
    case DataType::Float64: return "<f8";
    case DataType::Int8: return "|i1";
    case DataType::Int16: return "<i2";
    case DataType::Int32: return "<i4";
    case DataType::Int64: return "<i8";
    case DataType::UInt8: return "|u1";
    case DataType::UInt16: return "<u2";
    case DataType::UInt32: return "<u4";
    case DataType::UInt64: return "<u8";
    case DataType::Bool: return "|b1";
    case DataType::BFloat16:
    case DataType::Undefined: break;
  }
  throw Error(ErrorCode::InvalidArgument, fmt::format("{} cannot be written as .npy", to_string(type)));
}

[[noreturn]] void fail(const char* reason) {
  throw Error(ErrorCode::ResourceLimit, fmt::format("cannot pack the arrays: {}", reason));
}

/// A zip that is built in memory.
class Archive {
 public:
  Archive() {
    source_ = zip_source_buffer_create(nullptr, 0, 0, nullptr);
    if (source_ == nullptr) fail("out of memory");
    zip_source_keep(source_);  // the archive frees one count when it closes, the destructor the other
    archive_ = zip_open_from_source(source_, ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    if (archive_ == nullptr) {
      zip_source_free(source_);
      zip_source_free(source_);
      fail("out of memory");
    }
  }
  ~Archive() {
    if (archive_ != nullptr) zip_discard(archive_);
    zip_source_free(source_);
  }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  /// `bytes` must stay valid until finish().
  void add(const std::string& name, const std::string& bytes) {
    zip_source_t* entry = zip_source_buffer(archive_, bytes.data(), bytes.size(), 0);
    if (entry == nullptr) fail(zip_strerror(archive_));
    const zip_int64_t index = zip_file_add(archive_, name.c_str(), entry, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(entry);
      fail(zip_strerror(archive_));
    }
    const auto position = static_cast<zip_uint64_t>(index);
    constexpr zip_uint16_t kFirstDay = 1 << 5 | 1;  // 1980-01-01: no clock, so the same bytes every time
    if (zip_set_file_compression(archive_, position, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive_, position, 0, kFirstDay, 0) != 0) {
      fail(zip_strerror(archive_));
    }
  }

  std::vector<std::byte> finish() {
    if (zip_close(archive_) != 0) fail(zip_strerror(archive_));
    archive_ = nullptr;
    zip_stat_t status;
    zip_stat_init(&status);
    if (zip_source_stat(source_, &status) != 0 || zip_source_open(source_) != 0)
      fail("it cannot be read back");
    std::vector<std::byte> bytes(status.size);
    const zip_int64_t got = zip_source_read(source_, bytes.data(), bytes.size());
    zip_source_close(source_);
    if (got < 0 || static_cast<std::size_t>(got) != bytes.size()) fail("it cannot be read back");
    return bytes;
  }

 private:
  zip_source_t* source_ = nullptr;
  zip_t* archive_ = nullptr;
};

}  // namespace

std::string npy_header(const ConstTensorView& tensor) {
  std::string shape;
  for (const std::int64_t extent : tensor.shape()) shape += fmt::format("{}, ", extent);
  // "(3,)" for one axis, "(3, 4)" for more, "()" for none.
  if (!shape.empty()) shape.resize(shape.size() - (tensor.shape().rank() == 1 ? 1 : 2));
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr(tensor.type()), shape);
  constexpr std::size_t kPreamble = 10;
  header.append(63 - (kPreamble + header.size()) % 64, ' ');
  header += '\n';
  std::string preamble("\x93NUMPY\x01\x00", 8);
  preamble += static_cast<char>(header.size() & 0xFF);
  preamble += static_cast<char>(header.size() >> 8);
  return preamble + header;
}

Tensor npy_storable(const ConstTensorView& tensor) {
  if (tensor.type() != DataType::BFloat16) return {};
  Tensor converted(DataType::Float32, tensor.shape());
  const auto from = tensor.data<BFloat>();
  std::transform(from.begin(), from.end(), converted.data<float>().begin(),
                 [](BFloat value) { return static_cast<float>(value); });
  return converted;
}

std::vector<std::byte> zip_arrays(const std::map<std::string, Tensor>& tensors) {
  if (tensors.empty()) throw Error(ErrorCode::InvalidArgument, "an .npz needs one array at least");
  std::map<std::string, std::string> entries;  // outlives the archive, which reads it at the end
  Archive archive;
  for (const auto& [name, tensor] : tensors) {
    const Tensor converted = npy_storable(tensor.view());
    const ConstTensorView stored = converted.empty() ? tensor.view() : converted.view();
    std::string& bytes = entries[name];
    bytes = npy_header(stored);
    bytes.append(static_cast<const char*>(stored.raw()), stored.bytes());
    archive.add(name + ".npy", bytes);
  }
  return archive.finish();
}

}  // namespace ember::data
