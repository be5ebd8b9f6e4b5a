#pragma once

#include <cstdint>
#include <type_traits>

namespace ember {

/// Where a step's parallel loops run. The runtime implements it over the session's task arena; with
/// one thread every loop runs inline and no scheduler is touched.
///
/// The split of work into tasks must never depend on threads(): results have the same bits at any
/// thread count.
class Parallel {
 public:
  /// Below this many nanoseconds of serial work, roughly, a loop runs inline: sharing it costs 0.15 to
  /// 0.25 microseconds and would save less.
  static constexpr std::int64_t kInlineWork = 1000;

  virtual ~Parallel() = default;

  /// How many workers may call a loop body at once; worker numbers are below it.
  [[nodiscard]] virtual int threads() const noexcept = 0;

  /// Whether other workers may take part now. Where they may not, fewer and larger tasks cost less; that is
  /// up to steps whose results have the same bits however they are cut.
  [[nodiscard]] virtual bool shares() const noexcept { return threads() > 1; }

  /// Calls body(task, worker) for every task in [0, tasks), in any order, and returns when all are
  /// done. `work` estimates the whole loop in nanoseconds of serial time. The body must not throw.
  template <class Body>
  void for_each(std::int64_t tasks, std::int64_t work, Body&& body) {
    if (tasks <= 1 || threads() <= 1 || work < kInlineWork) {
      for (std::int64_t task = 0; task < tasks; ++task) body(task, 0);
      return;
    }
    dispatch(
        tasks, work,
        [](void* context, std::int64_t task, int worker) {
          (*static_cast<std::remove_reference_t<Body>*>(context))(task, worker);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 protected:
  using TaskFunction = void (*)(void* context, std::int64_t task, int worker);
  virtual void dispatch(std::int64_t tasks, std::int64_t work, TaskFunction function, void* context) = 0;
};

/// Runs everything on the calling thread.
class SerialParallel final : public Parallel {
 public:
  [[nodiscard]] int threads() const noexcept override { return 1; }

 protected:
  void dispatch(std::int64_t tasks, std::int64_t /*work*/, TaskFunction function, void* context) override {
    for (std::int64_t task = 0; task < tasks; ++task) function(context, task, 0);
  }
};

}  // namespace ember
