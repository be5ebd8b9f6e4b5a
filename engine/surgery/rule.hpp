#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"
#include "ops/op.hpp"
#include "surgery/facts.hpp"
#include "surgery/slots.hpp"

namespace ember::surgery {

class Surgeon;

/// A sum of products over slots: output o gets Σ_i weight(o, i) · input i. What a convolution or a matrix
/// product does with its input channels, and the one way in which a channel is used up rather than passed on.
struct LinearRead {
  graph::NodeId node = graph::kNoNode;
  Slot inputs = kNoSlot;  ///< input i is slot inputs + i
  std::int64_t count = 0;
  Slot other = kNoSlot;  ///< of the other factor when that is computed as well, else kNoSlot
  Slot outputs = kNoSlot;
  std::int64_t output_count = 0;
  const Tensor* weights = nullptr;  ///< nullptr: not known, every input counts for every output
  std::int64_t groups = 1;
  std::int64_t in_stride = 0, out_stride = 0;  ///< of the weights, in elements
  std::int64_t taps = 1, tap_stride = 1;
  bool in_local = false;             ///< the weights' input index counts within the group
  bool out_local = false;            ///< and so for the output index
  double zero = 0.0;                 ///< the input that adds nothing: a quantised one's zero point
  std::vector<double> weight_zeros;  ///< taken off the weights, by output; empty: nothing is
  /// Why a constant input other than 0 cannot be moved into the bias; empty when it can.
  std::string no_fold;
  /// The initialiser that holds the weights, when it is the node's own: inputs that are constant and that no
  /// bias can replace may then be merged into one of them. kNoValue: they may not.
  graph::ValueId own_weights = graph::kNoValue;
  /// Adds to every output o what the constants among the removed inputs have given it.
  void (*fold)(Surgeon& surgeon, const LinearRead& read, std::span<const double> added) = nullptr;

  /// The outputs that input i can reach: [first, first + outputs_per_group()).
  [[nodiscard]] std::int64_t first_output(std::int64_t i) const;
  [[nodiscard]] std::int64_t outputs_per_group() const { return output_count / groups; }
  [[nodiscard]] std::int64_t inputs_per_group() const { return count / groups; }
  /// Some weight between the two is not 0 (true when the weights are not known).
  [[nodiscard]] bool connects(std::int64_t i, std::int64_t o) const;
  /// Sum of the weights between the two.
  [[nodiscard]] double weight(std::int64_t i, std::int64_t o) const;
  /// Where the first tap of the weights between the two is.
  [[nodiscard]] std::int64_t offset(std::int64_t i, std::int64_t o) const;

 private:
  [[nodiscard]] double weight_zero(std::int64_t o) const;
};

/// A convolution whose groups all have to keep as many inputs, and as many outputs, as each other.
struct GroupedRead {
  graph::NodeId node = graph::kNoNode;
  Slot inputs = kNoSlot, outputs = kNoSlot;
  std::int64_t groups = 1, inputs_per_group = 1, outputs_per_group = 1;
};

/// What the channels of a graph have to do with each other.
struct Structure {
  explicit Structure(const Facts& facts) : slots(facts) {}
  Slots slots;
  std::vector<LinearRead> reads;
  std::vector<GroupedRead> grouped;
};

class Constants;

/// A rule's view of its node while the structure is being found. Constants are known by then.
class Linker {
 public:
  Linker(const Facts& facts, Structure& structure, const Constants& constants, graph::NodeId id)
      : facts_(facts), structure_(structure), constants_(constants), context_(facts.graph(), id) {}

  [[nodiscard]] const ops::NodeContext& context() const noexcept { return context_; }
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] Structure& structure() noexcept { return structure_; }
  [[nodiscard]] const Constants& constants() const noexcept { return constants_; }
  [[nodiscard]] graph::ValueId input(int i) const;  ///< kNoValue when left out, and for -1
  [[nodiscard]] graph::ValueId output(int i) const;
  [[nodiscard]] const Shape& shape(graph::ValueId value) const { return *facts_.shape(value); }
  [[nodiscard]] Slot slot(graph::ValueId value, int axis, std::int64_t index = 0) const {
    return structure_.slots.at(value, axis, index);
  }

  /// Position i of one axis and of the other go together, for `count` positions from the offsets on.
  void join(graph::ValueId a, int axis_a, graph::ValueId b, int axis_b);
  void join(graph::ValueId a, int axis_a, std::int64_t offset_a, graph::ValueId b, int axis_b,
            std::int64_t offset_b, std::int64_t count);
  void freeze_axis(graph::ValueId value, int axis, const std::string& why);
  void freeze_value(graph::ValueId value, const std::string& why);
  /// Every input and output stays as it is.
  void freeze_all(const std::string& why);
  /// An initialiser that this node alone reads.
  [[nodiscard]] bool owns(graph::ValueId value) const;
  /// An initialiser of floating-point numbers that this node alone reads, else kNoValue.
  [[nodiscard]] graph::ValueId own_weights(graph::ValueId value) const;
  [[nodiscard]] Refusal refusal(const std::string& why) const;

 private:
  const Facts& facts_;
  Structure& structure_;
  const Constants& constants_;
  ops::NodeContext context_;
};

/// Constants per slot: the value that every element of a tensor at that position has in every run (or, for
/// what the audit saw, in every run on such data).
class Constants {
 public:
  Constants(const Facts& facts, const Slots& slots);

  /// Known values answer by their elements, others by what flowed to them.
  [[nodiscard]] std::optional<double> of(graph::ValueId value, int axis, std::int64_t index) const;
  [[nodiscard]] std::optional<double> of(Slot slot) const;
  void set(graph::ValueId value, int axis, std::int64_t index, double constant);
  /// Notes where a constant ends: `node` makes something else of it.
  void lose(graph::ValueId value, int axis, std::int64_t index, const Refusal& reason);
  [[nodiscard]] const Refusal* lost(Slot slot) const;

 private:
  const std::vector<std::vector<double>>& table(graph::ValueId value) const;

  const Facts& facts_;
  const Slots& slots_;
  std::vector<double> values_;  ///< by slot; NaN: not constant
  mutable std::map<graph::ValueId, std::vector<std::vector<double>>> tables_;
  std::map<Slot, Refusal> lost_;
};

/// A rule's view of its node while constants flow forward.
class Flow {
 public:
  Flow(const Facts& facts, Constants& constants, graph::NodeId id)
      : facts_(facts), constants_(constants), context_(facts.graph(), id) {}

  [[nodiscard]] const ops::NodeContext& context() const noexcept { return context_; }
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] graph::ValueId input(int i) const;  ///< kNoValue when left out, and for -1
  [[nodiscard]] graph::ValueId output(int i) const;
  [[nodiscard]] const Shape& shape(graph::ValueId value) const { return *facts_.shape(value); }
  [[nodiscard]] std::optional<double> of(graph::ValueId value, int axis, std::int64_t index) const {
    return constants_.of(value, axis, index);
  }
  void set(graph::ValueId value, int axis, std::int64_t index, double constant) {
    constants_.set(value, axis, index, constant);
  }
  void lose(graph::ValueId value, int axis, std::int64_t index, const std::string& why);
  /// Output 0 has the constants of input 0 along an axis.
  void copy_axis(graph::ValueId from, int axis_from, graph::ValueId to, int axis_to);

 private:
  const Facts& facts_;
  Constants& constants_;
  ops::NodeContext context_;
};

/// What surgery knows of an operator. Without a rule, channels that meet the operator stay.
struct Rule {
  std::string_view op;
  /// Joins, freezes and reads. Shapes of all inputs and outputs that are present are known.
  void (*link)(Linker& linker) = nullptr;
  /// Which outputs are constant, given which inputs are; null: none.
  void (*flow)(Flow& flow) = nullptr;
  /// What has to change in the node beside its constants, which are cut by their slots; null: nothing.
  void (*edit)(Surgeon& surgeon, graph::NodeId id) = nullptr;
};

/// The rule of an ai.onnx operator, nullptr when there is none.
const Rule* find_rule(const graph::Node& node);

// The rules by family, each in the file of its name.
std::span<const Rule> concat_rules();
std::span<const Rule> convolution_rules();
std::span<const Rule> elementwise_rules();
std::span<const Rule> normalization_rules();
std::span<const Rule> product_rules();
std::span<const Rule> recurrent_rules();
std::span<const Rule> reduction_rules();
std::span<const Rule> reshape_rules();
std::span<const Rule> selection_rules();
std::span<const Rule> window_rules();

}  // namespace ember::surgery
