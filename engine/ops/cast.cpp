#include "ops/cast.hpp"

#include <string>
#include <vector>

#include <fmt/format.h>

#include <ember/error.hpp>

#include "ops/movement.hpp"
#include "ops/registry.hpp"

namespace ember::ops {

namespace {

void check_cast(const NodeContext& c, std::vector<std::string>& reasons) {
  if (!c.has("to")) reasons.emplace_back("attribute 'to' is missing");
  else if (!type_from_onnx(c.integer("to", 0)))
    reasons.push_back(
        fmt::format("to type {} (strings, complex, 8-bit and 4-bit floats and 4-bit integers are not held)",
                    c.integer("to", 0)));
}

void infer_cast(InferContext& c) {
  const auto to = type_from_onnx(c.integer("to", 0));
  if (!to) c.fail(ErrorCode::Unsupported, fmt::format("to type {}", c.integer("to", 0)));
  c.set_output(0, *to, c.shape(0));
}

void infer_cast_like(InferContext& c) { c.set_output(0, c.type(1), c.shape(0)); }

void reference_cast(EvalContext& c) {
  const ConstTensorView& from = c.input(0);
  const TensorView& to = c.output(0);
  cast_function(c, from.type(), to.type())(from.raw(), to.raw(), from.elements());
}

template <class From, class To>
void cast_all(const void* from, void* to, std::int64_t count) {
  const auto* source = static_cast<const From*>(from);
  auto* target = static_cast<To*>(to);
  for (std::int64_t i = 0; i < count; ++i) target[i] = cast_element<To>(source[i]);
}

}  // namespace

CastFunction cast_function(const NodeContext& node, DataType from, DataType to) {
  return dispatch_any(node, from, [&](auto from_zero) {
    return dispatch_any(node, to, [&](auto to_zero) -> CastFunction {
      return cast_all<decltype(from_zero), decltype(to_zero)>;
    });
  });
}

void add_cast_operators(OperatorList& list) {
  list.push_back({.name = "Cast",
                  .versions = {6, 9, 13, 19, 21, 23, 24, 25, 28},
                  .check = check_cast,
                  .infer = infer_cast,
                  .reference = reference_cast});
  list.push_back({.name = "CastLike",
                  .versions = {15, 19, 21, 23, 24, 25},
                  .infer = infer_cast_like,
                  .reference = reference_cast});
}

}  // namespace ember::ops
