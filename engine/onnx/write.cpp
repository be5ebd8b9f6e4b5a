#include "onnx/write.hpp"

#include <climits>
#include <new>
#include <span>
#include <utility>

#include <onnx/onnx_pb.h>

#include <ember/error.hpp>

#include "core/output_file.hpp"
#include "core/sha256.hpp"
#include "onnx/graph_writer.hpp"
#include "onnx/message_io.hpp"

namespace ember::onnx {

namespace {

using ::onnx::GraphProto;
using ::onnx::ModelProto;
using ::onnx::TensorProto;

/// Fields below ModelProto.graph go to `head`, those above it to `tail`.
void write_metadata(const graph::Metadata& metadata, ModelProto& head, ModelProto& tail) {
  head.set_ir_version(metadata.ir_version);
  if (!metadata.producer_name.empty()) head.set_producer_name(metadata.producer_name);
  if (!metadata.producer_version.empty()) head.set_producer_version(metadata.producer_version);
  if (!metadata.domain.empty()) head.set_domain(metadata.domain);
  if (metadata.model_version != 0) head.set_model_version(metadata.model_version);
  if (!metadata.doc.empty()) head.set_doc_string(metadata.doc);
  for (const auto& [domain, version] : metadata.opsets) {
    auto& import = *tail.add_opset_import();
    import.set_domain(domain);
    import.set_version(version);
  }
  for (const auto& [key, value] : metadata.properties) {
    auto& entry = *tail.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
}

/// A model's file in pieces: what protobuf writes in one go if it is given a copy of all weights. A message's
/// fields are written in the order of their numbers, so that the parts of one message can be written one
/// after the other, and elements (the last field of their tensor that is used) straight from where they are.
class Pieces {
 public:
  explicit Pieces(const graph::Graph& graph) {
    ModelProto head, tail;
    GraphProto nodes, values;
    write_metadata(graph.metadata, head, tail);
    write_graph(graph, values, weights_);
    values.mutable_node()->Swap(nodes.mutable_node());
    nodes.set_name(values.name());
    values.clear_name();

    std::size_t size = 0;
    std::string between = serialize(nodes);
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const std::size_t elements = weights_[i]->bytes();
      std::string description = serialize(values.initializer(static_cast<int>(i)));
      append_prefix(TensorProto::kRawDataFieldNumber, elements, description);
      append_prefix(GraphProto::kInitializerFieldNumber, description.size() + elements, between);
      between += description;
      size += between.size() + elements;
      before_.push_back(std::exchange(between, {}));
    }
    values.clear_initializer();
    between += serialize(values);
    size += between.size();
    std::string start = serialize(head);
    append_prefix(ModelProto::kGraphFieldNumber, size, start);
    start_ = std::move(start);
    end_ = between + serialize(tail);
    size_ = start_.size() + size + (end_.size() - between.size());
    if (size_ > static_cast<std::size_t>(INT_MAX)) refuse_size();
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  template <class Sink>
  void write(Sink&& sink) const {
    const auto text = [&](const std::string& piece) { sink(std::as_bytes(std::span(piece))); };
    text(start_);
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      text(before_[i]);
      sink(bytes_of(*weights_[i]));
    }
    text(end_);
  }

 private:
  std::vector<const Tensor*> weights_;
  std::string start_, end_;
  std::vector<std::string> before_;  ///< what comes before each weight's elements
  std::size_t size_ = 0;
};

/// What goes wrong before anything is written is about the model.
template <class Make>
auto about_model(const graph::Graph& graph, Make&& make) {
  try {
    return make();
  } catch (const Error& error) {
    throw error.within({.model = graph.metadata.model_name});
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::ResourceLimit, "not enough memory to write the model",
                {.model = graph.metadata.model_name});
  }
}

Pieces pieces_of(const graph::Graph& graph) {
  return about_model(graph, [&] { return Pieces(graph); });
}

}  // namespace

std::vector<std::byte> write_bytes(const graph::Graph& graph) {
  return about_model(graph, [&] {
    const Pieces pieces(graph);
    std::vector<std::byte> bytes;
    bytes.reserve(pieces.size());
    pieces.write(
        [&](std::span<const std::byte> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
    return bytes;
  });
}

void write_file(const graph::Graph& graph, const std::filesystem::path& file) {
  const Pieces pieces = pieces_of(graph);
  OutputFile output(file);
  pieces.write([&](std::span<const std::byte> piece) { output.write(piece); });
  output.commit();
}

std::string hash_bytes(const graph::Graph& graph) {
  Sha256 hash;
  pieces_of(graph).write([&](std::span<const std::byte> piece) { hash.update(piece); });
  return hash.hex();
}

std::size_t count_bytes(const graph::Graph& graph) { return pieces_of(graph).size(); }

}  // namespace ember::onnx
