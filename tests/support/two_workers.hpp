#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "core/parallel.hpp"

namespace ember::test {

/// Two workers that take tasks from a shared counter.
class TwoWorkers final : public Parallel {
 public:
  [[nodiscard]] int threads() const noexcept override { return 2; }

 protected:
  void dispatch(std::int64_t tasks, std::int64_t /*work*/, TaskFunction function, void* context) override {
    std::atomic<std::int64_t> next{0};
    const auto work = [&](int worker) {
      for (std::int64_t task = next++; task < tasks; task = next++) function(context, task, worker);
    };
    std::thread other(work, 1);
    work(0);
    other.join();
  }
};

}  // namespace ember::test
