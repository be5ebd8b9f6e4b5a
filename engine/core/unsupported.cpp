#include "core/unsupported.hpp"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember {

namespace {

/// Enough for any real model; a hostile one does not get to print a million lines.
constexpr std::size_t kMaxLines = 1000;

}  // namespace

void refuse_unsupported(std::span<const std::string> lines, const std::string& model) {
  if (lines.empty()) return;
  std::string reason = fmt::format("{} thing{} in the model that ember does not run:", lines.size(),
                                   lines.size() == 1 ? "" : "s");
  for (const std::string& line : lines.first(std::min(lines.size(), kMaxLines))) reason += "\n  " + line;
  if (lines.size() > kMaxLines) reason += fmt::format("\n  … and {} more", lines.size() - kMaxLines);
  throw Error(ErrorCode::Unsupported, reason, {.model = model, .cure = "'ember ops' lists what it runs"});
}

}  // namespace ember
