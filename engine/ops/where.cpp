#include "ops/broadcast_walk.hpp"
#include "ops/registry.hpp"
#include "ops/type_set.hpp"
#include "ops/typed.hpp"

// Where: condition ? x : y, all three broadcast together.

namespace ember::ops {

namespace {

void infer_where(InferContext& c) {
  require_type(c, 0, TypeSet::Bool);
  require_same_type(c, 1, 2);
  c.set_output(0, c.type(1), broadcast(c, broadcast(c, c.shape(0), c.shape(1)), c.shape(2)));
}

void reference_where(EvalContext& c) {
  const auto condition = c.input(0).data<bool>();
  const TensorView out = c.output(0);
  dispatch_by_size(size_of(out.type()), [&](auto zero) {
    using Word = decltype(zero);
    const Word* x = words<Word>(c.input(1));
    const Word* y = words<Word>(c.input(2));
    Word* to = words<Word>(out);
    BroadcastWalk walk(out.shape(), {c.input(0).shape(), c.input(1).shape(), c.input(2).shape()});
    for (std::int64_t i = 0; i < out.elements(); ++i) {
      to[i] = condition[static_cast<std::size_t>(walk.offset(0))] ? x[walk.offset(1)] : y[walk.offset(2)];
      walk.next();
    }
  });
}

}  // namespace

void add_where_operator(OperatorList& list) {
  list.push_back({.name = "Where", .versions = {9, 16}, .infer = infer_where, .reference = reference_where});
}

}  // namespace ember::ops
