#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "audit/formulas.hpp"

namespace ember::auditing {

/// The cross-entropy of a network's scores, seen where it is differentiated best: at the logits where the
/// network ends in Softmax or Sigmoid, which keeps gradients of well-known samples from being rounded to 0.
class Loss {
 public:
  enum class Kind : std::uint8_t {
    Softmax,           ///< of softmax(scores)
    LogProbabilities,  ///< the scores are logarithms of probabilities
    Probabilities,     ///< the scores are probabilities
    Sigmoid,           ///< binary cross-entropy of sigmoid(score), for each class and summed
  };

  /// The first floating-point output of the network with one score per class: all axes of a sample but one
  /// have one element. `formulas` are for `batch` samples. Throws Error (Unsupported) when there is none.
  Loss(const Model& model, const Formulas& formulas, std::int64_t batch);

  [[nodiscard]] const std::string& output() const noexcept { return output_; }
  /// The value whose elements are the scores below; a value of the network at or before output().
  [[nodiscard]] const std::string& value() const noexcept { return value_; }
  [[nodiscard]] std::int64_t classes() const noexcept { return classes_; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  /// "cross-entropy of softmax", …
  [[nodiscard]] std::string description() const;
  /// Takes scores that look like probabilities for what they are: called once, with scores of the data.
  void look_at(std::span<const float> scores);

  /// The loss of one sample, and its derivative by each score (added to nothing: overwritten).
  double of(std::span<const float> scores, std::int64_t label, std::span<double> derivative) const;
  /// Whether the highest score is at the label.
  [[nodiscard]] bool correct(std::span<const float> scores, std::int64_t label) const;
  /// How many different labels there can be.
  [[nodiscard]] std::int64_t labels() const noexcept { return classes_ == 1 ? 2 : classes_; }

 private:
  std::string output_, value_;
  std::int64_t classes_ = 0;
  Kind kind_ = Kind::Softmax;
};

}  // namespace ember::auditing
