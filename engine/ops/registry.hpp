#pragma once

#include <vector>

#include "ops/op.hpp"

namespace ember::ops {

/// Each operator family adds its operators. To add a family: declare it here and call it in
/// registry.cpp.
using OperatorList = std::vector<Operator>;

}  // namespace ember::ops
