#include "onnx/message_io.hpp"

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ember/error.hpp>

namespace ember::onnx {

namespace {

constexpr int kReadBlock = 1 << 18;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return number_; }

 private:
  int number_;
};

void check_size(std::uint64_t bytes, std::string_view what) {
  if (bytes == 0) throw Error(ErrorCode::InvalidModel, fmt::format("the file is empty, not {}", what));
  if (bytes > static_cast<std::uint64_t>(INT_MAX)) refuse_size();
}

/// Parses exactly `size` bytes. The limit lets protobuf refuse a field longer than what is left before
/// it reserves memory for it.
void parse_stream(google::protobuf::io::ZeroCopyInputStream& stream, int size, std::string_view what,
                  const Parse& parse) {
  google::protobuf::io::CodedInputStream coded(&stream);
  const auto limit = coded.PushLimit(size);
  const bool parsed = parse(coded) && coded.ConsumedEntireMessage() && coded.BytesUntilLimit() == 0;
  coded.PopLimit(limit);
  if (!parsed) {
    throw Error(ErrorCode::InvalidModel,
                fmt::format("not {}, or a truncated, damaged or too deeply nested one", what),
                {.cure = "check that the file was copied whole"});
  }
}

}  // namespace

Parse whole(google::protobuf::MessageLite& message) {
  return [&message](google::protobuf::io::CodedInputStream& in) { return message.MergeFromCodedStream(&in); };
}

void parse_file(const std::filesystem::path& file, std::string_view what, const Parse& parse) {
  const auto refused = [](const char* doing, int reason) {
    throw Error(ErrorCode::Io, fmt::format("cannot {} it: {}", doing, std::strerror(reason)));
  };
  // Without O_NONBLOCK a named pipe would be waited for before it can be refused.
  const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.get() < 0) refused("open", errno);
  struct stat status{};
  if (::fstat(descriptor.get(), &status) != 0) refused("inspect", errno);
  if (S_ISDIR(status.st_mode)) throw Error(ErrorCode::Io, "it is a folder, not a file");
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::Io, "it is not a regular file");
  check_size(static_cast<std::uint64_t>(status.st_size), what);
  google::protobuf::io::FileInputStream stream(descriptor.get(), kReadBlock);
  try {
    parse_stream(stream, static_cast<int>(status.st_size), what, parse);
  } catch (const Error&) {
    if (stream.GetErrno() != 0) refused("read", stream.GetErrno());
    throw;
  }
}

void parse_bytes(std::span<const std::byte> bytes, std::string_view what, const Parse& parse) {
  check_size(bytes.size(), what);
  const int size = static_cast<int>(bytes.size());
  google::protobuf::io::ArrayInputStream stream(bytes.data(), size);
  parse_stream(stream, size, what, parse);
}

std::string serialize(const google::protobuf::MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  if (size > static_cast<std::size_t>(INT_MAX)) refuse_size();
  std::string bytes(size, '\0');
  google::protobuf::io::ArrayOutputStream stream(bytes.data(), static_cast<int>(size));
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeWithCachedSizes(&coded);
  return bytes;
}

void append_prefix(int field, std::size_t bytes, std::string& to) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::StringOutputStream stream(&to);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.WriteTag(WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  coded.WriteVarint64(bytes);
}

void refuse_size() {
  throw Error(ErrorCode::ResourceLimit, "more than 2 GB, protobuf's limit for one message",
              {.cure = "keep the weights as external data"});
}

}  // namespace ember::onnx
