#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ember/samples.hpp>
#include <ember/session.hpp>

namespace ember::surgery {

/// Passes samples on and remembers how far they reach, element by element.
class RangeOf final : public Samples {
 public:
  explicit RangeOf(Samples& samples) : samples_(samples) {}

  [[nodiscard]] std::int64_t count() const override { return samples_.count(); }
  [[nodiscard]] std::string description() const override { return samples_.description(); }
  [[nodiscard]] std::string content_hash() const override { return samples_.content_hash(); }
  [[nodiscard]] std::string settings() const override { return samples_.settings(); }
  [[nodiscard]] std::optional<std::vector<std::int64_t>> labels() const override { return samples_.labels(); }
  void read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) override;

  /// Of the finite values read so far; empty before that.
  [[nodiscard]] const std::vector<float>& lower() const noexcept { return lower_; }
  [[nodiscard]] const std::vector<float>& upper() const noexcept { return upper_; }

 private:
  Samples& samples_;
  std::vector<float> lower_, upper_;
};

/// Uniform noise. A sample's values depend on its number and the seed only.
class RandomSamples final : public Samples {
 public:
  /// `lower` and `upper` have one end per element of a sample, or one for all. Throws Error
  /// (InvalidArgument) unless they match and lower <= upper.
  RandomSamples(std::int64_t count, std::uint64_t seed, std::vector<float> lower, std::vector<float> upper,
                std::string description);

  [[nodiscard]] std::int64_t count() const override { return count_; }
  [[nodiscard]] std::string description() const override { return description_; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
  void read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) override;

 private:
  std::int64_t count_;
  std::uint64_t seed_;
  std::vector<float> lower_, upper_;
  std::string description_;
};

/// Fills every input of a session: floats uniform in [−1, 1), anything else 0 (a valid index, length and
/// flag).
void fill_random(Session& session, std::uint64_t seed);

}  // namespace ember::surgery
