#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include <ember/tensor.hpp>

#include "ops/op.hpp"

namespace ember::ops {

/// The type a reference computes T in: halves and floats in double, integers and bool as they are.
template <class T>
using Wide =
    std::conditional_t<std::is_same_v<T, float> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat>,
                       double, T>;

template <class T>
[[nodiscard]] constexpr Wide<T> widen(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat>) return static_cast<float>(value);
  else return value;
}

/// Back to T, rounding once (halves round through float, as hardware does).
template <class T>
[[nodiscard]] constexpr T narrow(Wide<T> value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat>) return T(static_cast<float>(value));
  else return static_cast<T>(value);
}

/// Calls f(T{}) for the element type. Throws Error (Internal) for Undefined.
template <class F>
decltype(auto) dispatch_type(DataType type, F&& f) {
  switch (type) {
    case DataType::Float32: return f(float{});
    case DataType::Float64: return f(double{});
    case DataType::Float16: return f(Half{});
    case DataType::BFloat16: return f(BFloat{});
    case DataType::Int8: return f(std::int8_t{});
    case DataType::Int16: return f(std::int16_t{});
    case DataType::Int32: return f(std::int32_t{});
    case DataType::Int64: return f(std::int64_t{});
    case DataType::UInt8: return f(std::uint8_t{});
    case DataType::UInt16: return f(std::uint16_t{});
    case DataType::UInt32: return f(std::uint32_t{});
    case DataType::UInt64: return f(std::uint64_t{});
    case DataType::Bool: return f(bool{});
    case DataType::Undefined: break;
  }
  throw Error(ErrorCode::Internal, "a tensor has no element type");
}

/// The same for a node: unsupported types fail by name.
template <class F>
decltype(auto) dispatch_any(const NodeContext& node, DataType type, F&& f) {
  if (type == DataType::Undefined) {
    node.fail(ErrorCode::Unsupported, std::string("element type ") + to_string(type));
  }
  return dispatch_type(type, std::forward<F>(f));
}

/// Floating types only.
template <class F>
decltype(auto) dispatch_floating(const NodeContext& node, DataType type, F&& f) {
  switch (type) {
    case DataType::Float32: return f(float{});
    case DataType::Float64: return f(double{});
    case DataType::Float16: return f(Half{});
    case DataType::BFloat16: return f(BFloat{});
    default: break;
  }
  node.fail(ErrorCode::Unsupported, std::string("element type ") + to_string(type));
}

/// Every type but Bool.
template <class F>
decltype(auto) dispatch_numeric(const NodeContext& node, DataType type, F&& f) {
  if (type == DataType::Bool) node.fail(ErrorCode::Unsupported, "element type bool");
  return dispatch_any(node, type, [&](auto zero) {
    if constexpr (!std::is_same_v<decltype(zero), bool>) f(zero);
  });
}

/// Element types by size only, for operators that merely move data: f is called with an unsigned
/// integer of as many bytes.
template <class F>
void dispatch_by_size(std::size_t bytes, F&& f) {
  switch (bytes) {
    case 1: f(std::uint8_t{}); break;
    case 2: f(std::uint16_t{}); break;
    case 4: f(std::uint32_t{}); break;
    default: f(std::uint64_t{}); break;
  }
}

/// The elements of a view as raw words of its element size.
template <class Word>
const Word* words(const ConstTensorView& view) {
  return static_cast<const Word*>(view.raw());
}
template <class Word>
Word* words(const TensorView& view) {
  return static_cast<Word*>(view.raw());
}

}  // namespace ember::ops
