#include "ops/type_set.hpp"

#include <fmt/format.h>

namespace ember::ops {

bool contains(TypeSet set, DataType type) noexcept {
  const bool is_unsigned = type == DataType::UInt8 || type == DataType::UInt16 || type == DataType::UInt32 ||
                           type == DataType::UInt64;
  const bool is_signed_integer =
      type == DataType::Int8 || type == DataType::Int16 || type == DataType::Int32 || type == DataType::Int64;
  switch (set) {
    case TypeSet::Floating: return is_floating(type);
    case TypeSet::Numeric: return type != DataType::Bool && type != DataType::Undefined;
    case TypeSet::Signed: return is_floating(type) || is_signed_integer;
    case TypeSet::Integer: return is_unsigned || is_signed_integer;
    case TypeSet::Unsigned: return is_unsigned;
    case TypeSet::Bool: return type == DataType::Bool;
    case TypeSet::Any: return type != DataType::Undefined;
  }
  return false;
}

void require_type(const InferContext& context, int i, TypeSet set) {
  context.require(contains(set, context.type(i)),
                  fmt::format("input {} may not be {}", i, to_string(context.type(i))));
}

void require_same_type(const InferContext& context, int i, int j) {
  context.require(context.type(i) == context.type(j),
                  fmt::format("inputs {} and {} differ in type: {} and {}", i, j, to_string(context.type(i)),
                              to_string(context.type(j))));
}

}  // namespace ember::ops
