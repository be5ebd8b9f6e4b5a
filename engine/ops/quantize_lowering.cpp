#include <string>

#include <fmt/format.h>

#include "kernels/quantize.hpp"
#include "kernels/table.hpp"
#include "ops/product_lowering.hpp"
#include "ops/quantization.hpp"

// QuantizeLinear and DequantizeLinear between float32 and int8 or uint8, per tensor or per axis.

namespace ember::ops {

namespace {

constexpr std::int64_t kX = 0, kScale = 1, kZeroPoint = 2;

/// Runs of elements that share a scale, or that have one each.
struct QuantizePlan {
  Granularity granularity;
  std::int64_t elements = 0;
  DataType integer = DataType::Int8;
  bool to_integer = true;
  std::vector<float> scale, zero_point;
  const kernels::QuantizeKernels* kernels = nullptr;
};

class QuantizeStep final : public Step {
 public:
  explicit QuantizeStep(QuantizePlan plan) : plan_(std::move(plan)) {
    const Granularity& g = plan_.granularity;
    per_element_ = g.kind == Granularity::Kind::PerAxis && g.inner == 1;
    // One scale for all: any length will do.
    constexpr std::int64_t kRun = 1 << 14;
    if (g.kind == Granularity::Kind::PerTensor) run_ = std::min(plan_.elements, kRun);
    else run_ = per_element_ ? g.extent : g.inner;
    runs_ =
        Chunks(ceil_div(plan_.elements, run_), ceil_div(static_cast<std::int64_t>(kTaskNanoseconds), run_));
  }

  void run(const StepContext& context) const override {
    context.parallel.for_each(runs_.parts(), plan_.elements / 2, [&](std::int64_t part, int) {
      for (std::int64_t i = runs_.begin(part); i < runs_.end(part); ++i) {
        const std::int64_t begin = i * run_;
        convert(context, begin, std::min(run_, plan_.elements - begin));
      }
    });
  }

 private:
  void convert(const StepContext& context, std::int64_t begin, std::int64_t count) const {
    const std::int64_t which = per_element_ ? 0 : plan_.granularity.scale_of(begin);
    const kernels::QuantizationRun run{.scale = plan_.scale.data() + which,
                                       .zero_point = plan_.zero_point.data() + which,
                                       .stride = per_element_ ? 1 : 0};
    const void* x = context.inputs[kX];
    void* y = context.outputs[0];
    const bool is_signed = plan_.integer == DataType::Int8;
    if (plan_.to_integer) {
      const float* from = static_cast<const float*>(x) + begin;
      if (is_signed) plan_.kernels->to_int8(from, run, static_cast<std::int8_t*>(y) + begin, count);
      else plan_.kernels->to_uint8(from, run, static_cast<std::uint8_t*>(y) + begin, count);
    } else {
      float* to = static_cast<float*>(y) + begin;
      if (is_signed) plan_.kernels->from_int8(static_cast<const std::int8_t*>(x) + begin, run, to, count);
      else plan_.kernels->from_uint8(static_cast<const std::uint8_t*>(x) + begin, run, to, count);
    }
  }

  QuantizePlan plan_;
  bool per_element_ = false;
  std::int64_t run_ = 1;
  Chunks runs_;
};

std::string refusal(const LowerContext& c, DataType real, DataType integer) {
  if (real != DataType::Float32 || c.inputs[kScale].type != DataType::Float32) return "not float32";
  if (integer != DataType::Int8 && integer != DataType::UInt8) return "integers of other than 8 bits";
  if (c.inputs[kX].shape.elements() == 0) return "nothing to convert";
  for (const std::int64_t i : {kScale, kZeroPoint}) {
    if (c.has_input(static_cast<int>(i)) && c.constants[static_cast<std::size_t>(i)] == nullptr)
      return fmt::format("input {} is not constant", i);
  }
  const DataType precision = type_attribute(c, "precision");
  if (precision != DataType::Undefined && precision != DataType::Float32)
    return "a precision other than float32";
  return {};
}

LowerResult consider(LowerContext& c, bool to_integer) {
  const DataType x = c.inputs[kX].type;
  const DataType y = c.outputs[0].type;
  const std::string reason = to_integer ? refusal(c, x, y) : refusal(c, y, x);
  if (!reason.empty()) return Refusal{reason};
  QuantizePlan plan;
  plan.granularity = granularity(c, c.inputs[kX].shape, c.inputs[kScale].shape);
  if (plan.granularity.kind == Granularity::Kind::Blocked) return Refusal{"blocked scales"};
  plan.elements = c.inputs[kX].shape.elements();
  plan.to_integer = to_integer;
  plan.integer = to_integer ? y : x;
  const auto scale = c.constants[kScale]->data<float>();
  plan.scale.assign(scale.begin(), scale.end());
  for (std::size_t i = 0; i < plan.scale.size(); ++i) {
    if (!c.has_input(kZeroPoint)) {
      plan.zero_point.push_back(0.0F);
      continue;
    }
    const ConstTensorView zeros = c.constants[kZeroPoint]->view();
    plan.zero_point.push_back(static_cast<float>(zero_point_at(&zeros, static_cast<std::int64_t>(i))));
  }
  plan.kernels = c.kernels().quantize;
  Lowered lowered;
  lowered.step = std::make_unique<QuantizeStep>(std::move(plan));
  return lowered;
}

LowerResult consider_quantize(LowerContext& c) { return consider(c, true); }
LowerResult consider_dequantize(LowerContext& c) { return consider(c, false); }

}  // namespace

void add_quantize_candidates(CandidateMap& map) {
  map["QuantizeLinear"].push_back({"quantize_rows", consider_quantize});
  map["DequantizeLinear"].push_back({"quantize_rows", consider_dequantize});
}

}  // namespace ember::ops
