#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ember/tensor.hpp>

namespace ember {

namespace graph {
class Graph;
}
namespace runtime {
class CompileCache;
}

/// One extent of a model input or output: a size, or -1 when it is decided per session.
struct Dimension {
  std::int64_t size = -1;
  std::string symbol;  ///< the model's name for an open extent, may be empty
};

/// A model input or output as the model declares it.
struct ValueInfo {
  std::string name;
  DataType type = DataType::Undefined;
  std::vector<Dimension> dims;
  /// Of an output: the scale of the DequantizeLinear that makes it. 0 when none does, or not one per tensor.
  double quantization_step = 0;
};

/// What `ember info` prints.
struct ModelInfo {
  std::string name;      ///< file name or "<memory>"
  std::string producer;  ///< producer name and version as the file states them
  std::int64_t ir_version = 0;
  std::map<std::string, int> opsets;  ///< domain ("ai.onnx" spelt out) → version
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::int64_t parameters = 0;  ///< elements of floating-point and quantised weights
  std::int64_t parameter_bytes = 0;
  std::int64_t nodes = 0;                         ///< subgraphs included
  std::map<std::string, std::int64_t> operators;  ///< operator → how many nodes
};

/// A network with ONNX meaning. Cheap to copy (copies share the network); const use is thread-safe.
class Model {
 public:
  /// Reads an ONNX file; external data is read from the same folder. Throws Error.
  static Model load(const std::filesystem::path& file);
  /// Reads ONNX from memory (external data is refused). `name` is for messages. Throws Error.
  static Model parse(std::span<const std::byte> bytes, const std::string& name = "<memory>");
  /// Wraps a graph; for the engine's own use.
  explicit Model(std::shared_ptr<const graph::Graph> graph);

  /// Writes ONNX. The file appears whole or not at all. Throws Error (Io).
  void save(const std::filesystem::path& file) const;
  [[nodiscard]] std::vector<std::byte> serialize() const;

  [[nodiscard]] ModelInfo info() const;
  [[nodiscard]] std::vector<ValueInfo> inputs() const;
  [[nodiscard]] std::vector<ValueInfo> outputs() const;
  /// The file name (or "<memory>").
  [[nodiscard]] const std::string& name() const;

  /// What a model file holds, also when ember cannot run it. Throws Error for a malformed file.
  static ModelInfo inspect(const std::filesystem::path& file);
  /// One line per thing in a model file that ember cannot run; empty when it runs. Unlike load() it
  /// does not throw for these. Throws Error for a malformed file.
  static std::vector<std::string> unsupported(const std::filesystem::path& file);

  /// For the engine's own use.
  [[nodiscard]] const graph::Graph& graph() const noexcept { return *graph_; }
  [[nodiscard]] const std::shared_ptr<const graph::Graph>& shared_graph() const noexcept { return graph_; }
  /// For the engine's own use: what sessions of this model share.
  [[nodiscard]] const std::shared_ptr<runtime::CompileCache>& compile_cache() const noexcept {
    return cache_;
  }

 private:
  std::shared_ptr<const graph::Graph> graph_;
  std::shared_ptr<runtime::CompileCache> cache_;
};

/// One operator ember runs, for `ember ops`.
struct OperatorInfo {
  std::string domain;  ///< "ai.onnx" spelt out
  std::string name;
  int first_opset = 0;               ///< oldest model opset accepted
  int last_opset = 0;                ///< 0: still current, else the last opset that has it
  std::vector<int> versions;         ///< opsets at which its definition changed
  std::vector<std::string> kernels;  ///< fast implementations, best first; the reference is always there
};
std::vector<OperatorInfo> supported_operators();
/// The newest ai.onnx opset ember knows.
int newest_opset();

}  // namespace ember
