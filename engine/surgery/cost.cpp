#include "surgery/cost.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>

#include <ember/session.hpp>

#include "kernels/table.hpp"
#include "simd/isa.hpp"

namespace ember::surgery {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLeastSpan = 0.3;  ///< milliseconds between two looks at the clock
constexpr double kBudget = 400.0;   ///< milliseconds per model
constexpr int kMostTurns = 60;
constexpr int kLeastTurns = 5;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Runs `times` times; milliseconds per run.
double run(Session& session, int times) {
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < times; ++i) session.run();
  return milliseconds_since(start) / times;
}

}  // namespace

ModelCost cost_of(const Model& model, int threads) {
  const ModelInfo info = model.info();
  const Session session(model, {.threads = threads});
  return {.parameters = info.parameters,
          .parameter_bytes = info.parameter_bytes,
          .activation_bytes = static_cast<std::int64_t>(session.arena_bytes()),
          .flops = session.flops()};
}

std::vector<double> measure(std::span<const Model> models, int threads) {
  std::vector<Session> sessions;
  std::vector<int> times;
  double slowest = 0.0;
  for (const Model& model : models) {
    Session& session = sessions.emplace_back(model, SessionOptions{.threads = threads});
    run(session, 1);
    const double once = std::max(run(session, 1), 1e-6);
    slowest = std::max(slowest, once);
    times.push_back(std::clamp(static_cast<int>(kLeastSpan / once), 1, 10000));
  }
  const int turns =
      std::clamp(static_cast<int>(kBudget / std::max(slowest, kLeastSpan)), kLeastTurns, kMostTurns);
  std::vector<double> least(models.size(), std::numeric_limits<double>::infinity());
  for (int turn = 0; turn < turns; ++turn) {
    for (std::size_t i = 0; i < sessions.size(); ++i)
      least[i] = std::min(least[i], run(sessions[i], times[i]));
  }
  return least;
}

std::int64_t vector_width() { return kernels::table(simd::choose_isa()).block; }

}  // namespace ember::surgery
