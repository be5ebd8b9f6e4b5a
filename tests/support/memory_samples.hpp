#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include <ember/samples.hpp>

namespace ember::test {

/// Samples held in a float32 tensor, axis 0 counting them.
class MemorySamples final : public Samples {
 public:
  explicit MemorySamples(Tensor tensor) : tensor_(std::move(tensor)) {}

  [[nodiscard]] std::int64_t count() const override { return tensor_.shape()[0]; }
  [[nodiscard]] std::string description() const override { return "<memory>"; }
  [[nodiscard]] std::string content_hash() const override { return ""; }
  void read(std::int64_t first, std::int64_t n, const Shape& input_shape, float* to) override {
    const std::int64_t each = input_shape.elements(1, input_shape.rank());
    if (each * count() != tensor_.elements()) throw Error(ErrorCode::InvalidData, "samples do not fit");
    const auto values = tensor_.data<float>();
    std::copy_n(values.data() + first * each, n * each, to);
  }

 private:
  Tensor tensor_;
};

}  // namespace ember::test
