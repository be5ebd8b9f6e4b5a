#pragma once

#include <memory>

#include <ember/samples.hpp>

namespace ember::data {

// The kinds of data that open_samples() chooses from. All throw Error.

std::unique_ptr<Samples> open_npy_samples(const std::filesystem::path& file,
                                          const Preprocessing& preprocessing);
std::unique_ptr<Samples> open_npz_samples(const std::filesystem::path& file,
                                          const Preprocessing& preprocessing, const std::string& input_name);
/// `gzipped` says whether the file must be expanded first.
std::unique_ptr<Samples> open_idx_samples(const std::filesystem::path& file,
                                          const Preprocessing& preprocessing, bool gzipped);
std::unique_ptr<Samples> open_image_folder(const std::filesystem::path& folder,
                                           const Preprocessing& preprocessing);

/// Refuses a range of samples that does not exist. Throws Error (InvalidArgument).
void require_range(const Samples& samples, std::int64_t first, std::int64_t n);

}  // namespace ember::data
