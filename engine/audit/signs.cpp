#include "audit/signs.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "audit/bounds.hpp"
#include "audit/claims.hpp"
#include "audit/firing.hpp"
#include "ops/activation_pattern.hpp"
#include "runtime/session_impl.hpp"

namespace ember::auditing {

namespace {

/// A silent channel and its elements before the activation.
struct Candidate {
  std::size_t layer;
  std::int64_t channel;
  int variable;
  double threshold;
  std::vector<std::int32_t> positions;
};

/// Notes elements of variables.
class Marker {
 public:
  Marker(const Formulas& formulas, ElementSets& sets) : formulas_(formulas), sets_(sets) {}

  void mark(int variable, std::int64_t element) {
    sets_[static_cast<std::size_t>(variable)].insert(static_cast<std::size_t>(element), size(variable));
  }
  void mark_all(int variable) { sets_[static_cast<std::size_t>(variable)].insert_all(size(variable)); }

 private:
  [[nodiscard]] std::size_t size(int variable) const {
    return static_cast<std::size_t>(formulas_.variable(variable).size());
  }

  const Formulas& formulas_;
  ElementSets& sets_;
};

/// A sum may reach its activation through a bias that is added, or be reshaped: then it is wanted as well.
void want_what_is_passed_on(const Formulas& formulas, ElementSets& wanted) {
  Marker marker(formulas, wanted);
  LinearRow row;
  for (auto formula = formulas.all().rbegin(); formula != formulas.all().rend(); ++formula) {
    const LinearFormula* linear = (*formula)->linear();
    if (linear == nullptr || is_long_sum(*linear)) continue;
    wanted[static_cast<std::size_t>((*formula)->output)].for_each([&](std::size_t o) {
      linear->row(static_cast<std::int64_t>(o), row);
      for (const Term& term : row.terms)
        marker.mark(linear->inputs[static_cast<std::size_t>(term.input)], term.index);
    });
  }
}

/// Marks what one element of a formula's output is made of.
void read_inputs(const Formula& formula, std::int64_t output, Marker& marker) {
  const auto input = [&](int i) { return formula.inputs[static_cast<std::size_t>(i)]; };
  if (const LinearFormula* linear = formula.linear()) {
    LinearRow row;
    linear->row(output, row);
    for (const Term& term : row.terms) marker.mark(input(term.input), term.index);
  } else if (formula.pointwise() != nullptr) {
    marker.mark(input(0), output);
  } else if (const MaximumFormula* maximum = formula.maximum()) {
    std::vector<Element> elements;
    maximum->row(output, elements);
    for (const Element& element : elements) marker.mark(input(element.input), element.index);
  } else if (const ProductFormula* product = formula.product()) {
    std::vector<std::pair<Element, Element>> pairs;
    product->row(output, pairs);
    for (const auto& [left, right] : pairs) {
      marker.mark(input(left.input), left.index);
      marker.mark(input(right.input), right.index);
    }
  }
}

/// The elements whose bounds the wanted ones follow from. Long sums that are not wanted are not looked into.
ElementSets read_for(const Formulas& formulas, const ElementSets& wanted) {
  ElementSets read = wanted;
  Marker marker(formulas, read);
  for (auto formula = formulas.all().rbegin(); formula != formulas.all().rend(); ++formula) {
    const auto output = static_cast<std::size_t>((*formula)->output);
    const ElementSet& here = is_long_sum(**formula) ? wanted[output] : read[output];
    if (!here.empty() && (*formula)->opaque() != nullptr) {
      for (const int variable : (*formula)->inputs) marker.mark_all(variable);
      continue;
    }
    here.for_each([&](std::size_t o) { read_inputs(**formula, static_cast<std::int64_t>(o), marker); });
  }
  for (ElementSet& set : read) set.number();
  return read;
}

bool any_silent(std::span<const LayerRecord> layers) {
  return std::ranges::any_of(layers, [](const LayerRecord& layer) {
    return std::ranges::any_of(layer.totals.channels,
                               [](const ChannelTotals& channel) { return channel.samples_fired == 0; });
  });
}

std::vector<Candidate> candidates_of(const Model& model, const Formulas& formulas,
                                     std::span<const LayerRecord> layers) {
  std::vector<Candidate> candidates;
  const auto graph = runtime::optimized_graph(model);
  for (const ops::ActivationPattern& pattern : ops::find_activations(*graph)) {
    const std::string& value = graph->value(pattern.output).name;
    const auto layer = std::ranges::find(layers, value, &LayerRecord::value);
    const int variable = formulas.find(graph->value(pattern.input).name);
    if (layer == layers.end() || variable < 0 || !formulas.variable(variable).known) continue;
    const Shape& shape = formulas.variable(variable).shape;
    const auto channels = static_cast<std::int64_t>(layer->totals.channels.size());
    if (layer->channel_axis >= shape.rank() || shape[layer->channel_axis] != channels) continue;
    for (std::int64_t c = 0; c < channels; ++c) {
      const Firing firing = firing_of(pattern.function, c);
      const bool silent = layer->totals.channels[static_cast<std::size_t>(c)].samples_fired == 0;
      if (!silent || firing.nature != Nature::Rectifier) continue;
      candidates.push_back({.layer = static_cast<std::size_t>(layer - layers.begin()),
                            .channel = c,
                            .variable = variable,
                            .threshold = double{firing.rule.fired_above},
                            .positions = channel_positions(shape, layer->channel_axis, c)});
    }
  }
  return candidates;
}

/// The candidates that no input fires, as far as `looks_at(position, of how many)` has them looked at.
template <class LooksAt>
std::vector<Candidate> never_positive(const Formulas& formulas, const std::vector<Candidate>& candidates,
                                      const LooksAt& looks_at) {
  if (candidates.empty()) return {};
  const auto for_each_position = [&](const Candidate& candidate, auto&& f) {
    const std::size_t count = candidate.positions.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (looks_at(i, count)) f(static_cast<std::size_t>(candidate.positions[i]));
    }
  };
  ElementSets wanted(formulas.variables().size());
  Marker marker(formulas, wanted);
  for (const Candidate& candidate : candidates) {
    for_each_position(candidate,
                      [&](std::size_t i) { marker.mark(candidate.variable, static_cast<std::int64_t>(i)); });
  }
  want_what_is_passed_on(formulas, wanted);
  SerialParallel serial;
  const ElementSets read = read_for(formulas, wanted);
  const AllBounds bounds = propagate_signs(formulas, wanted, read, serial);
  std::vector<Candidate> left;
  for (const Candidate& candidate : candidates) {
    const Bounds& x = bounds[static_cast<std::size_t>(candidate.variable)];
    bool never = true;
    for_each_position(candidate, [&](std::size_t i) { never &= x.at(i).upper <= candidate.threshold; });
    if (never) left.push_back(candidate);
  }
  return left;
}

}  // namespace

std::vector<std::vector<std::int64_t>> dead_by_sign(const Model& model,
                                                    const std::map<std::string, Shape>& input_shapes,
                                                    std::span<const LayerRecord> layers) {
  std::vector<std::vector<std::int64_t>> dead(layers.size());
  if (!any_silent(layers)) return dead;
  const Formulas formulas(model, input_shapes);
  const std::vector<Candidate> candidates = candidates_of(model, formulas, layers);
  // Nearly all are told by one position, and a feature map has thousands.
  const std::vector<Candidate> left =
      never_positive(formulas, candidates, [](std::size_t i, std::size_t count) { return i == count / 2; });
  for (const Candidate& candidate :
       never_positive(formulas, left, [](std::size_t, std::size_t) { return true; }))
    dead[candidate.layer].push_back(candidate.channel);
  return dead;
}

}  // namespace ember::auditing
