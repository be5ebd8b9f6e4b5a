#pragma once

#include <span>
#include <vector>

#include <ember/model.hpp>
#include <ember/prune.hpp>

namespace ember::surgery {

/// What a model costs, but for its time.
ModelCost cost_of(const Model& model, int threads);

/// Milliseconds per inference of each model: the least of several runs, in turns, so that a change in the
/// machine's speed meets all alike.
std::vector<double> measure(std::span<const Model> models, int threads);

/// Channels that the kernels of the instruction set in use compute at once.
std::int64_t vector_width();

}  // namespace ember::surgery
