#pragma once

#include <functional>
#include <memory>
#include <optional>

#include <oneapi/tbb/task_arena.h>

#include "core/parallel.hpp"

namespace ember {

/// Where a session's parallel loops run: an arena of its own, or one the caller lends.
class ThreadArena {
 public:
  /// An own arena of `threads` workers, the calling thread included.
  explicit ThreadArena(int threads) : own_(std::in_place, threads), arena_(&*own_) {}
  explicit ThreadArena(tbb::task_arena& borrowed) : arena_(&borrowed) {}
  ThreadArena(const ThreadArena&) = delete;
  ThreadArena& operator=(const ThreadArena&) = delete;

  [[nodiscard]] tbb::task_arena& get() noexcept { return *arena_; }
  [[nodiscard]] int threads() const { return arena_->max_concurrency(); }

 private:
  std::optional<tbb::task_arena> own_;
  tbb::task_arena* arena_;
};

namespace runtime {

/// Parallel loops on the arena that the calling thread is in, each handed to the scheduler by itself: for
/// few and long loops, which may be nested. Those of a network run on a Crew.
class ArenaParallel final : public Parallel {
 public:
  explicit ArenaParallel(int threads) noexcept : threads_(threads) {}
  [[nodiscard]] int threads() const noexcept override { return threads_; }

 protected:
  void dispatch(std::int64_t tasks, std::int64_t work, TaskFunction function, void* context) override;

 private:
  int threads_;
};

/// Processors this process may run on (its affinity mask, not the machine's count).
int available_processors();

}  // namespace runtime
}  // namespace ember
