#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <ember/error.hpp>

namespace ember {

/// Element types of tensors. Half types are 16-bit storage; ember computes them in float32.
enum class DataType : std::uint8_t {
  Undefined,
  Float32,
  Float64,
  Float16,
  BFloat16,
  Int8,
  Int16,
  Int32,
  Int64,
  UInt8,
  UInt16,
  UInt32,
  UInt64,
  Bool,
};

/// Bytes per element; 0 for Undefined.
std::size_t size_of(DataType type) noexcept;
/// "float32", "int64", … as NumPy spells them ("bfloat16" for BFloat16).
const char* to_string(DataType type) noexcept;
[[nodiscard]] constexpr bool is_floating(DataType type) noexcept {
  return type == DataType::Float32 || type == DataType::Float64 || type == DataType::Float16 ||
         type == DataType::BFloat16;
}

/// 16-bit floats as storage only: convert to float to compute. Conversions round to nearest even.
struct Half {
  std::uint16_t bits = 0;
  Half() = default;
  explicit Half(float value) noexcept;
  explicit operator float() const noexcept;
};
struct BFloat {
  std::uint16_t bits = 0;
  BFloat() = default;
  explicit BFloat(float value) noexcept;
  explicit operator float() const noexcept;
};

/// The DataType of a C++ element type (DataType::Undefined for any other).
template <class T>
inline constexpr DataType data_type_of = [] {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, float>) return DataType::Float32;
  else if constexpr (std::is_same_v<U, double>) return DataType::Float64;
  else if constexpr (std::is_same_v<U, Half>) return DataType::Float16;
  else if constexpr (std::is_same_v<U, BFloat>) return DataType::BFloat16;
  else if constexpr (std::is_same_v<U, std::int8_t>) return DataType::Int8;
  else if constexpr (std::is_same_v<U, std::int16_t>) return DataType::Int16;
  else if constexpr (std::is_same_v<U, std::int32_t>) return DataType::Int32;
  else if constexpr (std::is_same_v<U, std::int64_t>) return DataType::Int64;
  else if constexpr (std::is_same_v<U, std::uint8_t>) return DataType::UInt8;
  else if constexpr (std::is_same_v<U, std::uint16_t>) return DataType::UInt16;
  else if constexpr (std::is_same_v<U, std::uint32_t>) return DataType::UInt32;
  else if constexpr (std::is_same_v<U, std::uint64_t>) return DataType::UInt64;
  else if constexpr (std::is_same_v<U, bool>) return DataType::Bool;
  else return DataType::Undefined;
}();

/// The extents of a tensor. Rank 0 is a scalar (one element); an extent may be 0. Never allocates.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  /// Throws Error (ResourceLimit) beyond kMaxRank, for a negative extent, or when the number of
  /// elements does not fit 62 bits.
  explicit Shape(std::span<const std::int64_t> dims);
  explicit Shape(const std::vector<std::int64_t>& dims) : Shape(std::span<const std::int64_t>(dims)) {}

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] std::int64_t operator[](int axis) const noexcept {
    return dims_[static_cast<std::size_t>(axis)];
  }
  /// Product of the extents (1 for a scalar).
  [[nodiscard]] std::int64_t elements() const noexcept;
  /// Product of the extents of the axes [begin, end).
  [[nodiscard]] std::int64_t elements(int begin, int end) const noexcept;
  [[nodiscard]] std::span<const std::int64_t> dims() const noexcept {
    return {dims_.data(), static_cast<std::size_t>(rank_)};
  }
  [[nodiscard]] const std::int64_t* begin() const noexcept { return dims_.data(); }
  [[nodiscard]] const std::int64_t* end() const noexcept { return dims_.data() + rank_; }
  /// A copy with one extent changed.
  [[nodiscard]] Shape with(int axis, std::int64_t extent) const;

  friend bool operator==(const Shape& a, const Shape& b) noexcept;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// "[1, 3, 224, 224]"; "[]" for a scalar.
std::string to_string(const Shape& shape);

namespace detail {
[[noreturn]] void fail_type(DataType held, DataType asked);
}

/// A window on elements somebody else owns, dense and row-major. Valid as long as the owner says so.
template <bool kConst>
class BasicTensorView {
 public:
  using Pointer = std::conditional_t<kConst, const void*, void*>;
  template <class T>
  using Element = std::conditional_t<kConst, const T, T>;

  BasicTensorView() = default;
  BasicTensorView(DataType type, const Shape& shape, Pointer data)
      : data_(data), shape_(shape), type_(type) {}
  /// A mutable view converts to a const one.
  template <bool kOther>
    requires(kConst && !kOther)
  BasicTensorView(const BasicTensorView<kOther>& other)  // NOLINT(google-explicit-constructor)
      : data_(other.raw()), shape_(other.shape()), type_(other.type()) {}

  [[nodiscard]] DataType type() const noexcept { return type_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] std::int64_t elements() const noexcept { return shape_.elements(); }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(shape_.elements()) * size_of(type_);
  }
  [[nodiscard]] Pointer raw() const noexcept { return data_; }

  /// The elements as T. Throws Error (InvalidArgument) when T is not the element type.
  template <class T>
  [[nodiscard]] std::span<Element<T>> data() const {
    if (data_type_of<T> != type_) detail::fail_type(type_, data_type_of<T>);
    return {static_cast<Element<T>*>(data_), static_cast<std::size_t>(shape_.elements())};
  }

  /// Copies `values` over the elements. Throws Error (InvalidArgument) on a different type or count.
  template <class T>
    requires(!kConst)
  void copy_from(std::span<const T> values) const {
    std::span<T> to = data<T>();
    if (to.size() != values.size()) {
      throw Error(ErrorCode::InvalidArgument, "copy_from: " + std::to_string(values.size()) + " values for " +
                                                  std::to_string(to.size()) + " elements");
    }
    if (!values.empty()) std::memcpy(to.data(), values.data(), values.size_bytes());
  }
  template <class T>
    requires(!kConst)
  void copy_from(const std::vector<T>& values) const {
    copy_from(std::span<const T>(values));
  }

 private:
  Pointer data_ = nullptr;
  Shape shape_;
  DataType type_ = DataType::Undefined;
};

using TensorView = BasicTensorView<false>;
using ConstTensorView = BasicTensorView<true>;

/// A dense row-major tensor that owns its elements (64-byte aligned). Copying copies the elements;
/// moving is cheap. Safe to read from several threads.
class Tensor {
 public:
  Tensor() = default;
  /// Zero-filled. Throws Error (ResourceLimit) when the memory cannot be had.
  Tensor(DataType type, const Shape& shape);
  /// A copy of `view`'s elements.
  explicit Tensor(ConstTensorView view);
  template <class T>
  Tensor(const Shape& shape, std::span<const T> values) : Tensor(data_type_of<T>, shape) {
    view().template copy_from<T>(values);
  }
  template <class T>
  Tensor(const Shape& shape, const std::vector<T>& values) : Tensor(shape, std::span<const T>(values)) {}
  /// A scalar (rank 0).
  template <class T>
  static Tensor scalar(T value) {
    return Tensor(Shape{}, std::span<const T>(&value, 1));
  }
  /// Takes over memory that somebody else allocated; `owner` keeps it alive. `data` must hold the
  /// elements, aligned for their type.
  static Tensor adopt(DataType type, const Shape& shape, std::shared_ptr<void> owner, void* data);

  Tensor(const Tensor& other);
  Tensor& operator=(const Tensor& other);
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&&) noexcept = default;
  ~Tensor() = default;

  [[nodiscard]] DataType type() const noexcept { return type_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] std::int64_t elements() const noexcept { return shape_.elements(); }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(shape_.elements()) * size_of(type_);
  }
  [[nodiscard]] bool empty() const noexcept { return type_ == DataType::Undefined; }
  [[nodiscard]] void* raw() noexcept { return data_; }
  [[nodiscard]] const void* raw() const noexcept { return data_; }

  [[nodiscard]] TensorView view() noexcept { return {type_, shape_, data_}; }
  [[nodiscard]] ConstTensorView view() const noexcept { return {type_, shape_, data_}; }
  template <class T>
  [[nodiscard]] std::span<T> data() {
    return view().template data<T>();
  }
  template <class T>
  [[nodiscard]] std::span<const T> data() const {
    return view().template data<T>();
  }
  /// The same elements under another shape with as many elements. Throws Error (InvalidArgument).
  [[nodiscard]] Tensor reshaped(const Shape& shape) &&;

 private:
  std::shared_ptr<void> owner_;
  void* data_ = nullptr;
  Shape shape_;
  DataType type_ = DataType::Undefined;
};

}  // namespace ember
