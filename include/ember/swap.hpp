#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ember/audit.hpp>
#include <ember/model.hpp>

namespace ember {

/// Which activations swap_activation() replaces.
struct SwapOptions {
  /// Operators as the audit report names them ("Relu", "Clip", "Silu", …); upper and lower case are alike.
  /// Not asked of activations that `layers` names.
  std::vector<std::string> from = {"Relu"};
  /// Activations by node or by output value, as in LayerReport::node and ::value. Empty: all.
  std::vector<std::string> layers;
};

struct SwappedLayer {
  std::string node;   ///< label of the activation's node, which the new activation's last node takes over
  std::string value;  ///< name of the activation's output value, which stays
  std::string from;   ///< "Relu", …
  std::string to;     ///< "leaky:0.01", …, defaults filled in
};

struct SwapResult {
  Model model;
  std::vector<SwappedLayer> layers;
};

/// Replaces activations: `to` is one of
///
///   relu  relu6  leaky[:slope=0.01]  prelu[:slope=0.25]  elu[:alpha=1]  celu[:alpha=1]  selu  gelu gelu_tanh
///   silu  hardswish  mish  softplus  sigmoid  tanh
///
/// PRelu gets one slope, an initialiser of its own per layer for a trainer to learn. What the model's opset
/// has no operator for is written as several that mean the same. Values keep their names. Throws Error
/// (InvalidArgument) for an unknown target or layer, or when nothing is to be replaced; (Unsupported) when
/// the opset cannot express the target.
SwapResult swap_activation(const Model& model, std::string_view to, const SwapOptions& options = {});

/// Channels of one activation, as the audit numbers them.
struct ChannelChoice {
  std::string node;   ///< LayerReport::node
  std::string value;  ///< LayerReport::value
  std::vector<std::int64_t> channels;
};
/// The channels of a report that have one of these verdicts.
std::vector<ChannelChoice> choose_channels(const AuditReport& report, std::span<const Verdict> verdicts);

/// A channel that was asked for and left as it was.
struct ChannelRefusal {
  std::string node;
  std::string value;
  std::int64_t channel = 0;
  std::string reason;
};

struct RaisedBias {
  std::string node;  ///< label of the activation's node
  std::int64_t channel = 0;
  std::string tensor;  ///< the initialiser that holds the bias
  std::int64_t index = 0;
  double before = 0, after = 0;
};

struct BiasResult {
  Model model;
  std::vector<RaisedBias> raised;
  std::vector<ChannelRefusal> refusals;
};

/// Adds `amount` to what the chosen channels' activations see: to the bias of the Conv, ConvTranspose, Gemm,
/// MatMul + Add or BatchNormalization in front of them. A bias that is missing is added. Throws Error
/// (InvalidArgument) when a layer is unknown.
BiasResult raise_biases(const Model& model, std::span<const ChannelChoice> channels, double amount);

}  // namespace ember
