#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ember/samples.hpp>

namespace ember::data {

/// Applies the arithmetic of `preprocessing`, ((x · scale − mean) ÷ std + offset) · scale_after, to `n`
/// samples of a model input of shape `input_shape` (its batch extent ignored), in place.
/// Throws Error (InvalidArgument) when mean or std do not match the channels.
void scale_samples(const Preprocessing& preprocessing, const Shape& input_shape, std::int64_t n,
                   float* samples);

/// The same of samples whose values are bytes: as there are so few of those, each is computed once.
class ByteScale {
 public:
  /// Throws as scale_samples() does.
  ByteScale(const Preprocessing& preprocessing, const Shape& input_shape, bool is_signed);

  /// One sample, of as many values as the input shape says.
  void operator()(const std::byte* sample, float* to) const;

 private:
  static constexpr std::size_t kBytes = 256;

  std::int64_t outer_, inner_;  ///< see scale_samples(): channels lie outer times in runs of inner
  std::vector<std::array<float, kBytes>> table_;  ///< by channel
};

/// Everything in `preprocessing` as one text, for Samples::settings().
std::string describe(const Preprocessing& preprocessing);

}  // namespace ember::data
