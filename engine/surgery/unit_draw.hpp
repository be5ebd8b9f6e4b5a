#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace ember::surgery {

/// In [0, 1). The standard's distributions differ between libraries, these do not.
double draw_unit(std::mt19937_64& generator);
double draw_normal(std::mt19937_64& generator);

/// Incoming weights of one unit after He et al. 2015: N(0, 2 / fan-in).
std::vector<float> draw_he(std::mt19937_64& generator, std::int64_t fan_in);
/// After Lu et al. 2019: of fan-in weights and a bias, all N(0, 0.6007² / fan-in), a random one becomes
/// Beta(2, 1). The bias is not returned: the calibration data decide it.
std::vector<float> draw_rai(std::mt19937_64& generator, std::int64_t fan_in);

}  // namespace ember::surgery
