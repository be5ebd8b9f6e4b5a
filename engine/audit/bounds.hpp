#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "audit/formulas.hpp"
#include "core/parallel.hpp"

namespace ember::auditing {

/// Where the elements of one variable lie, whatever input of the domain a run is given: bounds of what the
/// engine computes in float32.
struct Bounds {
  std::vector<double> lower, upper;
  /// What the engine may err by in making an element, by element: empty where it only copies.
  std::vector<double> error;
  /// An element may be NaN (only where some input may be infinite).
  bool may_be_nan = false;

  [[nodiscard]] std::size_t size() const noexcept { return lower.size(); }
  [[nodiscard]] Interval at(std::size_t i) const { return {lower[i], upper[i]}; }
  /// max(|lower|, |upper|)
  [[nodiscard]] double magnitude(std::size_t i) const;
  void set(std::size_t i, Interval x) {
    lower[i] = x.lower;
    upper[i] = x.upper;
  }
};

/// Bounds of every variable of a network, by variable; empty where nothing is known of the shape.
using AllBounds = std::vector<Bounds>;

/// Bounds of what the network's inputs may be.
using InputBounds = std::vector<Bounds>;  ///< in the order of Formulas::inputs()

/// Interval propagation: bounds of a formula's output from those of its inputs. Elements of `bounds[output]`
/// that are already there are only made narrower.
void propagate(const Formulas& formulas, const Formula& formula, AllBounds& bounds, Parallel& parallel);

/// All of them, in order. `stop` is asked now and then; what was not reached stays empty.
AllBounds propagate(const Formulas& formulas, const InputBounds& inputs, Parallel& parallel,
                    const std::function<bool()>& stop = {});

/// Some elements of each variable; an empty list is none of them.
using ElementLists = std::vector<std::vector<bool>>;

/// A sum of more than a few terms.
bool is_long_sum(const Formula& formula);

/// Bounds that hold for any input, NaN aside: signs and ranges only. Long sums are looked at only where they
/// are `wanted`, everything else where it is `read` on the way there; all other elements are taken to be
/// anything.
AllBounds propagate_signs(const Formulas& formulas, const ElementLists& wanted, const ElementLists& read,
                          Parallel& parallel);

}  // namespace ember::auditing
