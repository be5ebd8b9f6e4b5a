#include "runtime/crew.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ember/session.hpp>
#include <ember/tbb.hpp>

#include "support/graph_builder.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using runtime::Crew;

namespace {

constexpr std::int64_t kLong = 1'000'000;  ///< nanoseconds: always worth sharing

/// Every task of many loops is done exactly once, by a worker below threads().
void count_tasks(Crew& crew, int loops) {
  std::vector<std::atomic<int>> done(1000);
  for (int loop = 0; loop < loops; ++loop) {
    for (const std::int64_t tasks : {2, 3, 7, 64, 1000}) {
      for (auto& count : done) count = 0;
      std::atomic<int> strangers{0};
      crew.for_each(tasks, kLong, [&](std::int64_t task, int worker) {
        ++done[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= crew.threads()) ++strangers;
      });
      int wrong = strangers;
      for (std::int64_t task = 0; task < 1000; ++task)
        wrong += done[static_cast<std::size_t>(task)] != (task < tasks ? 1 : 0);
      REQUIRE(wrong == 0);
    }
  }
}

Model convolutional() {
  test::GraphBuilder b;
  auto x = b.input("x", DataType::Float32, {-1, 16, 24, 24});
  for (int layer = 0; layer < 4; ++layer) {
    const std::string number = std::to_string(layer);
    const auto w =
        b.constant("w" + number, test::random_tensor({16, 16, 3, 3}, static_cast<std::uint64_t>(layer)));
    x = b.op("Conv", "conv" + number, {x, w}, {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
    x = b.op("Relu", "relu" + number, {x});
  }
  b.output(b.op("GlobalAveragePool", "y", {x}));
  return Model(std::make_shared<const graph::Graph>(b.graph()));
}

Tensor run_once(Session& session, const Tensor& x) { return session.run({{"x", x}}).at("y"); }

/// `callers` threads run their own session of one model many times; all must give `expected`.
int wrong_results(const Model& model, const SessionOptions& options, int callers, const Tensor& x,
                  const Tensor& expected) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&] {
      Session session(model, options);
      session.reshape({{"x", x.shape()}});
      session.input("x").copy_from<float>(x.data<float>());
      for (int run = 0; run < 50; ++run) {
        session.run();
        const ConstTensorView y = session.output("y");
        wrong += y.bytes() != expected.bytes() || std::memcmp(y.raw(), expected.raw(), y.bytes()) != 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

}  // namespace

TEST_CASE("a crew does every task once, run after run") {
  for (const int threads : {1, 2, 4}) {
    ThreadArena arena(threads);
    Crew crew(arena);
    CHECK(crew.threads() == threads);
    for (int run = 0; run < 20; ++run) crew.run([&] { count_tasks(crew, 3); });
  }
}

TEST_CASE("what one loop writes the next one reads, whoever runs it") {
  ThreadArena arena(2);
  Crew crew(arena);
  constexpr std::size_t kCount = 64;
  std::vector<std::int64_t> from(kCount), to(kCount);
  int wrong = 0;
  for (int run = 0; run < 50; ++run) {
    from.assign(kCount, run);
    crew.run([&] {
      for (int loop = 0; loop < 100; ++loop) {
        crew.for_each(kCount, kLong, [&](std::int64_t task, int) {
          const auto at = static_cast<std::size_t>(task);
          to[at] = from[(at + 31) % kCount] + 1;  // made by the other worker, if there is one
        });
        std::swap(from, to);
      }
    });
    for (const std::int64_t value : from) wrong += value != run + 100;
  }
  CHECK(wrong == 0);
}

TEST_CASE("a loop inside a loop runs where it is") {
  ThreadArena arena(2);
  Crew crew(arena);
  std::atomic<int> inner{0}, moved{0};
  crew.run([&] {
    crew.for_each(8, kLong, [&](std::int64_t, int worker) {
      crew.for_each(5, kLong, [&](std::int64_t, int same) {
        ++inner;
        moved += same != worker;
      });
    });
  });
  CHECK(inner == 40);
  CHECK(moved == 0);
}

TEST_CASE("what a run throws comes out, and the crew works on") {
  ThreadArena arena(2);
  Crew crew(arena);
  for (int run = 0; run < 5; ++run) {
    CHECK_THROWS_AS(crew.run([&] {
      count_tasks(crew, 1);
      throw std::runtime_error("stop");
    }),
                    std::runtime_error);
    crew.run([&] { count_tasks(crew, 1); });
  }
}

TEST_CASE("runs without much to share stay with the caller until they grow") {
  ThreadArena arena(2);
  Crew crew(arena);
  const std::thread::id self = std::this_thread::get_id();
  for (int run = 0; run < 3; ++run) {
    std::atomic<int> elsewhere{0};
    crew.run([&] {
      crew.for_each(4, 2000, [&](std::int64_t, int) { elsewhere += std::this_thread::get_id() != self; });
    });
    if (run > 0) CHECK(elsewhere == 0);  // the first run cannot know
  }
  crew.run([&] { count_tasks(crew, 1); });
  crew.run([&] { count_tasks(crew, 1); });
}

TEST_CASE("an arena without a worker to spare, and a crew within another's loop, do not block") {
  tbb::task_arena one(1);
  ThreadArena borrowed(one);
  Crew alone(borrowed);
  alone.run([&] { count_tasks(alone, 2); });

  ThreadArena arena(2);
  Crew outer(arena);
  Crew first(arena), second(arena);
  outer.run([&] {
    outer.for_each(2, kLong, [&](std::int64_t task, int) {
      Crew& own = task == 0 ? first : second;
      own.run([&] { count_tasks(own, 2); });
    });
  });
}

TEST_CASE("sessions on threads of their own give the same bits: one thread each") {
  const Model model = convolutional();
  const Tensor x = test::random_tensor({1, 16, 24, 24}, 7);
  Session single(model);
  CHECK(wrong_results(model, {.threads = 1}, 4, x, run_once(single, x)) == 0);
}

TEST_CASE(
    "sessions on threads of their own give the same bits: two threads each, own arenas and a shared one") {
  const Model model = convolutional();
  Session single(model);
  for (const std::int64_t batch : {1, 6}) {
    const Tensor x = test::random_tensor({batch, 16, 24, 24}, 7);
    const Tensor expected = run_once(single, x);
    CHECK(wrong_results(model, {.threads = 2}, 3, x, expected) == 0);
    tbb::task_arena arena(2);
    CHECK(wrong_results(model, {.arena = use_arena(arena)}, 2, x, expected) == 0);
    // More callers than the arena has places for.
    CHECK(wrong_results(model, {.arena = use_arena(arena)}, 4, x, expected) == 0);
  }
}

TEST_CASE("a session run from a task of the arena that it borrows") {
  const Model model = convolutional();
  const Tensor x = test::random_tensor({1, 16, 24, 24}, 7);
  Session single(model);
  const Tensor expected = run_once(single, x);
  tbb::task_arena arena(2);
  Session session(model, {.arena = use_arena(arena)});
  int wrong = 0;
  for (int run = 0; run < 20; ++run) {
    arena.execute([&] {
      const Tensor y = run_once(session, x);
      wrong += std::memcmp(y.raw(), expected.raw(), y.bytes()) != 0;
    });
  }
  CHECK(wrong == 0);
}
