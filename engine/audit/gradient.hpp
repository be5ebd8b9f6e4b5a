#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ember/model.hpp>
#include <ember/session.hpp>

#include "audit/formulas.hpp"

namespace ember::auditing {

/// Reverse-mode differentiation of a network: values come from the engine, derivatives from the network's
/// formulas, in double. For fixed input shapes, batch included. One thread at a time.
class Gradient {
 public:
  /// `watched`: ONNX values whose elements value() must be able to tell, beyond those that derivatives need.
  /// A name that is no value of the optimised network is passed over.
  Gradient(const Model& model, const std::map<std::string, Shape>& input_shapes, int threads = 1,
           const std::vector<std::string>& watched = {});
  ~Gradient();
  Gradient(const Gradient&) = delete;
  Gradient& operator=(const Gradient&) = delete;

  /// Variables and what they are called; see Formulas::find().
  [[nodiscard]] const Formulas& formulas() const noexcept { return formulas_; }

  /// Where the run reads an input from; fill it, then run().
  [[nodiscard]] TensorView input(const std::string& name) { return session_->input(name); }
  void run();
  /// Elements of a variable in the last run: of a network input, a watched value, or one that derivatives
  /// need. Empty when they are not kept.
  [[nodiscard]] std::span<const float> value(int variable) const {
    return values_[static_cast<std::size_t>(variable)];
  }

  /// d(Σ values · variable) is what is propagated back.
  struct Seed {
    int variable = -1;
    std::vector<double> values;
  };
  /// Propagates from the seeds to the inputs, at the values of the last run.
  void backward(std::span<const Seed> seeds);
  /// Of the last backward(): the derivative by a variable's elements; empty where none arrived.
  [[nodiscard]] std::span<const double> gradient(int variable) const {
    return gradients_[static_cast<std::size_t>(variable)];
  }
  /// Nodes that a gradient of the last backward() met and that have no rule, as "Op (node)". Beyond them it
  /// is missing, not zero.
  [[nodiscard]] const std::vector<std::string>& stopped_at() const noexcept { return stopped_; }

 private:
  class Recorder;
  void need(int variable);
  void evaluate(int variable);
  void pull(const Formula& formula);
  [[nodiscard]] std::span<double> target(int variable);

  Formulas formulas_;
  std::vector<bool> needed_, observable_;
  std::vector<std::vector<float>> values_;
  std::vector<std::vector<double>> gradients_;
  std::vector<std::string> stopped_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Session> session_;
};

}  // namespace ember::auditing
