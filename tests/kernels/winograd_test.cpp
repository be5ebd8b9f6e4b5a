#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/table.hpp"
#include "simd/isa.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

// Both forms of Winograd's convolution against the sums themselves in double, on every instruction set.

namespace ember::test {

namespace {

struct Image {
  std::int64_t samples, in, out, height, width, pad;
};

std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
  const Tensor tensor = random_tensor(Shape{count}, seed);
  const auto data = tensor.data<float>();
  return {data.begin(), data.end()};
}

class Fixture {
 public:
  Fixture(const kernels::KernelTable& table, const Image& image)
      : i_(image),
        block_(table.block),
        x_(numbers(image.samples * image.in * image.height * image.width, 1)),
        w_(numbers(image.out * image.in * 9, 2)),
        bias_(numbers(image.out, 3)) {
    job_.in_height = image.height;
    job_.in_width = image.width;
    job_.out_height = image.height + 2 * image.pad - 2;
    job_.out_width = image.width + 2 * image.pad - 2;
    job_.pad_top = job_.pad_left = image.pad;
    job_.in_channels = image.in;
    job_.out_channels = image.out;
    residual_ = numbers(image.samples * image.out * job_.out_height * job_.out_width, 4);
    blocked_x_ = blocked(x_, image.in, image.height * image.width);
    blocked_residual_ = blocked(residual_, image.out, job_.out_height * job_.out_width);
    padded_bias_ = bias_;
    padded_bias_.resize(static_cast<std::size_t>(padded(image.out)), 0.0F);
    job_.input = blocked_x_.data();
    job_.epilogue.bias = padded_bias_.data();
    job_.epilogue.residual = blocked_residual_.data();
    job_.epilogue.before.kind = kernels::ActivationKind::LeakyRelu;
    job_.epilogue.before.alpha = 0.25F;
    job_.epilogue.after.kind = kernels::ActivationKind::Relu;
  }

  /// The blocked output, worked on in parts of `rows` tiles.
  std::vector<float> run(const kernels::WinogradKernels& kernels, const kernels::WinogradForm& form,
                         std::int64_t rows) {
    const std::int64_t columns = (i_.out + kernels.tile.columns - 1) / kernels.tile.columns;
    const std::int64_t points = std::int64_t{form.window} * form.window;
    std::vector<float> filters(static_cast<std::size_t>(points * columns * kernels.tile.columns * i_.in),
                               NAN);
    form.pack(w_.data(), i_.out, i_.in, filters.data());
    std::vector<float> output(blocked_residual_.size(), NAN);
    job_.filters = filters.data();
    job_.output = output.data();
    // Odd distances: nothing may rely on blocks that touch.
    job_.transformed_block = rows * block_ + block_;
    job_.transformed_point = padded(i_.in) / block_ * job_.transformed_block;
    job_.products_block = rows * block_ + 2 * block_;
    job_.products_point = columns * kernels.tile.columns / block_ * job_.products_block;
    std::vector<float> transformed(static_cast<std::size_t>(points * job_.transformed_point), NAN);
    std::vector<float> products(static_cast<std::size_t>(points * job_.products_point), NAN);
    job_.transformed = transformed.data();
    job_.products = products.data();
    const auto tiles_along = [&](std::int64_t extent) { return (extent + form.outputs - 1) / form.outputs; };
    const std::int64_t tiles = i_.samples * tiles_along(job_.out_height) * tiles_along(job_.out_width);
    for (std::int64_t first = 0; first < tiles; first += rows) {
      const std::int64_t count = std::min(rows, tiles - first);
      // The ends of a part may be worked on apart.
      form.transform(job_, first, 0, 1);
      form.transform(job_, first + 1, 1, count - 1);
      for (std::int64_t point = 0; point < points; ++point) form.multiply(job_, point, count, 0, columns);
      form.finish(job_, first, 0, count - 1);
      form.finish(job_, first + count - 1, count - 1, 1);
    }
    return output;
  }

  /// The largest error relative to the root mean square of the sums.
  double error(const std::vector<float>& output) const {
    double worst = 0;
    double squares = 0;
    const std::int64_t plane = job_.out_height * job_.out_width;
    for (std::int64_t at = 0; at < i_.samples * i_.out * plane; ++at) {
      const std::int64_t m = at / plane % i_.out;
      const double sum = direct(at / plane / i_.out, m, at % plane / job_.out_width, at % job_.out_width);
      squares += sum * sum;
      double want = activate(job_.epilogue.before, sum + double{bias_[static_cast<std::size_t>(m)]}, m);
      want = std::max(0.0, want + double{residual_[static_cast<std::size_t>(at)]});
      const std::int64_t blocks = padded(i_.out) / block_;
      const std::int64_t to =
          ((at / plane / i_.out * blocks + m / block_) * plane + at % plane) * block_ + m % block_;
      const double off = std::abs(want - double{output[static_cast<std::size_t>(to)]});
      worst = std::isnan(off) ? INFINITY : std::max(worst, off);
    }
    return worst / std::max(1e-30, std::sqrt(squares / static_cast<double>(i_.samples * i_.out * plane)));
  }

 private:
  [[nodiscard]] std::int64_t padded(std::int64_t channels) const {
    return (channels + block_ - 1) / block_ * block_;
  }

  [[nodiscard]] std::vector<float> blocked(const std::vector<float>& plain, std::int64_t channels,
                                           std::int64_t plane) const {
    // Padding channels hold something finite that must not matter.
    std::vector<float> to(static_cast<std::size_t>(i_.samples * padded(channels) * plane), 1e30F);
    for (std::int64_t at = 0; at < std::ssize(plain); ++at) {
      const std::int64_t c = at / plane % channels;
      const std::int64_t sample = at / plane / channels;
      const std::int64_t blocks = padded(channels) / block_;
      to[static_cast<std::size_t>(((sample * blocks + c / block_) * plane + at % plane) * block_ +
                                  c % block_)] = plain[static_cast<std::size_t>(at)];
    }
    return to;
  }

  [[nodiscard]] double direct(std::int64_t sample, std::int64_t m, std::int64_t y, std::int64_t x) const {
    double sum = 0;
    for (std::int64_t c = 0; c < i_.in; ++c) {
      for (std::int64_t ky = 0; ky < 3; ++ky) {
        for (std::int64_t kx = 0; kx < 3; ++kx) {
          const std::int64_t iy = y + ky - i_.pad;
          const std::int64_t ix = x + kx - i_.pad;
          if (iy < 0 || iy >= i_.height || ix < 0 || ix >= i_.width) continue;
          sum +=
              double{x_[static_cast<std::size_t>(((sample * i_.in + c) * i_.height + iy) * i_.width + ix)]} *
              double{w_[static_cast<std::size_t>(((m * i_.in + c) * 3 + ky) * 3 + kx)]};
        }
      }
    }
    return sum;
  }

  Image i_;
  std::int64_t block_;
  std::vector<float> x_, w_, bias_, residual_, blocked_x_, blocked_residual_, padded_bias_;
  kernels::WinogradJob job_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("Winograd: odd channels, extents and padding, several samples, whatever the parts") {
  const std::vector<Image> images = {{1, 1, 1, 3, 3, 0},    {1, 3, 7, 3, 5, 1},     {2, 8, 8, 4, 4, 1},
                                     {1, 13, 17, 7, 7, 1},  {3, 9, 24, 5, 13, 1},   {1, 16, 40, 13, 6, 2},
                                     {2, 17, 33, 9, 10, 0}, {1, 64, 16, 12, 12, 1}, {1, 127, 19, 6, 6, 1}};
  for (const simd::Isa isa : simd::available_isas()) {
    const kernels::KernelTable& table = kernels::table(isa);
    const kernels::WinogradKernels& kernels = *table.winograd;
    for (const Image& image : images) {
      Fixture fixture(table, image);
      for (const auto* form : {&kernels.f2, &kernels.f4}) {
        CAPTURE(simd::to_string(isa));
        CAPTURE(image.in);
        CAPTURE(image.out);
        CAPTURE(image.height);
        CAPTURE(image.width);
        CAPTURE(form->outputs);
        const std::vector<float> whole = fixture.run(kernels, *form, 400);
        CHECK(fixture.error(whole) < (form->outputs == 2 ? 6e-6 : 3e-5));
        CHECK(same_bits(whole, fixture.run(kernels, *form, 1)));
        CHECK(same_bits(whole, fixture.run(kernels, *form, 7)));
      }
    }
  }
}

}  // namespace ember::test
