#include "surgery/unit_draw.hpp"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace ember::surgery {

namespace {

std::vector<float> normal(std::mt19937_64& generator, std::int64_t count, double deviation) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(deviation * draw_normal(generator));
  return values;
}

}  // namespace

double draw_unit(std::mt19937_64& generator) { return static_cast<double>(generator() >> 11) * 0x1p-53; }

double draw_normal(std::mt19937_64& generator) {
  // Box–Muller.
  const double radius = std::sqrt(-2 * std::log(1 - draw_unit(generator)));
  return radius * std::cos(2 * std::numbers::pi * draw_unit(generator));
}

std::vector<float> draw_he(std::mt19937_64& generator, std::int64_t fan_in) {
  return normal(generator, fan_in, std::sqrt(2 / static_cast<double>(fan_in)));
}

std::vector<float> draw_rai(std::mt19937_64& generator, std::int64_t fan_in) {
  std::vector<float> values = normal(generator, fan_in, 0.6007 / std::sqrt(static_cast<double>(fan_in)));
  const auto chosen = static_cast<std::size_t>(draw_unit(generator) * static_cast<double>(fan_in + 1));
  // The distribution function of Beta(2, 1) is x².
  const double asymmetric = std::sqrt(draw_unit(generator));
  if (chosen < values.size()) values[chosen] = static_cast<float>(asymmetric);
  return values;
}

}  // namespace ember::surgery
