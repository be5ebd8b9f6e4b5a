#include "ops/lowering.hpp"

namespace ember::ops {

// One line per <family>_lowering.cpp.
void add_activation_candidates(CandidateMap& map);
void add_elementwise_candidates(CandidateMap& map);
void add_mask_candidates(CandidateMap& map);
void add_unary_candidates(CandidateMap& map);

void add_conv_candidates(CandidateMap& map);
void add_reduce_candidates(CandidateMap& map);
void add_softmax_candidates(CandidateMap& map);
void add_batch_normalization_candidates(CandidateMap& map);
void add_normalization_candidates(CandidateMap& map);
void add_matmul_candidates(CandidateMap& map);
void add_attention_candidates(CandidateMap& map);
void add_alias_candidates(CandidateMap& map);
void add_cast_candidates(CandidateMap& map);
void add_channel_gather_candidates(CandidateMap& map);
void add_concat_split_candidates(CandidateMap& map);
void add_gather_candidates(CandidateMap& map);
void add_pad_candidates(CandidateMap& map);
void add_permute_candidates(CandidateMap& map);
void add_repeat_candidates(CandidateMap& map);
void add_slice_candidates(CandidateMap& map);
void add_quantize_candidates(CandidateMap& map);
void add_recurrent_candidates(CandidateMap& map);
void add_pool_candidates(CandidateMap& map);
void add_resize_candidates(CandidateMap& map);

namespace {

CandidateMap build() {
  CandidateMap map;
  add_alias_candidates(map);
  add_cast_candidates(map);
  add_channel_gather_candidates(map);  // before those that leave the layout
  add_concat_split_candidates(map);
  add_gather_candidates(map);
  add_pad_candidates(map);
  add_permute_candidates(map);
  add_repeat_candidates(map);
  add_slice_candidates(map);
  add_conv_candidates(map);
  add_matmul_candidates(map);
  add_attention_candidates(map);
  add_quantize_candidates(map);
  add_recurrent_candidates(map);
  add_pool_candidates(map);
  add_resize_candidates(map);
  add_activation_candidates(map);
  add_elementwise_candidates(map);
  add_mask_candidates(map);
  add_unary_candidates(map);
  add_reduce_candidates(map);
  add_softmax_candidates(map);
  add_batch_normalization_candidates(map);
  add_normalization_candidates(map);
  return map;
}

}  // namespace

std::span<const Candidate> candidates(std::string_view op) {
  static const CandidateMap map = build();
  const auto found = map.find(op);
  return found == map.end() ? std::span<const Candidate>() : std::span<const Candidate>(found->second);
}

bool gathers(std::string_view op) { return op == "Conv"; }

std::int64_t TensorDesc::stored_elements() const noexcept {
  if (layout == Layout::Plain) return shape.elements();
  const std::int64_t padded = (shape[1] + block - 1) / block * block;
  return shape[0] * padded * shape.elements(2, shape.rank());
}

std::size_t TensorDesc::bytes() const noexcept {
  return static_cast<std::size_t>(stored_elements()) * size_of(type);
}

}  // namespace ember::ops
