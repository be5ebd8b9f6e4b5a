#include "runtime/crew.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/subnormals.hpp"

namespace ember::runtime {

namespace {

/// How often a helper looks for the next loop before it leaves: about as long as asking it back takes.
constexpr int kHelperPatience = 1000;
/// How often the caller looks whether a helper has finished its task before it lets other threads have
/// the processor: it may be the one that the helper needs.
constexpr int kCallerPatience = 4000;

/// Loops of a run without a helper after which the caller lets others have its processor for a moment. A
/// helper may have been put behind it in the same queue, and cannot leave that before it has run.
constexpr bool makes_way(int loops_alone) { return loops_alone == 2 || loops_alone == 8; }

/// Threads that run networks on crews now or are asked to, in the whole process. Sessions that run at the
/// same time ask for helpers only while processors are free.
std::atomic<int> running{0};

void relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// The processor that this thread is on, -1 where the system does not say.
int current_processor() noexcept {
#if defined(__linux__)
  return ::sched_getcpu();
#else
  return -1;
#endif
}

/// Gets this thread off a processor; false when it may run on no other. Woken by a thread that never sleeps,
/// a worker is often put behind it in the same queue, and the system takes many milliseconds to notice.
bool leave_processor(int processor) noexcept {
  if (processor < 0 || current_processor() != processor) return true;
#if defined(__linux__)
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return true;
  cpu_set_t others = allowed;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) == 0 || ::sched_setaffinity(0, sizeof others, &others) != 0) return false;
  ::sched_setaffinity(0, sizeof allowed, &allowed);
#endif
  return true;
}

constexpr std::uint64_t share_word(std::int64_t begin, std::int64_t end) {
  return static_cast<std::uint64_t>(end) << 32 | static_cast<std::uint64_t>(begin);
}
constexpr std::uint32_t next_of(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t end_of(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }

}  // namespace

Crew::Crew(ThreadArena& arena)
    : arena_(arena),
      threads_(arena.threads()),
      shares_(std::make_unique<Share[]>(static_cast<std::size_t>(threads_))),
      isolated_(tbb::task_group_context::isolated),
      group_(isolated_) {}

void Crew::run(void (*body)(void*), void* context) {
  if (threads_ == 1) return body(context);
  offered_ = 0;
  const auto start = std::chrono::steady_clock::now();
  if (sharing_.shares()) {
    // An arena without a free place hands the run to another thread, and orders what either does before and
    // after; said here too, race detectors that do not see into it know.
    handed_.store(true, std::memory_order_release);
    arena_.get().execute([&] {
      (void)handed_.load(std::memory_order_acquire);
      // Waiting for its helpers at the end, the caller must not get into another session's run.
      tbb::this_task_arena::isolate([&] { run_in_arena(body, context); });
      handed_.store(false, std::memory_order_release);
    });
    (void)handed_.load(std::memory_order_acquire);
  } else {
    body(context);
  }
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
  sharing_.ran(offered_, took.count());
}

/// A run: sends the helpers away when the body has returned or thrown.
class Crew::Open {
 public:
  explicit Open(Crew& crew) noexcept : crew_(crew) {
    running.fetch_add(1, std::memory_order_relaxed);
    crew_.caller_ = tbb::this_task_arena::current_thread_index();
    crew_.shared_ = true;
    crew_.alone_ = 0;
    crew_.met_.store(false, std::memory_order_relaxed);
    crew_.processor_.store(current_processor(), std::memory_order_relaxed);
    crew_.open_.store(true, std::memory_order_relaxed);
  }
  ~Open() {
    crew_.shared_ = false;
    crew_.busy_.store(false, std::memory_order_relaxed);
    crew_.open_.store(false, std::memory_order_relaxed);
    if (std::exchange(crew_.invited_, false)) crew_.group_.wait();
    (void)crew_.helpers_.load(std::memory_order_acquire);
    running.fetch_sub(1, std::memory_order_relaxed);
  }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;

 private:
  Crew& crew_;
};

void Crew::run_in_arena(void (*body)(void*), void* context) {
  const FlushSubnormals flush;  // an arena without a free place hands the run to a thread of its own
  const Open open(*this);
  body(context);
}

void Crew::invite() {
  static const int processors = available_processors();
  while (helpers_.load(std::memory_order_relaxed) < threads_ - 1) {
    if (running.fetch_add(1, std::memory_order_relaxed) >= processors) {
      running.fetch_sub(1, std::memory_order_relaxed);
      return;
    }
    // The scheduler orders what comes before the invitation and what follows it; said here too, race
    // detectors that do not see into it know.
    helpers_.fetch_add(1, std::memory_order_release);
    invited_ = true;
    group_.run([this] { help(); });
  }
}

void Crew::help() noexcept {
  (void)helpers_.load(std::memory_order_acquire);
  const int worker = tbb::this_task_arena::current_thread_index();
  // The caller itself comes here when it waits for helpers that nobody else became.
  const bool comes = open_.load(std::memory_order_relaxed) && worker != caller_ && worker < threads_;
  if (comes && leave_processor(processor_.load(std::memory_order_relaxed))) {
    met_.store(true, std::memory_order_relaxed);
    const FlushSubnormals flush;
    Share& own = shares_[static_cast<std::size_t>(worker)];
    finish(take_tasks(worker));
    for (int looks = 0; looks < kHelperPatience; ++looks) {
      // Looking is claiming: the task comes with the same exchange that tells of it.
      if (take_task(own, worker)) {
        finish(1 + take_tasks(worker));
        looks = 0;
      } else if (open_.load(std::memory_order_relaxed)) {
        relax();
      } else {
        break;
      }
    }
  }
  running.fetch_sub(1, std::memory_order_relaxed);
  helpers_.fetch_sub(1, std::memory_order_release);
}

bool Crew::take_task(Share& share, int worker) noexcept {
  const std::uint64_t word = share.claim.fetch_add(1, std::memory_order_acquire);
  if (next_of(word) >= end_of(word)) return false;
  share.function.load(std::memory_order_relaxed)(share.context.load(std::memory_order_relaxed), next_of(word),
                                                 worker);
  return true;
}

std::int64_t Crew::take_tasks(int worker) noexcept {
  std::int64_t done = 0;
  for (int k = 0; k < threads_; ++k) {
    Share& share =
        shares_[static_cast<std::size_t>(worker + k < threads_ ? worker + k : worker + k - threads_)];
    const auto left = [&share] {
      const std::uint64_t word = share.claim.load(std::memory_order_relaxed);
      return next_of(word) < end_of(word);
    };
    while (left() && take_task(share, worker)) ++done;
  }
  return done;
}

void Crew::finish(std::int64_t tasks) noexcept {
  if (tasks != 0) finished_.fetch_add(tasks, std::memory_order_release);
}

void Crew::dispatch(std::int64_t tasks, std::int64_t work, TaskFunction function, void* context) {
  constexpr std::int64_t kMostTasks = std::numeric_limits<std::int32_t>::max();
  if (busy_.load(std::memory_order_relaxed)) {
    const int worker = tbb::this_task_arena::current_thread_index();
    for (std::int64_t task = 0; task < tasks; ++task) function(context, task, worker);
    return;
  }
  offered_ += work;
  if (!shared_ || tasks > kMostTasks) {
    for (std::int64_t task = 0; task < tasks; ++task) function(context, task, shared_ ? caller_ : 0);
    return;
  }
  busy_.store(true, std::memory_order_relaxed);
  const std::int64_t before = finished_.load(std::memory_order_relaxed);
  for (int k = 0; k < threads_; ++k) {
    Share& share = shares_[static_cast<std::size_t>(k)];
    share.function.store(function, std::memory_order_relaxed);
    share.context.store(context, std::memory_order_relaxed);
    share.claim.store(share_word(tasks * k / threads_, tasks * (k + 1) / threads_),
                      std::memory_order_release);
  }
  invite();
  if (!met_.load(std::memory_order_relaxed) && makes_way(++alone_)) std::this_thread::yield();
  const std::int64_t others = tasks - take_tasks(caller_);
  for (int looks = 0; finished_.load(std::memory_order_acquire) - before != others; ++looks) {
    if (looks < kCallerPatience) relax();
    else std::this_thread::yield();
  }
  busy_.store(false, std::memory_order_relaxed);
}

}  // namespace ember::runtime
