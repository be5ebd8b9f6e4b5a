#pragma once

#include <cstdint>

#include <ember/audit.hpp>

#include "kernels/activation.hpp"

namespace ember::auditing {

struct Standards {
  double alpha = 0.05;        ///< chance that any bound of the whole report is wrong
  std::int64_t channels = 1;  ///< of the whole report; alpha is divided among them
  double rare_below = 0.001;
  double dormant_tau = 0.0;
};

/// Sets the verdict, rate bound and dormancy of every channel from its statistics. The first that holds:
///
///   silent     a Rectifier (see firing.hpp) that fired in no sample; or any output that was always 0
///   rare       a Rectifier that fired in fewer than rare_below of the samples (of their groups, if any)
///   dormant    mean |output| <= dormant_tau of the layer's mean; not asked of the network's own outputs
///   constant   the output was one and the same value, not 0, over two or more positions
///   saturated  flat (see firing.hpp) at every position of every sample
///   always_on  acted as a linear function throughout: always above its corner without touching an upper
///              end, or (LeakyRelu, PRelu) always below it
///   healthy    none of these
///
/// A position that is not finite shows nothing: each takes one sample away from those a bound rests on, and
/// a channel of which nothing finite was seen is left healthy (the audit notes it). Where only firing was
/// counted, nothing is dormant, constant or saturated, and always_on only what cannot saturate.
void judge(LayerReport& layer, const kernels::Activation& activation, bool network_output,
           const Standards& standards);

}  // namespace ember::auditing
