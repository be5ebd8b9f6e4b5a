#include "progress.hpp"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "output.hpp"

namespace ember::cli {

Progress::Progress(std::string what) : what_(std::move(what)), shown_(is_terminal(STDERR_FILENO)) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(std::int64_t done, std::int64_t total) {
  if (!shown_ || total <= 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  constexpr std::int64_t kCells = 30;
  const std::int64_t filled = kCells * done / total;
  std::fputs(
      fmt::format("\r\x1b[K{} [{:#<{}}{:.<{}}] {}/{}", what_, "", filled, "", kCells - filled, done, total)
          .c_str(),
      stderr);
  std::fflush(stderr);
}

}  // namespace ember::cli
