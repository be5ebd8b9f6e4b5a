#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include <oneapi/tbb/task_group.h>

#include "core/parallel.hpp"
#include "runtime/sharing.hpp"
#include "runtime/threads.hpp"

namespace ember::runtime {

/// The threads that share the parallel loops of one session's runs.
///
/// A scheduler's parallel loop costs a microsecond or two, and a network has one per layer. A crew asks
/// the arena for helpers once per run instead: from the first loop that is worth it until the run ends
/// they look out for the next loop, spinning for a few microseconds and then leaving. Between runs nobody
/// waits. The caller never waits for a helper that has not come: every worker has a share of a loop's
/// tasks, takes those one by one, and then what is left of the others'. So an arena without free workers,
/// or a nested loop, costs time but cannot block.
class Crew final : public Parallel {
 public:
  explicit Crew(ThreadArena& arena);
  ~Crew() noexcept override = default;  // a task group may throw when it is left unwaited for: none is
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  [[nodiscard]] int threads() const noexcept override { return threads_; }
  [[nodiscard]] bool shares() const noexcept override { return shared_; }

  /// Calls body(), whose loops on this crew are shared while it runs. One run at a time. What the body
  /// throws is thrown on when all helpers have left.
  template <class Body>
  void run(Body&& body) {
    run([](void* context) { (*static_cast<std::remove_reference_t<Body>*>(context))(); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 protected:
  void dispatch(std::int64_t tasks, std::int64_t work, TaskFunction function, void* context) override;

 private:
  static constexpr std::size_t kLine = 64;  ///< bytes that processors exchange as one

  /// The tasks one worker takes first: those from the low half of `claim` up to its high half. Adding 1
  /// claims a task, or finds that none is left. What the tasks do lies beside it, so that one exchange
  /// between processors carries all; it is written before `claim` is, and read only with a task in hand,
  /// which keeps the loop from ending.
  struct alignas(kLine) Share {
    std::atomic<std::uint64_t> claim{0};
    std::atomic<TaskFunction> function{nullptr};
    std::atomic<void*> context{nullptr};
  };
  class Open;

  void run(void (*body)(void*), void* context);
  void run_in_arena(void (*body)(void*), void* context);
  void invite();
  void help() noexcept;
  /// Runs what is left of the present loop and returns how many tasks that was.
  std::int64_t take_tasks(int worker) noexcept;
  /// Claims one task of a share and runs it; false when none was left.
  static bool take_task(Share& share, int worker) noexcept;
  void finish(std::int64_t tasks) noexcept;  ///< tells the caller of tasks done

  ThreadArena& arena_;
  int threads_;
  std::unique_ptr<Share[]> shares_;  ///< one per worker
  tbb::task_group_context isolated_;
  tbb::task_group group_;

  alignas(kLine) std::atomic<bool> open_{false};          ///< a run is under way
  std::atomic<int> processor_{-1};                        ///< where the caller was when it began
  alignas(kLine) std::atomic<std::int64_t> finished_{0};  ///< tasks that helpers did, ever
  alignas(kLine) std::atomic<int> helpers_{0};            ///< invited, and not gone again
  std::atomic<bool> met_{false};                          ///< a helper has come to this run

  // The caller's own.
  alignas(kLine) int caller_ = 0;    ///< its worker number
  std::atomic<bool> handed_{false};  ///< to the thread that runs in the arena, often this one
  std::atomic<bool> busy_{false};    ///< a loop is under way: one inside it runs on its own thread
  bool shared_ = false;              ///< this run is in the arena
  bool invited_ = false;             ///< this run has asked for helpers
  int alone_ = 0;                    ///< loops of this run that no helper had come for
  std::int64_t offered_ = 0;         ///< nanoseconds of the loops of this run
  Sharing sharing_;                  ///< whether the next run is
};

}  // namespace ember::runtime
