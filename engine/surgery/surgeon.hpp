#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "surgery/facts.hpp"
#include "surgery/rule.hpp"

namespace ember::surgery {

/// Cuts slots out of a graph. The facts are those of the graph as it was; the graph is a copy of it.
class Surgeon {
 public:
  /// The input of a read that takes the place of its removed constants.
  using StandIns = std::map<const LinearRead*, std::int64_t>;

  /// `removed` by slot. All are borrowed.
  Surgeon(graph::Graph& graph, const Facts& facts, const Structure& structure, const Constants& constants,
          const std::vector<bool>& removed, const StandIns& stand_ins)
      : graph_(graph),
        facts_(facts),
        structure_(structure),
        constants_(constants),
        removed_(removed),
        stand_ins_(stand_ins) {}

  /// Folds what constants gave, cuts every tensor and adjusts the nodes.
  void operate();

  // ---- for the rules
  [[nodiscard]] graph::Graph& graph() noexcept { return graph_; }
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] bool removed(Slot slot) const { return removed_[static_cast<std::size_t>(slot)]; }
  [[nodiscard]] bool removed(graph::ValueId value, int axis, std::int64_t index) const;
  /// The positions of an axis that stay, ascending.
  [[nodiscard]] std::vector<std::int64_t> kept(graph::ValueId value, int axis) const;
  /// How many positions of [begin, end) stay.
  [[nodiscard]] std::int64_t kept_in(graph::ValueId value, int axis, std::int64_t begin,
                                     std::int64_t end) const;
  [[nodiscard]] bool touches(graph::ValueId value, int axis) const;

  /// The node's input becomes a constant of these elements; other readers of the old one keep theirs.
  void set_constant_input(graph::NodeId id, int input, Tensor tensor, const std::string& name);
  /// The same for int64 numbers, keeping the type and rank of the old input.
  void set_integers_input(graph::NodeId id, int input, const std::vector<std::int64_t>& values);
  /// Adds `added` (of full length, by position on `axis` of output 0) to a bias input of shape [n], cut. One
  /// that is missing is made, of `type`, Undefined: that of the output.
  void add_to_bias(graph::NodeId id, int input, std::span<const double> added, int output_axis, double scale,
                   DataType type = DataType::Undefined);
  /// The value was cut by a rule, in its own way.
  void claim(graph::ValueId value) { claimed_.insert(value); }

 private:
  void fold(const LinearRead& read);
  void merge(const LinearRead& read, std::int64_t stand_in);
  void cut_values();
  void cut_dims(graph::ValueId id);

  graph::Graph& graph_;
  const Facts& facts_;
  const Structure& structure_;
  const Constants& constants_;
  const std::vector<bool>& removed_;
  const StandIns& stand_ins_;
  std::set<graph::ValueId> claimed_;
};

/// The elements of a tensor at some positions of an axis.
Tensor take(const Tensor& tensor, int axis, std::span<const std::int64_t> positions);
/// A tensor of `type` and `shape` from numbers.
Tensor tensor_of(DataType type, const Shape& shape, std::span<const double> numbers);

}  // namespace ember::surgery
