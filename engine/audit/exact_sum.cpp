#include "audit/exact_sum.hpp"

#include <bit>
#include <cmath>
#include <limits>

namespace ember::auditing {

namespace {

constexpr int kLastBit = -149;  ///< exponent of the last bit
constexpr int kMantissaBits = 52;
constexpr int kExponentBias = 1075;  ///< of the mantissa as an integer
constexpr int kTooLarge = 180 - kLastBit - kMantissaBits;

}  // namespace

void ExactSum::add(double term) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(term);
  const bool negative = bits >> 63U != 0;
  const auto exponent = static_cast<int>(bits >> kMantissaBits & 0x7ffU);
  constexpr std::uint64_t kHidden = std::uint64_t{1} << kMantissaBits;
  std::uint64_t mantissa = (bits & (kHidden - 1)) | kHidden;
  if (std::isnan(term)) {
    infinities_ = 3;
    return;
  }
  int shift = exponent - kExponentBias - kLastBit;
  if (shift >= kTooLarge) {
    infinities_ |= negative ? 2U : 1U;
    return;
  }
  if (shift < 0) {
    if (shift < -kMantissaBits) return;
    mantissa >>= static_cast<unsigned>(-shift);
    shift = 0;
  }
  const auto offset = static_cast<unsigned>(shift) % 64U;
  std::array<std::uint64_t, 2> parts = {mantissa << offset, offset == 0 ? 0 : mantissa >> (64U - offset)};
  std::uint64_t carry = 0;
  const auto first = static_cast<std::size_t>(shift) / 64U;
  for (std::size_t i = first; i < kLimbs && (i < first + 2 || carry != 0); ++i) {
    const std::uint64_t part = i < first + 2 ? parts[i - first] : 0;
    const std::uint64_t before = limbs_[i];
    if (negative) {
      limbs_[i] = before - part - carry;
      carry = before < part || before - part < carry ? 1 : 0;
    } else {
      limbs_[i] = before + part + carry;
      carry = limbs_[i] < before || (carry != 0 && limbs_[i] == before) ? 1 : 0;
    }
  }
}

void ExactSum::add(const ExactSum& other) noexcept {
  infinities_ |= other.infinities_;
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < kLimbs; ++i) {
    const std::uint64_t before = limbs_[i];
    limbs_[i] = before + other.limbs_[i] + carry;
    carry = limbs_[i] < before || (carry != 0 && limbs_[i] == before) ? 1 : 0;
  }
}

double ExactSum::value() const noexcept {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (infinities_ == 3) return std::numeric_limits<double>::quiet_NaN();
  if (infinities_ != 0) return infinities_ == 1 ? kInfinity : -kInfinity;
  std::array<std::uint64_t, kLimbs> magnitude = limbs_;
  const bool negative = limbs_.back() >> 63U != 0;
  if (negative) {
    std::uint64_t carry = 1;
    for (std::uint64_t& limb : magnitude) {
      limb = ~limb + carry;
      carry = carry != 0 && limb == 0 ? 1 : 0;
    }
  }
  std::size_t top = kLimbs;
  while (top > 0 && magnitude[top - 1] == 0) --top;
  if (top == 0) return 0.0;
  --top;
  // The 64 leading bits; any bit below them is remembered in the last, which rounding then sees.
  const auto zeros = static_cast<unsigned>(std::countl_zero(magnitude[top]));
  std::uint64_t leading = magnitude[top] << zeros;
  bool rest = false;
  if (top > 0) {
    if (zeros > 0) leading |= magnitude[top - 1] >> (64U - zeros);
    rest = magnitude[top - 1] << zeros != 0;
    for (std::size_t i = 0; i + 1 < top; ++i) rest = rest || magnitude[i] != 0;
  }
  leading |= rest ? 1U : 0U;
  const double result = std::ldexp(static_cast<double>(leading),
                                   static_cast<int>(top * 64) - static_cast<int>(zeros) + kLastBit);
  return negative ? -result : result;
}

}  // namespace ember::auditing
