#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ember {

/// Whole numbers, one per sample: an .npy of any integer type with one axis, or the array called `array` of
/// an .npz (its only one whatever it is called). Throws Error.
std::vector<std::int64_t> load_labels(const std::filesystem::path& file, const std::string& array);

}  // namespace ember
