#include <algorithm>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/table.hpp"
#include "ops/strided_copy.hpp"

// Gather by constant indices. Computed ones have to be checked at run time, where a step cannot complain.

namespace ember::ops {

namespace {

/// Rows of `run` elements picked out of an axis.
class GatherStep final : public Step {
 public:
  GatherStep(std::shared_ptr<const Tensor> constant, std::vector<std::int64_t> picks, std::int64_t outer,
             std::int64_t extent, std::int64_t run, DataType type, const kernels::KernelTable& kernels)
      : constant_(std::move(constant)),
        picks_(std::move(picks)),
        outer_(outer),
        extent_(extent),
        row_{.rows = 1, .columns = run, .from_column = 1, .to_column = 1},
        row_bytes_(run * static_cast<std::int64_t>(size_of(type))),
        copy_(kernels.movement->copy[std::countr_zero(size_of(type))]) {}

  void run(const StepContext& context) const override {
    const auto* from =
        static_cast<const std::byte*>(constant_ != nullptr ? constant_->raw() : context.inputs[0]);
    auto* to = static_cast<std::byte*>(context.outputs[0]);
    const auto count = static_cast<std::int64_t>(picks_.size());
    const std::int64_t rows = outer_ * count;
    const std::int64_t per_task = std::max<std::int64_t>(65536 / std::max<std::int64_t>(row_bytes_, 1), 1);
    const std::int64_t work = rows * (row_bytes_ / 8 + 2);
    context.parallel.for_each((rows + per_task - 1) / per_task, work, [&](std::int64_t task, int) {
      const std::int64_t last = std::min((task + 1) * per_task, rows);
      for (std::int64_t row = task * per_task; row < last; ++row) {
        const std::int64_t source = row / count * extent_ + picks_[static_cast<std::size_t>(row % count)];
        copy_(from + source * row_bytes_, to + row * row_bytes_, row_);
      }
    });
  }

 private:
  std::shared_ptr<const Tensor> constant_;
  std::vector<std::int64_t> picks_;
  std::int64_t outer_, extent_;
  kernels::Plane row_;
  std::int64_t row_bytes_;
  kernels::PlaneMove copy_;
};

/// The indices in [0, extent), or nullopt when one is outside (the reference says which).
std::optional<std::vector<std::int64_t>> picks_of(const Tensor& indices, std::int64_t extent) {
  std::vector<std::int64_t> picks = integers_of(indices);
  for (std::int64_t& pick : picks) {
    if (pick < -extent || pick >= extent) return std::nullopt;
    if (pick < 0) pick += extent;
  }
  return picks;
}

/// The distance between neighbours when it is always the same.
std::optional<std::int64_t> common_step(const std::vector<std::int64_t>& picks) {
  if (picks.size() < 2) return 1;
  const std::int64_t step = picks[1] - picks[0];
  for (std::size_t i = 2; i < picks.size(); ++i) {
    if (picks[i] - picks[i - 1] != step) return std::nullopt;
  }
  return step;
}

LowerResult consider_gather(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  if (c.constants[1] == nullptr) return Refusal{"the indices are not constant"};
  const Shape& data = c.inputs[0].shape;
  const int axis = normalize_axis(c, c.integer("axis", 0), data.rank());
  const std::int64_t extent = data[axis];
  auto picks = picks_of(*c.constants[1], extent);
  if (!picks) return Refusal{"an index is out of range"};
  const std::int64_t outer = data.elements(0, axis);
  const std::int64_t run = data.elements(axis + 1, data.rank());
  const auto count = static_cast<std::int64_t>(picks->size());
  const auto step = common_step(*picks);
  if (!step || count == 0) {
    return Lowered{.step = std::make_unique<GatherStep>(shared_constant(c, 0), *std::move(picks), outer,
                                                        extent, run, c.inputs[0].type, c.kernels())};
  }
  BoxCopy box{.axes = {{outer, extent * run, count * run}, {count, *step * run, run}, {run, 1, 1}},
              .from_offset = picks->front() * run};
  return lower_box(c, std::move(box), Layout::Plain, Layout::Plain);
}

}  // namespace

void add_gather_candidates(CandidateMap& map) {
  map["Gather"].push_back({.implementation = "gather_rows", .consider = consider_gather});
}

}  // namespace ember::ops
