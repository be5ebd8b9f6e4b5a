#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "audit/element_set.hpp"
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
  /// The elements that the lists above hold, in their order; null: all of them.
  const ElementSet* kept = nullptr;
  Interval rest;  ///< where those lie that are not kept

  [[nodiscard]] std::size_t size() const noexcept { return lower.size(); }
  /// Where the lists have element i.
  [[nodiscard]] std::size_t slot(std::size_t i) const { return kept == nullptr ? i : kept->position(i); }
  [[nodiscard]] Interval at(std::size_t i) const { return {lower[slot(i)], upper[slot(i)]}; }
  /// max(|lower|, |upper|)
  [[nodiscard]] double magnitude(std::size_t i) const;
  void set(std::size_t i, Interval x) {
    lower[slot(i)] = x.lower;
    upper[slot(i)] = x.upper;
  }
  /// Makes the bounds of element i those that both it and `x` allow.
  void narrow(std::size_t i, Interval x);
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

/// Some elements of each variable.
using ElementSets = std::vector<ElementSet>;

/// A sum of more than a few terms.
bool is_long_sum(const Formula& formula);

/// Bounds that hold for any input, NaN aside: signs and ranges only. Long sums are looked at only where they
/// are `wanted`, everything else where it is `read` on the way there (which what is wanted must be, too); all
/// other elements are taken to be anything. The result keeps what is read, and refers to `read`.
AllBounds propagate_signs(const Formulas& formulas, const ElementSets& wanted, const ElementSets& read,
                          Parallel& parallel);

}  // namespace ember::auditing
