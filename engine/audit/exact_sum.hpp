#pragma once

#include <array>
#include <cstdint>

namespace ember::auditing {

/// A sum of doubles without rounding, so that it is the same in any order and any grouping: a fixed-point
/// number of 384 bits whose last is worth 2^-149, the smallest float. What a term has below that is cut off;
/// a term of 2^180 or more counts as infinite.
class ExactSum {
 public:
  void add(double term) noexcept;
  void add(const ExactSum& other) noexcept;
  /// The sum, rounded once: infinite or NaN as IEEE 754 would have it if a term was.
  [[nodiscard]] double value() const noexcept;

  /// For the statistics file.
  template <class Archive>
  void archive(Archive& archive) {
    for (std::uint64_t& limb : limbs_) archive(limb);
    archive(infinities_);
  }

 private:
  static constexpr std::size_t kLimbs = 6;

  std::array<std::uint64_t, kLimbs> limbs_{};  ///< two's complement, lowest first
  std::uint8_t infinities_ = 0;                ///< 1: +infinity among the terms, 2: −infinity; 3 for NaN
};

}  // namespace ember::auditing
