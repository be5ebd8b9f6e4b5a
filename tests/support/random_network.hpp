#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

namespace ember::test {

/// Draws small networks of many operators, the same on every machine for a seed. The input is "x".
class RandomNetwork {
 public:
  explicit RandomNetwork(std::uint64_t seed) : random_(seed), b_(18) {}

  /// A network for images [1, 3, 6, 6], some convolutional steps and then some dense ones.
  GraphBuilder images(int steps) {
    x_ = b_.input("x", DataType::Float32, {-1, 3, 6, 6});
    shape_ = {3, 6, 6};
    for (int i = 0; i < steps; ++i) spatial_step();
    x_ = b_.op("Flatten", name(), {x_});
    shape_ = {shape_[0] * shape_[1] * shape_[2]};
    for (int i = 0; i < 2; ++i) dense_step();
    b_.output(x_);
    return std::move(b_);
  }
  /// A dense network for vectors [1, n].
  GraphBuilder vectors(std::int64_t n, int steps) {
    x_ = b_.input("x", DataType::Float32, {-1, n});
    shape_ = {n};
    for (int i = 0; i < steps; ++i) dense_step();
    b_.output(x_);
    return std::move(b_);
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  float real(float low, float high) {
    return low + (high - low) * static_cast<float>(random_() >> 40) * 0x1p-24F;
  }
  std::string name() { return "v" + std::to_string(++names_); }
  graph::ValueId constant(const Shape& shape, float low, float high) {
    return b_.constant(name(), random_tensor(shape, random_(), low, high));
  }
  graph::ValueId integers(const std::vector<std::int64_t>& values) {
    return b_.constant(name(), Tensor(Shape{static_cast<std::int64_t>(values.size())}, values));
  }
  static graph::Attribute list(std::vector<std::int64_t> values) {
    return graph::Attribute(std::move(values));
  }

  void activate() {
    static const std::vector<std::string> kinds = {
        "Relu",    "Relu",        "Relu",      "LeakyRelu", "Elu",      "Selu",     "Celu", "ThresholdedRelu",
        "Sigmoid", "HardSigmoid", "HardSwish", "Mish",      "Softplus", "Softsign", "Tanh", "Clip",
        "PRelu",   "Silu",        "Abs",       "Exp",       "Erf"};
    const std::string kind = kinds[below(kinds.size())];
    if (kind == "Clip") {
      x_ = b_.op("Clip", name(),
                 {x_, b_.constant(name(), Tensor::scalar(real(-1.0F, 0.2F))),
                  b_.constant(name(), Tensor::scalar(real(0.3F, 6.0F)))});
    } else if (kind == "PRelu") {
      const Shape slopes = shape_.size() == 3 ? Shape{shape_[0], 1, 1} : Shape{1};
      x_ = b_.op("PRelu", name(), {x_, constant(slopes, -0.3F, 1.4F)});
    } else if (kind == "Silu") {
      x_ = b_.op("Mul", name(), {x_, b_.op("Sigmoid", name(), {x_})});
    } else if (kind == "Exp") {
      x_ = b_.op("Exp", name(), {b_.op("Tanh", name(), {x_})});
    } else if (kind == "LeakyRelu") {
      x_ = b_.op(kind, name(), {x_}, {{"alpha", real(-0.2F, 0.4F)}});
    } else {
      x_ = b_.op(kind, name(), {x_});
    }
  }

  void convolve(std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
    const float scale = real(0.3F, 1.5F) / std::sqrt(static_cast<float>(shape_[0] * kernel * kernel));
    std::vector<graph::ValueId> inputs = {x_,
                                          constant({out, shape_[0], kernel, kernel}, -2 * scale, 2 * scale)};
    if (below(4) != 0) inputs.push_back(constant({out}, -1.0F, 0.7F));
    x_ = b_.op("Conv", name(), inputs,
               {{"strides", list({stride, stride})}, {"pads", list({pad, pad, pad, pad})}});
    shape_[0] = out;
    for (std::size_t i = 1; i < 3; ++i) shape_[i] = (shape_[i] + 2 * pad - kernel) / stride + 1;
    if (below(2) == 0) normalize();
    activate();
  }

  void normalize() {
    const Shape c{shape_[0]};
    x_ = b_.op(
        "BatchNormalization", name(),
        {x_, constant(c, -1.5F, 1.5F), constant(c, -1, 1), constant(c, -1, 1), constant(c, 0.1F, 2.0F)});
  }

  void spatial_step() {
    switch (below(13)) {
      case 0: convolve(4, 3, 1, 1); return;
      case 1: convolve(5, 3, 1, 0 + (shape_[1] < 3 ? 1 : 0)); return;
      case 2: convolve(6, 1, 1, 0); return;
      case 3: convolve(4, 3, 2, 1); return;
      case 4: {
        x_ = b_.op("Conv", name(), {x_, constant({shape_[0], 1, 3, 3}, -0.6F, 0.6F)},
                   {{"group", shape_[0]}, {"pads", list({1, 1, 1, 1})}});
        activate();
        return;
      }
      case 5: {
        if (shape_[1] < 2 || shape_[2] < 2) return;
        const char* op = below(2) == 0 ? "MaxPool" : "AveragePool";
        x_ = b_.op(op, name(), {x_}, {{"kernel_shape", list({2, 2})}});
        --shape_[1];
        --shape_[2];
        return;
      }
      case 6: {
        const graph::ValueId before = x_;
        convolve(shape_[0], 3, 1, 1);
        x_ = b_.op(below(3) == 0 ? "Sub" : "Add", name(), {x_, before});
        if (below(2) == 0) activate();
        return;
      }
      case 7: {
        const graph::ValueId before = x_;
        const std::int64_t channels = shape_[0];
        convolve(3, 1, 1, 0);
        x_ = b_.op("Concat", name(), {before, x_}, {{"axis", std::int64_t{1}}});
        shape_[0] += channels;
        return;
      }
      case 8: {
        const graph::ValueId pooled =
            b_.op(below(2) == 0 ? "GlobalAveragePool" : "GlobalMaxPool", name(), {x_});
        x_ = b_.op("Mul", name(), {x_, b_.op("Sigmoid", name(), {pooled})});
        return;
      }
      case 9: {
        if (shape_[1] > 8) return;
        x_ = b_.op("Pad", name(), {x_, integers({0, 0, 1, 0, 0, 0, 0, 1})});
        ++shape_[1];
        ++shape_[2];
        return;
      }
      case 10: {
        x_ = b_.op("Transpose", name(), {x_}, {{"perm", list({0, 1, 3, 2})}});
        std::swap(shape_[1], shape_[2]);
        return;
      }
      case 11: {
        if (shape_[1] > 8) return;
        x_ = b_.op("ConvTranspose", name(), {x_, constant({shape_[0], 3, 2, 2}, -0.5F, 0.5F)},
                   {{"strides", list({1, 1})}});
        shape_ = {3, shape_[1] + 1, shape_[2] + 1};
        activate();
        return;
      }
      default: {
        x_ = b_.op("Mul", name(), {x_, constant({shape_[0], 1, 1}, -1.5F, 1.5F)});
        x_ = b_.op("Add", name(), {x_, constant({shape_[0], 1, 1}, -1.0F, 1.0F)});
        activate();
      }
    }
  }

  void dense_step() {
    const std::int64_t out = 4 + static_cast<std::int64_t>(below(9));
    const float scale = real(0.3F, 2.0F) / std::sqrt(static_cast<float>(shape_[0]));
    switch (below(4)) {
      case 0:
        x_ = b_.op("MatMul", name(), {x_, constant({shape_[0], out}, -2 * scale, 2 * scale)});
        x_ = b_.op("Add", name(), {x_, constant({out}, -1.5F, 0.8F)});
        break;
      case 1: {
        const graph::ValueId a = b_.op("MatMul", name(), {x_, constant({shape_[0], out}, -scale, scale)});
        const graph::ValueId c = b_.op("MatMul", name(), {x_, constant({shape_[0], out}, -scale, scale)});
        x_ = b_.op(below(2) == 0 ? "Max" : "Min", name(), {a, c});
        break;
      }
      default:
        x_ = b_.op("Gemm", name(),
                   {x_, constant({out, shape_[0]}, -2 * scale, 2 * scale), constant({out}, -1.5F, 0.8F)},
                   {{"transB", std::int64_t{1}}, {"alpha", real(0.5F, 1.5F)}});
    }
    shape_ = {out};
    activate();
    if (below(5) == 0) x_ = b_.op("Softmax", name(), {x_});
  }

  std::mt19937_64 random_;
  GraphBuilder b_;
  graph::ValueId x_ = graph::kNoValue;
  std::vector<std::int64_t> shape_;
  int names_ = 0;
};

}  // namespace ember::test
