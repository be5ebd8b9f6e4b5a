#pragma once

#include <vector>

#include <ember/tensor.hpp>

namespace ember::test {

/// A tensor from its elements.
template <class T>
Tensor tensor_of(const Shape& shape, const std::vector<T>& values) {
  return Tensor(shape, values);
}

template <class T>
std::vector<T> elements_of(const Tensor& tensor) {
  const auto data = tensor.data<T>();
  return {data.begin(), data.end()};
}

}  // namespace ember::test
