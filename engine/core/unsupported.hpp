#pragma once

#include <span>
#include <string>

namespace ember {

/// Throws one Error (Unsupported) that lists every line: all the things in a model that ember cannot do.
/// Does nothing when there are none.
void refuse_unsupported(std::span<const std::string> lines, const std::string& model);

}  // namespace ember
