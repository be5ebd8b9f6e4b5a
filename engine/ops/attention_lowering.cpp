#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/aligned_memory.hpp"
#include "kernels/gemm.hpp"
#include "kernels/softmax.hpp"
#include "kernels/table.hpp"
#include "ops/product_lowering.hpp"

// FusedAttention (see plan/merge_attention.cpp): softmax(query · key · scale + mask) · value, some rows at a
// time, so that their scores never leave the cache.

namespace ember::ops {

namespace {

/// Distances in floats along batch, head, row and column; 0 where an operand repeats.
using Strides = std::array<std::int64_t, 4>;

struct AttentionPlan {
  std::int64_t batch = 0, heads = 0, rows = 0, depth = 0, keys = 0, width = 0;
  Strides query{}, key{}, value{}, mask{}, output{};
  bool masked = false;
  PackedWeights constant_mask;  ///< null: the step's last input
  float scale = 1;
};

class AttentionStep final : public Step {
 public:
  AttentionStep(AttentionPlan plan, const kernels::KernelTable& table)
      : plan_(std::move(plan)), gemm_(table.gemm), softmax_(table.softmax) {
    const std::int64_t columns = gemm_->tile.columns;
    key_tiles_ = ceil_div(plan_.keys, columns);
    value_tiles_ = ceil_div(plan_.width, columns);
    score_row_ = key_tiles_ * columns;
    packed_key_ = score_row_ * plan_.depth;
    packed_head_ = packed_key_ + value_tiles_ * columns * plan_.keys;
    heads_ = plan_.batch * plan_.heads;
    together_ = std::clamp<std::int64_t>(kPackedFloats / packed_head_, 1, heads_);
    // Scores of a block, and the packed key they come from, stay in the second-level cache.
    const std::int64_t tile = gemm_->tile.rows;
    blocks_ = Chunks(plan_.rows, std::clamp<std::int64_t>(kScoreFloats / score_row_, tile, 4 * tile), tile);
    work_per_head_ = 2 * plan_.rows * plan_.keys * (plan_.depth + plan_.width + 16) / 100;
  }

  [[nodiscard]] std::size_t scratch_bytes(int workers) const override {
    return floats(together_ * packed_head_) + static_cast<std::size_t>(workers) * worker_bytes();
  }

  void run(const StepContext& context) const override {
    auto* packed = reinterpret_cast<float*>(context.scratch);
    std::byte* own = context.scratch + floats(together_ * packed_head_);
    const std::int64_t parts = blocks_.parts();
    for (std::int64_t first = 0; first < heads_; first += together_) {
      const std::int64_t count = std::min(together_, heads_ - first);
      context.parallel.for_each(2 * count, count * packed_head_ / 4, [&](std::int64_t task, int) {
        pack(context, first + task / 2, task % 2 == 0, packed + task / 2 * packed_head_);
      });
      context.parallel.for_each(count * parts, count * work_per_head_, [&](std::int64_t task, int worker) {
        auto* scores = reinterpret_cast<float*>(own + static_cast<std::size_t>(worker) * worker_bytes());
        attend(context, first + task / parts, task % parts, packed + task / parts * packed_head_, scores);
      });
    }
  }

 private:
  /// Packed keys and values of several heads at once: as much as the second-level cache holds next to scores.
  static constexpr std::int64_t kPackedFloats = 128 * 1024;
  static constexpr std::int64_t kScoreFloats = 16 * 1024;

  static std::size_t floats(std::int64_t count) {
    return align_up(static_cast<std::size_t>(count) * sizeof(float));
  }
  [[nodiscard]] std::size_t worker_bytes() const {
    return floats(blocks_.chunk * score_row_) + floats(blocks_.chunk);
  }
  [[nodiscard]] std::int64_t start(const Strides& strides, std::int64_t head) const {
    return head / plan_.heads * strides[0] + head % plan_.heads * strides[1];
  }

  void pack(const StepContext& context, std::int64_t head, bool key, float* to) const {
    const auto* from = static_cast<const float*>(context.inputs[key ? 1 : 2]);
    const Strides& strides = key ? plan_.key : plan_.value;
    const kernels::PackSource source{.b = from + start(strides, head),
                                     .row_step = strides[2],
                                     .column_step = strides[3],
                                     .scale = key ? plan_.scale : 1.0F};
    if (key) gemm_->pack(source, plan_.depth, plan_.keys, to, 0, key_tiles_);
    else gemm_->pack(source, plan_.keys, plan_.width, to + packed_key_, 0, value_tiles_);
  }

  void attend(const StepContext& context, std::int64_t head, std::int64_t part, const float* packed,
              float* scores) const {
    const std::int64_t first = blocks_.begin(part);
    const std::int64_t rows = blocks_.end(part) - first;
    kernels::GemmJob job{.m = rows, .n = score_row_, .k = plan_.depth};
    job.a = static_cast<const float*>(context.inputs[0]) + start(plan_.query, head) + first * plan_.query[2];
    job.a_row = plan_.query[2];
    job.b = packed;
    job.c = scores;
    job.c_row = score_row_;
    gemm_->run(job, 0, rows, 0, key_tiles_);

    auto* inverse =
        reinterpret_cast<float*>(reinterpret_cast<std::byte*>(scores) + floats(blocks_.chunk * score_row_));
    const float* mask = nullptr;
    if (plan_.masked) {
      mask = plan_.constant_mask ? plan_.constant_mask.get() : static_cast<const float*>(context.inputs[3]);
      mask += start(plan_.mask, head) + first * plan_.mask[2];
    }
    softmax_->weights(scores, rows, plan_.keys, score_row_, mask, plan_.mask[2], inverse);

    job.n = plan_.width;
    job.k = plan_.keys;
    job.a = scores;
    job.a_row = score_row_;
    job.b = packed + packed_key_;
    job.c = static_cast<float*>(context.outputs[0]) + start(plan_.output, head) + first * plan_.output[2];
    job.c_row = plan_.output[2];
    gemm_->run(job, 0, rows, 0, value_tiles_);
    softmax_->scale_rows(job.c, rows, plan_.width, job.c_row, inverse);
  }

  AttentionPlan plan_;
  const kernels::GemmKernels* gemm_;
  const kernels::SoftmaxKernels* softmax_;
  std::int64_t key_tiles_ = 0, value_tiles_ = 0, score_row_ = 0, packed_key_ = 0, packed_head_ = 0;
  std::int64_t heads_ = 0, together_ = 1, work_per_head_ = 0;
  Chunks blocks_;
};

struct Operand {
  Strides strides{};
  Strides extents{};
};

/// An operand whose batch, head, row and column are the axes listed in an attribute.
Operand operand(const LowerContext& c, const Shape& shape, const char* axes) {
  const std::vector<std::int64_t> order = c.integers(axes);
  Operand found;
  for (std::size_t i = 0; i < found.strides.size(); ++i) {
    const auto axis = static_cast<int>(order[i]);
    found.strides[i] = shape.elements(axis + 1, shape.rank());
    found.extents[i] = shape[axis];
  }
  return found;
}

LowerResult consider_attention(LowerContext& c) {
  const Operand query = operand(c, c.inputs[0].shape, "query_axes");
  const Operand key = operand(c, c.inputs[1].shape, "key_axes");
  const Operand value = operand(c, c.inputs[2].shape, "value_axes");
  AttentionPlan plan;
  plan.batch = query.extents[0];
  plan.heads = query.extents[1];
  plan.rows = query.extents[2];
  plan.depth = query.extents[3];
  plan.keys = key.extents[3];
  plan.width = value.extents[3];
  plan.query = query.strides;
  plan.key = key.strides;
  plan.value = value.strides;
  plan.output = operand(c, c.outputs[0].shape, "output_axes").strides;
  plan.scale = c.real("scale", 1.0F);
  plan.masked = c.has_input(3);
  if (plan.masked) {
    const Shape& shape = c.inputs[3].shape;
    std::int64_t stride = 1;
    for (int back = 1; back <= shape.rank(); ++back) {
      const std::int64_t extent = shape[shape.rank() - back];
      plan.mask[plan.mask.size() - static_cast<std::size_t>(back)] = extent == 1 ? 0 : stride;
      stride *= extent;
    }
    if (c.constants[3] != nullptr) plan.constant_mask = keep_constant(c, *c.constants[3], "plain");
  }
  Lowered lowered;
  lowered.step = std::make_unique<AttentionStep>(std::move(plan), c.kernels());
  return lowered;
}

}  // namespace

void add_attention_candidates(CandidateMap& map) {
  map["FusedAttention"].push_back({"attention_by_rows", consider_attention});
}

}  // namespace ember::ops
