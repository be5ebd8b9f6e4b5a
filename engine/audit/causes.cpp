#include <ember/causes.hpp>

namespace ember {

const char* to_string(Cause cause) noexcept {
  switch (cause) {
    case Cause::Decayed: return "decayed";
    case Cause::BatchNormCollapsed: return "batchnorm_collapsed";
    case Cause::BatchNormStale: return "batchnorm_stale";
    case Cause::Starved: return "starved";
    case Cause::SignDead: return "sign_dead";
    case Cause::BiasDominated: return "bias_dominated";
    case Cause::NegativeAlignment: return "negative_alignment";
    case Cause::None: break;
  }
  return "none";
}

const char* to_string(Remedy remedy) noexcept {
  switch (remedy) {
    case Remedy::Reinitialise: return "reinitialise";
    case Remedy::RestoreScale: return "restore_scale";
    case Remedy::RecomputeStatistics: return "recompute_statistics";
    case Remedy::HealUpstream: return "heal_upstream";
    case Remedy::RaiseBias: return "raise_bias";
    case Remedy::None: break;
  }
  return "none";
}

const char* to_string(Edit edit) noexcept {
  switch (edit) {
    case Edit::RedrawWeights: return "redraw_weights";
    case Edit::BatchNormScale: return "batchnorm_scale";
    case Edit::BatchNormStatistics: return "batchnorm_statistics";
    case Edit::UpstreamMeans: return "upstream_means";
    case Edit::NegateWeights: return "negate_weights";
    case Edit::Bias: return "bias";
    case Edit::None: break;
  }
  return "none";
}

const char* to_string(Finding::Kind kind) noexcept {
  switch (kind) {
    case Finding::Kind::DeadNetwork: return "dead_network";
    case Finding::Kind::DeadLayer: return "dead_layer";
    case Finding::Kind::Preprocessing: return "preprocessing";
  }
  return "";
}

}  // namespace ember
