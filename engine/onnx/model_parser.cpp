#include "onnx/model_parser.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include "core/aligned_memory.hpp"
#include "onnx/message_io.hpp"

namespace ember::onnx {

namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using ::onnx::GraphProto;
using ::onnx::ModelProto;
using ::onnx::TensorProto;

constexpr const char* kWhat = "an ONNX model";
/// Fewer elements are left to protobuf.
constexpr int kLarge = 4096;

constexpr std::uint32_t tag_of(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

/// Walks the messages that lead to weights; everything else is copied to a message without them. Functions
/// return false for what is no such message, as protobuf's do.
class ModelParser {
 public:
  explicit ModelParser(ParsedModel& model) : model_(model) {}

  bool parse(CodedInputStream& in) {
    std::string rest, graph;
    bool has_graph = false;
    // A message given in several parts is their sum.
    const bool parsed = each_field(in, rest, [&](std::uint32_t tag, bool& known, CodedOutputStream& /*out*/) {
      known = tag == tag_of(ModelProto::kGraphFieldNumber);
      has_graph |= known;
      return !known || within(in, [&] { return parse_graph(in, graph); });
    });
    if (!parsed || !merge(rest, model_.proto)) return false;
    return !has_graph || merge(graph, *model_.proto.mutable_graph());
  }

 private:
  bool parse_graph(CodedInputStream& in, std::string& rest) {
    return each_field(in, rest, [&](std::uint32_t tag, bool& known, CodedOutputStream& /*out*/) {
      known = tag == tag_of(GraphProto::kInitializerFieldNumber);
      return !known || within(in, [&] { return parse_initializer(in); });
    });
  }

  bool parse_initializer(CodedInputStream& in) {
    std::string rest, few;
    RawElements elements;
    const bool parsed = each_field(in, rest, [&](std::uint32_t tag, bool& known, CodedOutputStream& out) {
      known = tag == tag_of(TensorProto::kRawDataFieldNumber);
      if (!known) return true;
      int bytes = 0;
      if (!read_length(in, bytes)) return false;
      elements = {};  // of a field that is given twice the last counts
      if (bytes >= kLarge) {
        const auto size = static_cast<std::size_t>(bytes);
        elements = {.memory = allocate_aligned(size), .bytes = size};
        return in.ReadRaw(elements.memory.get(), bytes);
      }
      if (!in.ReadString(&few, bytes)) return false;
      out.WriteTag(tag);
      out.WriteVarint32(static_cast<std::uint32_t>(bytes));
      out.WriteString(few);
      return true;
    });
    model_.elements.push_back(std::move(elements));
    return parsed && merge(rest, *model_.proto.mutable_graph()->add_initializer());
  }

  /// Calls take(tag, known, out) with each field of a message; those that it does not know are appended to
  /// `rest`, as is what it writes to `out`.
  template <class Take>
  static bool each_field(CodedInputStream& in, std::string& rest, const Take& take) {
    google::protobuf::io::StringOutputStream stream(&rest);
    CodedOutputStream out(&stream);
    while (const std::uint32_t tag = in.ReadTag()) {
      bool known = false;
      if (!take(tag, known, out)) return false;
      if (!known && !WireFormatLite::SkipField(&in, tag, &out)) return false;
    }
    return in.ConsumedEntireMessage();
  }

  /// The length of a field, which is not longer than what is left.
  static bool read_length(CodedInputStream& in, int& bytes) {
    return in.ReadVarintSizeAsInt(&bytes) && bytes <= in.BytesUntilLimit();
  }

  template <class Parse>
  static bool within(CodedInputStream& in, const Parse& parse) {
    int bytes = 0;
    if (!read_length(in, bytes)) return false;
    const auto limit = in.PushLimit(bytes);
    const bool parsed = parse() && in.BytesUntilLimit() == 0;
    in.PopLimit(limit);
    return parsed;
  }

  static bool merge(const std::string& bytes, google::protobuf::MessageLite& message) {
    google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
    CodedInputStream in(&stream);
    return message.MergeFromCodedStream(&in) && in.ConsumedEntireMessage();
  }

  ParsedModel& model_;
};

}  // namespace

ParsedModel parse_model_file(const std::filesystem::path& file) {
  ParsedModel model;
  parse_file(file, kWhat, [&](CodedInputStream& in) { return ModelParser(model).parse(in); });
  return model;
}

ParsedModel parse_model_bytes(std::span<const std::byte> bytes) {
  ParsedModel model;
  parse_bytes(bytes, kWhat, [&](CodedInputStream& in) { return ModelParser(model).parse(in); });
  return model;
}

}  // namespace ember::onnx
