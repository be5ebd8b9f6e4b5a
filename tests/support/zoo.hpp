#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <doctest/doctest.h>

namespace ember::test {

/// The folder of real networks kept beside the repository: EMBER_ZOO, or ../shared/zoo next to the
/// source folder. Empty when it is not there.
inline std::filesystem::path zoo_folder() {
  const char* named = std::getenv("EMBER_ZOO");
  const std::filesystem::path folder =
      named != nullptr ? std::filesystem::path(named)
                       : std::filesystem::path(EMBER_SOURCE_DIR) / ".." / "shared" / "zoo";
  return std::filesystem::is_directory(folder / "models") ? folder : std::filesystem::path();
}

/// Its ONNX files in order of name. When there is no zoo a message says that the test is skipped, and
/// the list is empty.
inline std::vector<std::filesystem::path> zoo_models() {
  const std::filesystem::path folder = zoo_folder();
  std::vector<std::filesystem::path> files;
  if (folder.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return files;
  }
  for (const char* part : {"models", "acasxu"}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder / part)) {
      if (entry.path().extension() == ".onnx") files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace ember::test
