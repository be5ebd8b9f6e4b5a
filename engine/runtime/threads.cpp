#include "runtime/threads.hpp"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>

#include <ember/tbb.hpp>

#include "core/subnormals.hpp"

namespace ember {

std::shared_ptr<ThreadArena> use_arena(tbb::task_arena& arena) {
  return std::make_shared<ThreadArena>(arena);
}

namespace runtime {

void ArenaParallel::dispatch(std::int64_t tasks, std::int64_t /*work*/, TaskFunction function,
                             void* context) {
  // A static partition gives every worker the same tasks in every run, so a layer finds in its cache
  // what the layer before left there.
  tbb::parallel_for(
      tbb::blocked_range<std::int64_t>(0, tasks),
      [=](const tbb::blocked_range<std::int64_t>& range) {
        const FlushSubnormals flush;
        const int worker = tbb::this_task_arena::current_thread_index();
        for (std::int64_t task = range.begin(); task < range.end(); ++task) function(context, task, worker);
      },
      tbb::static_partitioner());
}

int available_processors() { return tbb::info::default_concurrency(); }

}  // namespace runtime
}  // namespace ember
