#pragma once

#include <cstdint>

namespace ember::auditing {

/// I_x(a, b), the regularised incomplete beta function, for a, b > 0 and 0 <= x <= 1. Relative error about
/// 1e-13.
double incomplete_beta(double a, double b, double x);

/// The Clopper–Pearson upper limit: the largest firing rate at which `fired` or fewer of `trials` samples
/// would still fire with probability `alpha`. For none fired this is 1 − alpha^(1/trials). 1 without trials.
double upper_rate(std::int64_t fired, std::int64_t trials, double alpha);

}  // namespace ember::auditing
