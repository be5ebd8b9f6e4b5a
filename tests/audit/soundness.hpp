#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <ember/model.hpp>
#include <ember/session.hpp>

#include "audit/bounds.hpp"
#include "audit/domain.hpp"
#include "audit/substitution.hpp"

namespace ember::test {

using namespace ember::auditing;

/// Every value of the network that bounds are known of, checked in every run.
class BoundsChecker final : public Observer {
 public:
  BoundsChecker(const Formulas& formulas, const AllBounds& bounds) : formulas_(formulas), bounds_(bounds) {}
  bool wants(const std::string& value, const std::string& /*node*/, const std::string& /*op*/) override {
    return formulas_.find(value) >= 0;
  }
  void observe(const std::string& value, const ConstTensorView& tensor) override {
    if (tensor.type() != DataType::Float32) return;
    const Bounds& bounds = bounds_[static_cast<std::size_t>(formulas_.find(value))];
    const auto values = tensor.data<float>();
    // A run may hold several samples: each obeys the same bounds.
    for (std::size_t i = 0; i < values.size() && bounds.size() > 0; ++i) {
      const std::size_t at = i % bounds.size();
      const auto y = static_cast<double>(values[i]);
      ++checked;
      const bool inside = y >= bounds.lower[at] && y <= bounds.upper[at];
      if (inside || (std::isnan(y) && bounds.may_be_nan)) continue;
      ++contradictions;
      if (first.empty()) {
        const Formula& formula =
            *formulas_.all()[static_cast<std::size_t>(formulas_.variable(formulas_.find(value)).formula)];
        first = formula.op + " " + value + "[" + std::to_string(at) + "] = " + std::to_string(y) +
                " outside [" + std::to_string(bounds.lower[at]) + ", " + std::to_string(bounds.upper[at]) +
                "]";
      }
    }
  }
  std::int64_t checked = 0;
  std::int64_t contradictions = 0;
  std::string first;

 private:
  const Formulas& formulas_;
  const AllBounds& bounds_;
};

/// Narrows every layer's bounds, as the audit does, and collects where linear bounds are largest.
inline std::vector<std::vector<float>> tighten_all(const Formulas& formulas, const Domain& domain,
                                                   AllBounds& bounds) {
  SerialParallel serial;
  std::vector<std::vector<float>> corners;
  for (const auto& formula : formulas.all()) {
    propagate(formulas, *formula, bounds, serial);
    const std::vector<std::int32_t> loose = loose_elements(formulas, bounds, formula->output);
    if (loose.empty()) continue;
    tighten(formulas, bounds, formula->output, loose, serial, {});
    const auto some = std::span(loose).first(std::min<std::size_t>(loose.size(), 8));
    for (const double sign : {1.0, -1.0}) {
      for (const LinearBound& bound : substitute(formulas, bounds, formula->output, some, sign, true)) {
        std::vector<float> corner(domain.size());
        for (std::size_t i = 0; i < corner.size(); ++i)
          corner[i] = bound.coefficients[i] > 0.0 ? domain.upper[i] : domain.lower[i];
        corners.push_back(std::move(corner));
      }
    }
  }
  return corners;
}

struct CheckedValues {
  std::int64_t checked = 0, contradictions = 0;
};

/// One network on one domain: `runs` batches of random inputs and corners, and the maximisers of its bounds.
inline CheckedValues check_network(const Model& model, std::uint64_t seed, float radius, int runs) {
  const std::vector<ValueInfo> inputs = model.inputs();
  // A batch that the model fixes is run as often as makes no difference.
  const std::int64_t batch = inputs[0].dims[0].size < 0 ? 16 : 1;
  std::vector<std::int64_t> dims;
  for (const Dimension& dim : inputs[0].dims) dims.push_back(dim.size < 0 ? 1 : dim.size);
  const Shape one(dims);
  const Formulas formulas(model, {{"x", one}});
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return static_cast<float>(random() >> 40) * 0x1p-24F; };
  Domain domain;
  for (std::int64_t i = 0; i < one.elements(); ++i) {
    const float centre = 2.0F * uniform() - 1.0F;
    domain.lower.push_back(centre - radius * uniform());
    domain.upper.push_back(centre + radius * uniform());
  }
  SerialParallel serial;
  AllBounds intervals = propagate(formulas, {input_bounds(domain, 1)}, serial);
  AllBounds bounds = intervals;
  std::vector<std::vector<float>> corners;
  if (domain.size() < 1000) corners = tighten_all(formulas, domain, bounds);
  BoundsChecker checker(formulas, bounds);
  SessionOptions options;
  options.observers = {&checker};
  options.input_shapes = {{"x", one.with(0, batch)}};
  Session session(model, options);
  const auto x = session.input("x").data<float>();
  const std::size_t n = domain.size();
  const auto run = [&](auto&& fill) {
    for (std::size_t s = 0; s < static_cast<std::size_t>(batch); ++s) {
      for (std::size_t i = 0; i < n; ++i)
        x[s * n + i] = std::clamp(fill(s, i), domain.lower[i], domain.upper[i]);
    }
    session.run();
  };
  const auto between = [&](std::size_t i, float share) {
    return domain.lower[i] + share * (domain.upper[i] - domain.lower[i]);
  };
  for (int r = 0; r < runs * 16 / static_cast<int>(batch); ++r) {
    run([&](std::size_t s, std::size_t i) {
      if ((s + static_cast<std::size_t>(r)) % 2 == 0) return between(i, uniform());
      return random() % 2 == 0 ? domain.lower[i] : domain.upper[i];
    });
  }
  for (std::size_t first = 0; first < corners.size(); first += static_cast<std::size_t>(batch)) {
    run([&](std::size_t s, std::size_t i) { return corners[std::min(first + s, corners.size() - 1)][i]; });
  }
  CHECK_MESSAGE(checker.contradictions == 0, "seed ", seed, " radius ", radius, ": ", checker.first);
  CHECK(checker.checked > 0);
  return {checker.checked, checker.contradictions};
}

}  // namespace ember::test
