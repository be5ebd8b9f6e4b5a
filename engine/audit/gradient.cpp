#include "audit/gradient.hpp"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

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
    owner_.keep(owner_.formulas_.find(value), tensor.data<float>());
  }

 private:
  Gradient& owner_;
};

Gradient::Gradient(const Model& model, const std::map<std::string, Shape>& input_shapes, int threads,
                   const std::vector<std::string>& watched, std::int64_t lanes)
    : formulas_(model, input_shapes),
      lanes_(static_cast<std::size_t>(lanes)),
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
  for (auto& [name, shape] : options.input_shapes) {
    if (lanes > 1) shape = shape.with(0, lanes * shape[0]);
  }
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

void Gradient::keep(int variable, std::span<const float> lane_after_lane) {
  std::vector<float>& kept = values_[static_cast<std::size_t>(variable)];
  kept.resize(lane_after_lane.size());
  const std::size_t each = lane_after_lane.size() / lanes_;
  for (std::size_t lane = 0; lane < lanes_; ++lane) {
    for (std::size_t i = 0; i < each; ++i) kept[i * lanes_ + lane] = lane_after_lane[lane * each + i];
  }
}

void Gradient::run() {
  session_->run();
  for (const int input : formulas_.inputs()) {
    const TensorView view = session_->input(formulas_.variable(input).name);
    if (view.type() == DataType::Float32) keep(input, view.data<float>());
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
    return value(input).size() == static_cast<std::size_t>(formulas_.variable(input).size()) * lanes_;
  };
  if (!std::ranges::all_of(formula.inputs, known) || formula.opaque() != nullptr) return;
  y.reserve(static_cast<std::size_t>(v.size()) * lanes_);
  LinearRow row;
  std::vector<Element> elements;
  std::vector<std::pair<Element, Element>> pairs;
  for (std::int64_t o = 0; o < v.size(); ++o) {
    if (formula.linear() != nullptr) formula.linear()->row(o, row);
    else if (formula.maximum() != nullptr) formula.maximum()->row(o, elements);
    else if (formula.product() != nullptr) formula.product()->row(o, pairs);
    for (std::size_t lane = 0; lane < lanes_; ++lane) {
      const auto x = [&](std::int32_t input, std::int64_t index) {
        return double{value(formula.inputs[static_cast<std::size_t>(
            input)])[static_cast<std::size_t>(index) * lanes_ + lane]};
      };
      double result = 0.0;
      if (formula.linear() != nullptr) {
        result = row.constant;
        for (const Term& term : row.terms) result += term.weight * x(term.input, term.index);
      } else if (const PointwiseFormula* pointwise = formula.pointwise()) {
        result = pointwise->value(x(0, o), o);
      } else if (const MaximumFormula* maximum = formula.maximum()) {
        for (std::size_t i = 0; i < elements.size(); ++i) {
          const double candidate = x(elements[i].input, elements[i].index);
          if (i == 0 || (maximum->smallest ? candidate < result : candidate > result)) result = candidate;
        }
      } else if (formula.product() != nullptr) {
        for (const auto& [a, b] : pairs) result += x(a.input, a.index) * x(b.input, b.index);
      }
      y.push_back(static_cast<float>(result));
    }
  }
}

std::span<double> Gradient::target(int variable) {
  std::vector<double>& gradient = gradients_[static_cast<std::size_t>(variable)];
  if (gradient.empty())
    gradient.assign(static_cast<std::size_t>(formulas_.variable(variable).size()) * lanes_, 0.0);
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
  if (formula.linear() == nullptr && !known) {
    stopped_.push_back(&formula);
    return;
  }
  if (formula.opaque() != nullptr) {
    if (!pull_opaque(*formula.opaque(), dy)) stopped_.push_back(&formula);
    return;
  }
  const auto at = [&](std::int32_t index) { return static_cast<std::size_t>(index) * lanes_; };
  const auto of = [](std::int32_t input) { return static_cast<std::size_t>(input); };
  LinearRow row;
  std::vector<Element> elements;
  std::vector<std::pair<Element, Element>> pairs;
  for (std::size_t o = 0; o * lanes_ < dy.size(); ++o) {
    const std::span<const double> d = std::span(dy).subspan(o * lanes_, lanes_);
    if (std::ranges::all_of(d, [](double g) { return g == 0.0; })) continue;
    const auto output = static_cast<std::int64_t>(o);
    if (const LinearFormula* linear = formula.linear()) {
      linear->row(output, row);
      for (const Term& term : row.terms) {
        double* to = dx[of(term.input)].data() + at(term.index);
        for (std::size_t lane = 0; lane < lanes_; ++lane) to[lane] += term.weight * d[lane];
      }
    } else if (const PointwiseFormula* pointwise = formula.pointwise()) {
      for (std::size_t lane = 0; lane < lanes_; ++lane) {
        if (d[lane] == 0.0) continue;
        const std::size_t i = o * lanes_ + lane;
        dx[0][i] += pointwise->slope(double{x[0][i]}, output) * d[lane];
      }
    } else if (const MaximumFormula* maximum = formula.maximum()) {
      maximum->row(output, elements);
      for (std::size_t lane = 0; lane < lanes_ && !elements.empty(); ++lane) {
        const auto better = [&](const Element& a, const Element& b) {
          const float p = x[of(a.input)][at(a.index) + lane];
          const float q = x[of(b.input)][at(b.index) + lane];
          return maximum->smallest ? p < q : p > q;
        };
        Element best = elements.front();  // of equals, the first
        for (const Element& element : elements) {
          if (better(element, best)) best = element;
        }
        dx[of(best.input)][at(best.index) + lane] += d[lane];
      }
    } else if (const ProductFormula* product = formula.product()) {
      product->row(output, pairs);
      for (const auto& [a, b] : pairs) {
        for (std::size_t lane = 0; lane < lanes_; ++lane) {
          const std::size_t left = at(a.index) + lane;
          const std::size_t right = at(b.index) + lane;
          dx[of(a.input)][left] += double{x[of(b.input)][right]} * d[lane];
          dx[of(b.input)][right] += double{x[of(a.input)][left]} * d[lane];
        }
      }
    }
  }
}

/// These know one lane only. False when there is no rule, or values are missing.
bool Gradient::pull_opaque(const OpaqueFormula& formula, std::span<const double> dy) {
  if (value(formula.output).size() != dy.size()) return false;
  const auto one_lane = [&]<class T>(std::span<const T> all, std::size_t lane, std::vector<T>& to) {
    to.resize(all.size() / lanes_);
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = all[i * lanes_ + lane];
  };
  std::vector<std::vector<float>> x(formula.inputs.size());
  std::vector<std::vector<double>> dx(formula.inputs.size());
  std::vector<float> y;
  std::vector<double> slope;
  for (std::size_t lane = 0; lane < lanes_; ++lane) {
    std::vector<std::span<const float>> from;
    std::vector<std::span<double>> to;
    for (std::size_t i = 0; i < x.size(); ++i) {
      one_lane(value(formula.inputs[i]), lane, x[i]);
      dx[i].assign(x[i].size(), 0.0);
      from.emplace_back(x[i]);
      to.emplace_back(dx[i]);
    }
    one_lane(value(formula.output), lane, y);
    one_lane(dy, lane, slope);
    if (!formula.pull(from, y, slope, to)) return false;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::span<double> target = this->target(formula.inputs[i]);
      for (std::size_t e = 0; e < dx[i].size(); ++e) target[e * lanes_ + lane] += dx[i][e];
    }
  }
  return true;
}

std::int64_t gradient_lanes(const Model& model, const std::string& input, const Shape& shape,
                            std::int64_t most) {
  if (shape.rank() < 2 || shape[0] != 1 || most <= 1) return 1;
  const Formulas one(model, {{input, shape}});
  const Formulas two(model, {{input, shape.with(0, 2)}});
  if (one.variables().size() != two.variables().size()) return 1;
  std::int64_t elements = 1;
  for (std::size_t i = 0; i < one.variables().size(); ++i) {
    const Variable& a = one.variables()[i];
    const Variable& b = two.variables()[i];
    const bool apart = a.known && b.known && a.name == b.name && a.shape.rank() > 0 && a.shape[0] == 1 &&
                       b.shape == a.shape.with(0, 2);
    if (!apart) return 1;
    elements += a.size();
  }
  return std::clamp<std::int64_t>((std::int64_t{1} << 23) / elements, 1, most);
}

}  // namespace ember::auditing
