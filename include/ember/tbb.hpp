#pragma once

#include <memory>

#include <oneapi/tbb/task_arena.h>

#include <ember/session.hpp>

namespace ember {

/// Makes sessions run in `arena`, which the caller keeps alive. Several sessions may share it.
std::shared_ptr<ThreadArena> use_arena(tbb::task_arena& arena);

}  // namespace ember
