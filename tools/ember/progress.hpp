#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ember::cli {

/// A progress bar on standard error. Draws nothing when that is no terminal, and wipes itself at the end.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::int64_t done, std::int64_t total);

 private:
  std::string what_;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace ember::cli
