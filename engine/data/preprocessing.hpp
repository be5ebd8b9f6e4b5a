#pragma once

#include <cstdint>
#include <string>

#include <ember/samples.hpp>

namespace ember::data {

/// Applies the arithmetic of `preprocessing`, ((x · scale − mean) ÷ std + offset) · scale_after, to `n`
/// samples of a model input of shape `input_shape` (its batch extent ignored), in place.
/// Throws Error (InvalidArgument) when mean or std do not match the channels.
void scale_samples(const Preprocessing& preprocessing, const Shape& input_shape, std::int64_t n,
                   float* samples);

/// Everything in `preprocessing` as one text, for Samples::settings().
std::string describe(const Preprocessing& preprocessing);

}  // namespace ember::data
