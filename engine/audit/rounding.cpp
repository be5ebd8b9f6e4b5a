#include "audit/rounding.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

namespace ember::auditing {

namespace {

/// Two passes of G (three terms), of Bᵀ and of Aᵀ (six terms each), with rounded coefficients, the product,
/// storing what was transformed, and the bias.
constexpr int kTransformRoundings = 2 * 4 + 2 * 7 + 2 * 7 + 4;

/// Magnitudes of the matrices of F(m×m, 3×3). The points are those of kernels/winograd_transform.hpp.
template <std::size_t kTile, std::size_t kOut>
struct Transform {
  std::array<std::array<double, 3>, kTile> filter;     ///< |G|
  std::array<double, kTile> input;                     ///< row sums of |Bᵀ|
  std::array<std::array<double, kTile>, kOut> output;  ///< |Aᵀ|
};

/// Points 0, ±1 and infinity.
constexpr Transform<4, 2> kF2 = {.filter = {{{1, 0, 0}, {.5, .5, .5}, {.5, .5, .5}, {0, 0, 1}}},
                                 .input = {2, 2, 2, 2},
                                 .output = {{{1, 1, 1, 0}, {0, 1, 1, 1}}}};

/// Points 0, ±p, ±q and infinity, p < q.
constexpr Transform<6, 4> six_points(double p, double q) {
  const double pp = p * p;
  const double qq = q * q;
  const double at_p = 2 * pp * (qq - pp);
  const double at_q = 2 * qq * (qq - pp);
  const double ends = pp * qq + pp + qq + 1;
  return {.filter = {{{1 / (pp * qq), 0, 0},
                      {1 / at_p, p / at_p, pp / at_p},
                      {1 / at_p, p / at_p, pp / at_p},
                      {1 / at_q, q / at_q, qq / at_q},
                      {1 / at_q, q / at_q, qq / at_q},
                      {0, 0, 1}}},
          .input = {ends, (p + 1) * qq + p + 1, (p + 1) * qq + p + 1, (q + 1) * pp + q + 1,
                    (q + 1) * pp + q + 1, ends},
          .output = {{{1, 1, 1, 1, 1, 0},
                      {0, p, p, q, q, 0},
                      {0, pp, pp, qq, qq, 0},
                      {0, p * pp, p * pp, q * qq, q * qq, 1}}}};
}
constexpr Transform<6, 4> kF4 = six_points(0.625, 1.5);

/// The largest output of a tile for one filter and inputs of magnitude 1.
template <std::size_t kTile, std::size_t kOut>
double largest(const Transform<kTile, kOut>& t, const float* filter) {
  std::array<std::array<double, kTile>, kTile> product{};
  for (std::size_t p = 0; p < kTile; ++p) {
    for (std::size_t q = 0; q < kTile; ++q) {
      for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j)
          product[p][q] += t.filter[p][i] * double{std::abs(filter[i * 3 + j])} * t.filter[q][j];
      }
      product[p][q] *= t.input[p] * t.input[q];
    }
  }
  double worst = 0.0;
  for (std::size_t i = 0; i < kOut; ++i) {
    for (std::size_t j = 0; j < kOut; ++j) {
      double sum = 0.0;
      for (std::size_t p = 0; p < kTile; ++p) {
        for (std::size_t q = 0; q < kTile; ++q) sum += t.output[i][p] * t.output[j][q] * product[p][q];
      }
      worst = std::max(worst, sum);
    }
  }
  return worst;
}

}  // namespace

bool may_be_transformed(const ops::ConvGeometry& geometry) {
  const auto& axes = geometry.windows.axes;
  return axes[0].kernel == 1 && axes[0].input == 1 &&
         std::ranges::all_of(axes.begin() + 1, axes.end(), [](const ops::WindowAxis& axis) {
           return axis.kernel == 3 && axis.stride == 1 && axis.dilation == 1;
         });
}

TransformedFilters::TransformedFilters(const ops::ConvGeometry& g, std::span<const float> weights) {
  const bool depthwise = g.in_per_group() == 1 && g.out_per_group() == 1;
  if (weights.empty() || !may_be_transformed(g) || (depthwise && g.groups > 1)) return;
  weights_ = weights;
  made_ = std::make_shared<Made>();
}

const std::vector<double>& TransformedFilters::factors() const {
  std::call_once(made_->once, [&] {
    made_->factors.resize(weights_.size() / 9);
    for (std::size_t i = 0; i < made_->factors.size(); ++i) {
      const float* filter = weights_.data() + i * 9;
      made_->factors[i] = std::max(largest(kF2, filter), largest(kF4, filter));
    }
  });
  return made_->factors;
}

void TransformedFilters::add_error(const ops::ConvGeometry& g, std::span<const double> inputs,
                                   std::span<double> error) const {
  const auto channels = static_cast<std::size_t>(g.in_channels);
  const auto plane = static_cast<std::size_t>(g.windows.inputs());
  const auto positions = static_cast<std::size_t>(g.windows.outputs());
  const double relative = gamma(static_cast<double>(g.in_channels + kTransformRoundings));
  std::vector<double> peak(channels);
  for (std::size_t n = 0; n < static_cast<std::size_t>(g.batch); ++n) {
    for (std::size_t c = 0; c < channels; ++c) {
      const auto values = inputs.subspan((n * channels + c) * plane, plane);
      peak[c] = plane == 0 ? 0.0 : *std::ranges::max_element(values);
    }
    for (std::size_t m = 0; m < static_cast<std::size_t>(g.out_channels); ++m) {
      const auto each = static_cast<std::size_t>(g.in_per_group());
      const auto peaks =
          std::span(peak).subspan(m / static_cast<std::size_t>(g.out_per_group()) * each, each);
      // Where an input may be anything, so may the error, and the filters are not looked at in vain.
      double sum = std::numeric_limits<double>::infinity();
      if (std::ranges::all_of(peaks, [](double x) { return std::isfinite(x); })) {
        sum = std::inner_product(peaks.begin(), peaks.end(), factors().data() + m * each, 0.0);
      }
      const auto at = (n * static_cast<std::size_t>(g.out_channels) + m) * positions;
      for (double& e : error.subspan(at, positions))
        e += relative * sum + kFlush * 300.0 * static_cast<double>(channels);
    }
  }
}

}  // namespace ember::auditing
