#include <algorithm>
#include <utility>

#include "ops/cast.hpp"
#include "ops/strided_copy.hpp"

namespace ember::ops {

namespace {

class CastStep final : public Step {
 public:
  CastStep(std::shared_ptr<const Tensor> constant, CastFunction cast, const TensorDesc& from,
           const TensorDesc& to)
      : constant_(std::move(constant)),
        cast_(cast),
        count_(from.shape.elements()),
        from_size_(size_of(from.type)),
        to_size_(size_of(to.type)) {}

  void run(const StepContext& context) const override {
    const auto* from =
        static_cast<const std::byte*>(constant_ != nullptr ? constant_->raw() : context.inputs[0]);
    auto* to = static_cast<std::byte*>(context.outputs[0]);
    constexpr std::int64_t kChunk = 8192;
    context.parallel.for_each((count_ + kChunk - 1) / kChunk, count_, [&](std::int64_t task, int) {
      const std::int64_t first = task * kChunk;
      const auto at = static_cast<std::size_t>(first);
      cast_(from + at * from_size_, to + at * to_size_, std::min(kChunk, count_ - first));
    });
  }

 private:
  std::shared_ptr<const Tensor> constant_;
  CastFunction cast_;
  std::int64_t count_;
  std::size_t from_size_, to_size_;
};

LowerResult consider_cast(LowerContext& c) {
  if (auto refusal = refuse_epilogue(c)) return *std::move(refusal);
  const CastFunction cast = cast_function(c, c.inputs[0].type, c.outputs[0].type);
  return Lowered{.step = std::make_unique<CastStep>(shared_constant(c, 0), cast, c.inputs[0], c.outputs[0])};
}

}  // namespace

void add_cast_candidates(CandidateMap& map) {
  for (const char* op : {"Cast", "CastLike"})
    map[op].push_back({.implementation = "cast_loop", .consider = consider_cast});
}

}  // namespace ember::ops
