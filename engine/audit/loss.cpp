#include "audit/loss.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

#include <fmt/format.h>

#include <ember/error.hpp>
#include <ember/model.hpp>

namespace ember::auditing {

namespace {

/// A probability of 0 has an infinite loss; beyond this it does not grow.
constexpr double kLeast = 1e-30;

/// Scores of one sample along a single axis; 0: it is something else.
std::int64_t classes_of(const Variable& variable, std::int64_t batch) {
  if (!variable.known || variable.size() == 0 || variable.size() % batch != 0) return 0;
  const std::int64_t classes = variable.size() / batch;
  std::int64_t longest = 1;
  const int first = variable.shape.rank() > 0 && variable.shape[0] == batch ? 1 : 0;
  for (int axis = first; axis < variable.shape.rank(); ++axis)
    longest = std::max(longest, variable.shape[axis]);
  return longest == classes ? classes : 0;
}

/// What a variable is a copy of, element by element.
int original(const Formulas& formulas, int variable) {
  static constexpr std::array<std::string_view, 5> kCopies = {"Identity", "Reshape", "Flatten", "Squeeze",
                                                              "Unsqueeze"};
  while (formulas.variable(variable).formula >= 0) {
    const Formula& formula = *formulas.all()[static_cast<std::size_t>(formulas.variable(variable).formula)];
    if (formula.inputs.size() != 1 || std::ranges::find(kCopies, formula.op) == kCopies.end()) break;
    variable = formula.inputs[0];
  }
  return variable;
}

double sigmoid(double x) { return x >= 0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x)); }

}  // namespace

Loss::Loss(const Model& model, const Formulas& formulas, std::int64_t batch) {
  for (const ValueInfo& output : model.outputs()) {
    const int found = formulas.find(output.name);
    if (found < 0 || (output.type != DataType::Undefined && !is_floating(output.type))) continue;
    classes_ = classes_of(formulas.variable(found), batch);
    if (classes_ == 0) continue;
    output_ = value_ = output.name;
    kind_ = classes_ == 1 ? Kind::Sigmoid : Kind::Softmax;
    const int source = original(formulas, found);
    const int made_by = formulas.variable(source).formula;
    if (made_by < 0) return;
    const Formula& last = *formulas.all()[static_cast<std::size_t>(made_by)];
    if (last.op == "LogSoftmax" && classes_ > 1) kind_ = Kind::LogProbabilities;
    if ((last.op == "Softmax" && classes_ > 1) || last.op == "Sigmoid") {
      const Variable& logits = formulas.variable(last.inputs[0]);
      if (logits.name.empty() || logits.size() != formulas.variable(source).size()) return;
      value_ = logits.name;
      kind_ = last.op == "Sigmoid" ? Kind::Sigmoid : Kind::Softmax;
    }
    return;
  }
  throw Error(ErrorCode::Unsupported, "no output of the network has one floating-point score per class",
              {.model = model.name(),
               .cure = "labels need a classifier, with an output of the shape [batch, classes]"});
}

std::string Loss::description() const {
  switch (kind_) {
    case Kind::Softmax: return "cross-entropy of softmax";
    case Kind::LogProbabilities: return "cross-entropy of log-probabilities";
    case Kind::Probabilities: return "cross-entropy of probabilities";
    case Kind::Sigmoid:
      return classes_ == 1 ? "binary cross-entropy of sigmoid"
                           : "binary cross-entropy of sigmoid, summed over classes";
  }
  return "";
}

void Loss::look_at(std::span<const float> scores) {
  if (kind_ != Kind::Softmax || value_ != output_ || classes_ < 2 || scores.empty()) return;
  const auto each = static_cast<std::size_t>(classes_);
  for (std::size_t first = 0; first + each <= scores.size(); first += each) {
    double sum = 0.0;
    for (const float score : scores.subspan(first, each)) {
      if (!(score >= 0.0F && score <= 1.0001F)) return;
      sum += double{score};
    }
    if (std::abs(sum - 1.0) > 1e-3) return;
  }
  kind_ = Kind::Probabilities;
}

double Loss::of(std::span<const float> scores, std::int64_t label, std::span<double> derivative) const {
  const auto at = static_cast<std::size_t>(label);
  std::ranges::fill(derivative, 0.0);
  switch (kind_) {
    case Kind::LogProbabilities: derivative[at] = -1.0; return -double{scores[at]};
    case Kind::Probabilities: {
      const double p = std::max(double{scores[at]}, kLeast);
      derivative[at] = -1.0 / p;
      return -std::log(p);
    }
    case Kind::Sigmoid: {
      double loss = 0.0;
      for (std::size_t i = 0; i < scores.size(); ++i) {
        const bool wanted = classes_ == 1 ? label == 1 : i == at;
        const double x = wanted ? double{scores[i]} : -double{scores[i]};
        // −log σ(x), and its derivative by x: −σ(−x)
        loss += x > 0 ? std::log1p(std::exp(-x)) : -x + std::log1p(std::exp(x));
        derivative[i] = wanted ? -sigmoid(-x) : sigmoid(-x);
      }
      return loss;
    }
    case Kind::Softmax: break;
  }
  const auto highest = double{*std::ranges::max_element(scores)};
  double sum = 0.0, others = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    derivative[i] = std::exp(double{scores[i]} - highest);
    sum += derivative[i];
    if (i != at) others += derivative[i];
  }
  for (double& p : derivative) p /= sum;
  derivative[at] = -others / sum;  // p − 1, without cancellation
  return highest - double{scores[at]} + std::log(sum);
}

bool Loss::correct(std::span<const float> scores, std::int64_t label) const {
  if (classes_ == 1) return (scores[0] > (kind_ == Kind::Sigmoid ? 0.0F : 0.5F)) == (label == 1);
  return std::ranges::max_element(scores) - scores.begin() == label;
}

}  // namespace ember::auditing
