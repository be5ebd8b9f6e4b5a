#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "audit/claims.hpp"
#include "audit/domain.hpp"

namespace ember::auditing {

/// Decides claims by branch and bound: the domain is cut in two along the input that the linear bound of a
/// claim depends on most, until every part is decided. For few inputs only: the number of parts grows
/// exponentially with them.
class Splitter {
 public:
  /// Beyond so many inputs that are not constant nothing is split.
  static constexpr int kMostInputs = 8;
  [[nodiscard]] static bool applies(const Formulas& formulas, const Domain& domain);

  /// `bounds` hold on the whole domain. All arguments must outlive the splitter.
  Splitter(const Formulas& formulas, const Domain& domain, const AllBounds& bounds,
           std::span<const Claim> claims);

  /// Works on every open claim of that kind, by an amount of work that doubles from call to call. Then calls
  /// `proved` for claims of which no part is left, and `suggest` for the others with an input at which the
  /// worst part may break the claim. False when there is nothing left to work on.
  bool advance(Claim::Kind kind, Parallel& parallel, const std::function<bool()>& stop,
               const std::function<void(std::size_t claim)>& proved,
               const std::function<void(std::size_t claim, std::vector<float> input)>& suggest);

 private:
  struct Part {
    std::vector<float> lower, upper;
    double excess;              ///< by which elements may pass the claim's limits in this part; 0: none may
    std::vector<float> corner;  ///< where that is largest by linear bounds
    int cut = -1;               ///< the input to cut next
  };
  struct State {
    std::vector<Part> heap;     ///< by excess, the largest first
    std::vector<int> formulas;  ///< that the claim's variable follows from, in order
    double work = 1;            ///< of bounding one part, in terms
    double budget = 4e6;        ///< work to do the next time
    bool started = false, given_up = false;
  };
  void begin(std::size_t claim);
  void work_on(std::size_t claim, const std::function<bool()>& stop);
  void bound(std::size_t claim, Part& part) const;
  [[nodiscard]] bool workable(std::size_t claim, Claim::Kind kind) const;

  const Formulas& formulas_;
  const Domain& domain_;
  const AllBounds& bounds_;
  std::span<const Claim> claims_;
  std::vector<State> states_;
};

}  // namespace ember::auditing
