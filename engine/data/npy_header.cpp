#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "data/array_format.hpp"

namespace ember::data {

namespace {

[[noreturn]] void fail(const std::string& reason, std::string cure = {}) {
  throw Error(ErrorCode::InvalidData, reason, {.cure = std::move(cure)});
}

/// Reads the Python dictionary that is an .npy header.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  ArrayFormat parse() {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") descr();
      else if (key == "fortran_order") format_.fortran_order = boolean();
      else if (key == "shape") shape();
      else malformed();
      if (!accept(',') && peek() != '}') malformed();
      ++keys_;
    }
    if (keys_ != 3 || format_.type == DataType::Undefined || !shape_seen_ || peek() != '\0') malformed();
    return format_;
  }

 private:
  [[noreturn]] static void malformed() { fail("has a damaged .npy header"); }

  /// The next character that is no blank, '\0' at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char wanted) {
    if (wanted == '\0' || peek() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) malformed();
  }
  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') malformed();
    const std::size_t end = text_.find(quote, ++at_);
    if (end == std::string_view::npos) malformed();
    const std::string_view content = text_.substr(at_, end - at_);
    at_ = end + 1;
    return content;
  }
  bool boolean() {
    peek();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    }
    malformed();
  }

  void shape() {
    expect('(');
    std::vector<std::int64_t> dims;
    while (!accept(')')) {
      peek();
      std::int64_t extent = 0;
      const char* first = text_.data() + at_;
      const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), extent);
      if (error == std::errc::result_out_of_range) fail("declares an extent beyond 64 bits");
      if (error != std::errc{} || extent < 0) malformed();
      at_ += static_cast<std::size_t>(end - first);
      accept('L');  // Python 2 wrote long integers so
      dims.push_back(extent);
      if (!accept(',') && peek() != ')') malformed();
    }
    try {
      format_.shape = Shape(dims);
    } catch (const Error& error) {
      fail("has a shape that cannot be: " + error.reason());
    }
    shape_seen_ = true;
  }

  void descr() {
    constexpr const char* kAccepted =
        "convert it to bool, (u)int8 to (u)int64 or float16 to float64 with .astype() before saving";
    if (peek() == '[') fail("holds a structured (record) dtype, which is no tensor", kAccepted);
    const std::string_view text = quoted();
    const std::string name(text);
    if (text.find('O') != std::string_view::npos) {
      fail("holds Python objects (dtype object), which are not read since they can run code", kAccepted);
    }
    const char order = text.empty() ? '\0' : text.front();
    const bool ordered = order == '<' || order == '>' || order == '|' || order == '=';
    format_.big_endian = order == '>';
    format_.type = type_of(ordered ? text.substr(1) : text);
    if (format_.type == DataType::Undefined)
      fail(fmt::format("has the dtype '{}', which is no number", name), kAccepted);
  }

  static DataType type_of(std::string_view code) {
    struct Entry {
      std::string_view code;
      DataType type;
    };
    constexpr std::array<Entry, 12> kTypes{{{"f2", DataType::Float16},
                                            {"f4", DataType::Float32},
                                            {"f8", DataType::Float64},
                                            {"i1", DataType::Int8},
                                            {"i2", DataType::Int16},
                                            {"i4", DataType::Int32},
                                            {"i8", DataType::Int64},
                                            {"u1", DataType::UInt8},
                                            {"u2", DataType::UInt16},
                                            {"u4", DataType::UInt32},
                                            {"u8", DataType::UInt64},
                                            {"b1", DataType::Bool}}};
    const auto* found =
        std::find_if(kTypes.begin(), kTypes.end(), [&](const Entry& e) { return e.code == code; });
    return found == kTypes.end() ? DataType::Undefined : found->type;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  ArrayFormat format_;
  bool shape_seen_ = false;
  int keys_ = 0;
};

ArrayFormat parse(ByteReader& bytes) {
  constexpr std::string_view kMagic("\x93NUMPY");
  constexpr std::uint64_t kLongestHeader = 1 << 20;
  std::array<std::byte, 12> preamble{};
  bytes.read(0, std::span(preamble).first(std::min<std::uint64_t>(bytes.size(), 10)));
  if (bytes.size() < 10 ||
      !std::equal(kMagic.begin(), kMagic.end(), preamble.begin(), [](char c, std::byte b) {
        return static_cast<unsigned char>(c) == std::to_integer<unsigned char>(b);
      })) {
    fail("is not an .npy array: it does not start with \\x93NUMPY");
  }
  const auto byte = [&](std::size_t i) { return std::to_integer<std::uint64_t>(preamble[i]); };
  const std::uint64_t version = byte(6);
  if (version < 1 || version > 3) fail(fmt::format("has .npy version {}, 1 to 3 are read", version));
  std::uint64_t start = 10;
  std::uint64_t length = byte(8) | byte(9) << 8;
  if (version > 1) {
    start = 12;
    if (bytes.size() < start) fail("ends within its .npy header");
    bytes.read(10, std::span(preamble).subspan(10));
    length |= byte(10) << 16 | byte(11) << 24;
  }
  if (length > kLongestHeader || length > bytes.size() - start) fail("ends within its .npy header");
  std::vector<std::byte> header(length);
  bytes.read(start, header);
  ArrayFormat format = HeaderParser({reinterpret_cast<const char*>(header.data()), header.size()}).parse();
  format.offset = start + length;
  require_exact_size(format, bytes.size());
  return format;
}

}  // namespace

ArrayFormat parse_npy_header(ByteReader& bytes, const std::string& where) {
  try {
    return parse(bytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::InvalidData) throw;
    throw Error(ErrorCode::InvalidData, fmt::format("{} {}", where, error.reason()), error.context());
  }
}

}  // namespace ember::data
