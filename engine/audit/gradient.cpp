#include "audit/gradient.hpp"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "runtime/session_impl.hpp"

namespace ember::auditing {

namespace {

/// Values that a session can be asked to show: made by a node of the model, and still there after its passes.
std::set<std::string> observable_values(const Model& model) {
  const auto optimized = runtime::optimized_graph(model);
  std::set<std::string> names;
  for (const graph::NodeId id : model.graph().order()) {
    for (const graph::ValueId v : model.graph().node(id).outputs) {
      if (v == graph::kNoValue) continue;
      const std::string& name = model.graph().value(v).name;
      const graph::ValueId kept = optimized->find_value(name);
      if (optimized->is_available(kept) && optimized->constant(kept) == nullptr) names.insert(name);
    }
  }
  return names;
}

}  // namespace

/// Copies the values that derivatives need while the session runs.
class Gradient::Recorder final : public Observer {
 public:
  explicit Recorder(Gradient& owner) : owner_(owner) {}
  bool wants(const std::string& value, const std::string& /*node*/, const std::string& /*op*/) override {
    const int variable = owner_.formulas_.find(value);
    return variable >= 0 && owner_.needed_[static_cast<std::size_t>(variable)] &&
           owner_.observable_[static_cast<std::size_t>(variable)];
  }
  void observe(const std::string& value, const ConstTensorView& tensor) override {
    if (tensor.type() != DataType::Float32) return;
    const auto elements = tensor.data<float>();
    owner_.values_[static_cast<std::size_t>(owner_.formulas_.find(value))].assign(elements.begin(),
                                                                                  elements.end());
  }

 private:
  Gradient& owner_;
};

Gradient::Gradient(const Model& model, const std::map<std::string, Shape>& input_shapes, int threads,
                   const std::vector<std::string>& watched)
    : formulas_(model, input_shapes),
      needed_(formulas_.variables().size()),
      observable_(formulas_.variables().size()),
      values_(formulas_.variables().size()),
      gradients_(formulas_.variables().size()),
      recorder_(std::make_unique<Recorder>(*this)) {
  const std::set<std::string> names = observable_values(model);
  for (std::size_t i = 0; i < observable_.size(); ++i) {
    const Variable& variable = formulas_.variables()[i];
    observable_[i] = variable.formula < 0 || names.contains(variable.name);
  }
  for (const auto& formula : formulas_.all()) {
    if (formula->linear() != nullptr) continue;
    for (const int input : formula->inputs) need(input);
    if (formula->opaque() != nullptr) need(formula->output);
  }
  for (const std::string& name : watched) {
    if (const int variable = formulas_.find(name); variable >= 0) need(variable);
  }
  SessionOptions options;
  options.threads = threads;
  options.input_shapes = input_shapes;
  options.observers = {recorder_.get()};
  session_ = std::make_unique<Session>(model, std::move(options));
}

Gradient::~Gradient() = default;

/// A value that the session cannot show is computed from those it follows from.
void Gradient::need(int variable) {
  const auto at = static_cast<std::size_t>(variable);
  if (needed_[at]) return;
  needed_[at] = true;
  if (observable_[at]) return;
  const Formula& formula = *formulas_.all()[static_cast<std::size_t>(formulas_.variable(variable).formula)];
  for (const int input : formula.inputs) need(input);
}

void Gradient::run() {
  session_->run();
  for (const int input : formulas_.inputs()) {
    const TensorView view = session_->input(formulas_.variable(input).name);
    std::vector<float>& value = values_[static_cast<std::size_t>(input)];
    if (view.type() != DataType::Float32) continue;
    const auto elements = view.data<float>();
    value.assign(elements.begin(), elements.end());
  }
  for (const auto& formula : formulas_.all()) {
    const auto at = static_cast<std::size_t>(formula->output);
    if (needed_[at] && !observable_[at]) evaluate(formula->output);
  }
}

void Gradient::evaluate(int variable) {
  const Variable& v = formulas_.variable(variable);
  const Formula& formula = *formulas_.all()[static_cast<std::size_t>(v.formula)];
  std::vector<float>& y = values_[static_cast<std::size_t>(variable)];
  y.clear();
  const auto known = [&](int input) {
    return static_cast<std::int64_t>(value(input).size()) == formulas_.variable(input).size();
  };
  if (!std::ranges::all_of(formula.inputs, known) || formula.opaque() != nullptr) return;
  const auto x = [&](std::int32_t input, std::int32_t index) {
    return double{value(formula.inputs[static_cast<std::size_t>(input)])[static_cast<std::size_t>(index)]};
  };
  LinearRow row;
  std::vector<Element> elements;
  std::vector<std::pair<Element, Element>> pairs;
  for (std::int64_t o = 0; o < v.size(); ++o) {
    double result = 0.0;
    if (const LinearFormula* linear = formula.linear()) {
      linear->row(o, row);
      result = row.constant;
      for (const Term& term : row.terms) result += term.weight * x(term.input, term.index);
    } else if (const PointwiseFormula* pointwise = formula.pointwise()) {
      result = pointwise->value(x(0, static_cast<std::int32_t>(o)), o);
    } else if (const MaximumFormula* maximum = formula.maximum()) {
      maximum->row(o, elements);
      for (std::size_t i = 0; i < elements.size(); ++i) {
        const double candidate = x(elements[i].input, elements[i].index);
        if (i == 0 || (maximum->smallest ? candidate < result : candidate > result)) result = candidate;
      }
    } else if (const ProductFormula* product = formula.product()) {
      product->row(o, pairs);
      for (const auto& [a, b] : pairs) result += x(a.input, a.index) * x(b.input, b.index);
    }
    y.push_back(static_cast<float>(result));
  }
}

std::span<double> Gradient::target(int variable) {
  std::vector<double>& gradient = gradients_[static_cast<std::size_t>(variable)];
  if (gradient.empty()) gradient.assign(static_cast<std::size_t>(formulas_.variable(variable).size()), 0.0);
  return gradient;
}

void Gradient::backward(std::span<const Seed> seeds) {
  for (std::vector<double>& gradient : gradients_) gradient.clear();
  stopped_.clear();
  for (const Seed& seed : seeds) {
    const std::span<double> to = target(seed.variable);
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += seed.values[i];
  }
  for (auto formula = formulas_.all().rbegin(); formula != formulas_.all().rend(); ++formula) {
    const std::span<const double> gradient = this->gradient((*formula)->output);
    if (std::ranges::any_of(gradient, [](double g) { return g != 0.0; })) pull(**formula);
  }
}

void Gradient::pull(const Formula& formula) {
  const std::vector<double> dy =
      std::vector(gradient(formula.output).begin(), gradient(formula.output).end());
  std::vector<std::span<double>> dx;
  std::vector<std::span<const float>> x;
  bool known = true;
  for (const int input : formula.inputs) {
    dx.push_back(target(input));
    x.push_back(value(input));
    known = known && x.back().size() == dx.back().size();
  }
  const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  LinearRow row;
  std::vector<Element> elements;
  std::vector<std::pair<Element, Element>> pairs;
  bool ruled = formula.linear() != nullptr || (known && formula.opaque() == nullptr);
  if (const OpaqueFormula* opaque = formula.opaque(); opaque != nullptr && known) {
    ruled = opaque->pull(x, value(formula.output), dy, dx);
  }
  if (!ruled) {
    stopped_.push_back(fmt::format("{} ({})", formula.op, formula.node));
    return;
  }
  for (std::size_t o = 0; o < dy.size() && formula.opaque() == nullptr; ++o) {
    if (dy[o] == 0.0) continue;
    const auto output = static_cast<std::int64_t>(o);
    if (const LinearFormula* linear = formula.linear()) {
      linear->row(output, row);
      for (const Term& term : row.terms) dx[at(term.input)][at(term.index)] += term.weight * dy[o];
    } else if (const PointwiseFormula* pointwise = formula.pointwise()) {
      dx[0][o] += pointwise->slope(double{x[0][o]}, output) * dy[o];
    } else if (const MaximumFormula* maximum = formula.maximum()) {
      maximum->row(output, elements);
      if (elements.empty()) continue;
      const auto better = [&](const Element& a, const Element& b) {
        const float p = x[at(a.input)][at(a.index)];
        const float q = x[at(b.input)][at(b.index)];
        return maximum->smallest ? p < q : p > q;
      };
      Element best = elements.front();  // of equals, the first
      for (const Element& element : elements) {
        if (better(element, best)) best = element;
      }
      dx[at(best.input)][at(best.index)] += dy[o];
    } else if (const ProductFormula* product = formula.product()) {
      product->row(output, pairs);
      for (const auto& [a, b] : pairs) {
        dx[at(a.input)][at(a.index)] += double{x[at(b.input)][at(b.index)]} * dy[o];
        dx[at(b.input)][at(b.index)] += double{x[at(a.input)][at(a.index)]} * dy[o];
      }
    }
  }
}

}  // namespace ember::auditing
