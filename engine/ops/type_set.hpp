#pragma once

#include <cstdint>

#include "ops/op.hpp"

namespace ember::ops {

/// Groups of element types that operators accept.
enum class TypeSet : std::uint8_t { Floating, Numeric, Signed, Integer, Unsigned, Bool, Any };

[[nodiscard]] bool contains(TypeSet set, DataType type) noexcept;

/// Fails (InvalidModel) unless input i is of a type in the set.
void require_type(const InferContext& context, int i, TypeSet set);
/// Fails (InvalidModel) unless inputs i and j have the same type.
void require_same_type(const InferContext& context, int i, int j);

}  // namespace ember::ops
