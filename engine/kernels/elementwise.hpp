#pragma once

#include <cstdint>

#include "kernels/activation.hpp"

namespace ember::kernels {

enum class BinaryOp : std::uint8_t { Add, Sub, Mul, Div, Min, Max, Pow };
enum class CompareOp : std::uint8_t { Equal, Greater, GreaterOrEqual, Less, LessOrEqual };
enum class LogicOp : std::uint8_t { And, Or, Xor };
enum class UnaryOp : std::uint8_t {
  Neg,
  Abs,
  Sign,
  Sqrt,
  Exp,
  Log,
  Floor,
  Ceil,
  Round,  ///< halves to even
  Reciprocal,
  Square,
  Cube,
  PowHalf,  ///< x^(1/2), which unlike Sqrt is +inf at -inf
  Sin,
  Cos,
  Tan,
  Asin,
  Acos,
  Atan,
  Sinh,
  Cosh,
  Asinh,
  Acosh,
  Atanh,
  Erf,
};

/// A piece of an element-wise operation: `rows` rows of `width` elements. The result's rows follow each
/// other without a gap; those of operand i are row_step[i] elements apart, and a row that `repeats` is one
/// element for the whole row. The result may be the very memory of an operand that does not repeat.
struct Tile {
  const void* in[3] = {};
  void* out = nullptr;
  std::int64_t rows = 1;
  std::int64_t width = 0;
  std::int64_t row_step[3] = {};
  bool repeats[3] = {};
};

/// Element-wise operations. Every element has the same bits wherever it lies in a tile.
struct ElementwiseKernels {
  /// float × float → float, the activation applied (without PRelu slopes per channel).
  void (*binary)(BinaryOp op, const Tile& tile, const Activation& activation);
  /// float × float → bool
  void (*compare)(CompareOp op, const Tile& tile);
  /// bool × bool → bool
  void (*logic)(LogicOp op, const Tile& tile);
  /// bool ? float : float
  void (*where)(const Tile& tile);
  /// n contiguous floats; x == y is allowed.
  void (*unary)(UnaryOp op, const float* x, float* y, std::int64_t n);
  void (*logical_not)(const unsigned char* x, unsigned char* y, std::int64_t n);
  /// y = x factor
  void (*scale)(const float* x, float* y, std::int64_t n, float factor);
};

}  // namespace ember::kernels
