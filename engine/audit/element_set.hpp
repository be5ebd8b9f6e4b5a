#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ember::auditing {

/// Some elements of a variable. What is noted of each can be kept in an array of count(), at position().
class ElementSet {
 public:
  /// `size`: of the variable, the same in every call.
  void insert(std::size_t element, std::size_t size) {
    words_.resize(words_for(size));
    size_ = size;
    words_[element / kBits] |= std::uint64_t{1} << element % kBits;
  }
  void insert_all(std::size_t size) {
    words_.assign(words_for(size), ~std::uint64_t{0});
    size_ = size;
    if (size % kBits != 0) words_.back() = (std::uint64_t{1} << size % kBits) - 1;
  }
  /// To be called after the last insertion; count() and position() say nothing before.
  void number() {
    before_.resize(words_.size());
    count_ = 0;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      before_[i] = count_;
      count_ += static_cast<std::size_t>(std::popcount(words_[i]));
    }
  }

  [[nodiscard]] bool empty() const noexcept { return words_.empty(); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Every element is in it.
  [[nodiscard]] bool complete() const noexcept { return count_ == size_; }
  /// Where a member comes in the order of all members.
  [[nodiscard]] std::size_t position(std::size_t element) const {
    const std::uint64_t below = (std::uint64_t{1} << element % kBits) - 1;
    return before_[element / kBits] +
           static_cast<std::size_t>(std::popcount(words_[element / kBits] & below));
  }
  /// In ascending order.
  template <class F>
  void for_each(F&& f) const {
    for_each(0, words_.size() * kBits, f);
  }
  /// Those of [begin, end), both multiples of kBits.
  template <class F>
  void for_each(std::size_t begin, std::size_t end, F&& f) const {
    for (std::size_t at = begin / kBits; at < end / kBits && at < words_.size(); ++at) {
      for (std::uint64_t left = words_[at]; left != 0; left &= left - 1)
        f(at * kBits + static_cast<std::size_t>(std::countr_zero(left)));
    }
  }

  static constexpr std::size_t kBits = 64;

 private:
  static std::size_t words_for(std::size_t size) { return (size + kBits - 1) / kBits; }

  std::vector<std::uint64_t> words_;
  std::vector<std::size_t> before_;  ///< members in the words before each
  std::size_t size_ = 0;
  std::size_t count_ = 0;
};

}  // namespace ember::auditing
