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
/// formulas, in double. For fixed input shapes, and any number of such inputs at once, the lanes of a batch:
/// each formula is written out once for all of them. One thread at a time.
class Gradient {
 public:
  /// `input_shapes`: of one lane. `watched`: ONNX values whose elements value() must be able to tell, beyond
  /// those that derivatives need; a name that is no value of the optimised network is passed over. `lanes`:
  /// as many as gradient_lanes() allows.
  Gradient(const Model& model, const std::map<std::string, Shape>& input_shapes, int threads = 1,
           const std::vector<std::string>& watched = {}, std::int64_t lanes = 1);
  ~Gradient();
  Gradient(const Gradient&) = delete;
  Gradient& operator=(const Gradient&) = delete;

  [[nodiscard]] std::size_t lanes() const noexcept { return lanes_; }
  /// Of one lane: variables and what they are called; see Formulas::find().
  [[nodiscard]] const Formulas& formulas() const noexcept { return formulas_; }

  /// Where the run reads an input from, lane after lane; fill it, then run().
  [[nodiscard]] TensorView input(const std::string& name) { return session_->input(name); }
  /// What runs: fill its inputs, then call run() above.
  [[nodiscard]] Session& session() noexcept { return *session_; }
  void run();
  /// A variable in the last run, of a network input, a watched value, or one that derivatives need: element i
  /// of a lane is at [i · lanes() + lane]. Empty when it is not kept.
  [[nodiscard]] std::span<const float> value(int variable) const {
    return values_[static_cast<std::size_t>(variable)];
  }

  /// d(Σ values · variable) is what is propagated back; in the order of value().
  struct Seed {
    int variable = -1;
    std::vector<double> values;
  };
  /// Propagates from the seeds to the inputs, at the values of the last run.
  void backward(std::span<const Seed> seeds);
  /// Of the last backward(): the derivative by a variable's elements, in the order of value(); empty where
  /// none arrived.
  [[nodiscard]] std::span<const double> gradient(int variable) const {
    return gradients_[static_cast<std::size_t>(variable)];
  }
  /// Formulas that a gradient of the last backward() met and that have no rule. Beyond them it is missing,
  /// not zero.
  [[nodiscard]] const std::vector<const Formula*>& stopped_at() const noexcept { return stopped_; }

 private:
  class Recorder;
  void need(int variable);
  void evaluate(int variable);
  void pull(const Formula& formula);
  bool pull_opaque(const OpaqueFormula& formula, std::span<const double> dy);
  void keep(int variable, std::span<const float> lane_after_lane);
  [[nodiscard]] std::span<double> target(int variable);

  Formulas formulas_;
  std::size_t lanes_;
  std::vector<bool> needed_, observable_;
  std::vector<std::vector<float>> values_;
  std::vector<std::vector<double>> gradients_;
  std::vector<const Formula*> stopped_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Session> session_;
};

/// How many lanes, at most `most`, a Gradient can have with a batch for the model's only input: as many as
/// leave its values within some hundred megabytes, and one where some value of the network does not keep
/// samples apart along its first axis. `shape`: of the input with a batch of one.
std::int64_t gradient_lanes(const Model& model, const std::string& input, const Shape& shape,
                            std::int64_t most);

}  // namespace ember::auditing
