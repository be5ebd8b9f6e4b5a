#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/graph_builder.hpp"
#include "support/lowering_harness.hpp"
#include "support/random_tensor.hpp"

namespace ember::test {

namespace {

using Dims = std::vector<std::int64_t>;

/// Zero points that use the type's whole range.
template <class T>
Tensor zero_points(std::int64_t count) {
  Tensor tensor(data_type_of<T>, count == 1 ? Shape{} : Shape{count});
  std::int64_t next = 3;
  for (T& zero : tensor.data<T>()) zero = static_cast<T>(next += 37);
  return tensor;
}

Tensor scales(std::int64_t count) {
  return random_tensor(count == 1 ? Shape{} : Shape{count}, 3, 0.01F, 0.1F);
}

template <class T>
LoweringCase quantize(const Dims& dims, std::int64_t axis, bool per_axis, bool zero) {
  GraphBuilder builder(19);
  LoweringCase test;
  Tensor x = random_tensor(Shape(dims), 11, -20.0F, 20.0F);
  // Halves, overflow on both sides, and what is no number.
  const std::vector<float> special{0.25F, -0.25F, 1e30F, -1e30F, NAN, INFINITY, -INFINITY};
  for (std::size_t i = 0; i < special.size() && 2 * i < x.data<float>().size(); ++i)
    x.data<float>()[2 * i] = special[i];
  const std::int64_t count = per_axis ? dims[static_cast<std::size_t>(axis)] : 1;
  test.inputs.emplace("x", std::move(x));
  std::vector<graph::ValueId> ids{builder.input("x", DataType::Float32, dims),
                                  builder.constant("scale", per_axis ? scales(count) : Tensor::scalar(0.1F))};
  if (zero) ids.push_back(builder.constant("zero", zero_points<T>(count)));
  builder.output(builder.op("QuantizeLinear", "y", ids, {{"axis", axis}}));
  test.graph = builder.graph();
  test.exact = true;
  return test;
}

template <class T>
LoweringCase dequantize(const Dims& dims, std::int64_t axis, bool per_axis) {
  GraphBuilder builder(19);
  LoweringCase test;
  Tensor x(data_type_of<T>, Shape(dims));
  std::int64_t next = 0;
  for (T& element : x.data<T>()) element = static_cast<T>(next += 53);
  const std::int64_t count = per_axis ? dims[static_cast<std::size_t>(axis)] : 1;
  test.inputs.emplace("x", std::move(x));
  builder.output(
      builder.op("DequantizeLinear", "y",
                 {builder.input("x", data_type_of<T>, dims), builder.constant("scale", scales(count)),
                  builder.constant("zero", zero_points<T>(count))},
                 {{"axis", axis}}));
  test.graph = builder.graph();
  test.exact = true;
  return test;
}

void check(const LoweringCase& test) { check_lowerings(test, {"quantize_rows"}); }

template <class T>
void check_type() {
  for (const Dims& dims : {Dims{1}, Dims{13}, Dims{2, 3, 5, 7}, Dims{3, 40000}}) {
    check(quantize<T>(dims, 0, false, true));
    check(dequantize<T>(dims, 0, false));
  }
  for (const std::int64_t axis : {0, 1, 3}) {
    check(quantize<T>({3, 4, 5, 19}, axis, true, true));
    check(dequantize<T>({3, 4, 5, 19}, axis, true));
  }
}

}  // namespace

TEST_CASE("QuantizeLinear and DequantizeLinear: the reference's bits, per tensor and per axis") {
  check_type<std::int8_t>();
  check_type<std::uint8_t>();
  check(quantize<std::uint8_t>({5, 33}, 1, true, false));
}

TEST_CASE("QuantizeLinear: what has no kernel is refused by name") {
  const LoweringResult refused = run_lowerings(quantize<std::int16_t>({4}, 0, false, true));
  CHECK(refused.accepted.empty());
  CHECK(refused.refusals.at("quantize_rows") == "integers of other than 8 bits");
}

}  // namespace ember::test
