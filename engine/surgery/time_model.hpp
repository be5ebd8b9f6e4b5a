#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ember/model.hpp>
#include <ember/session.hpp>

namespace ember::surgery {

/// How long a network takes, step by step.
struct StepTimes {
  struct Step {
    std::vector<std::string> labels;  ///< of its nodes; of a change of layout: the value's name
    double milliseconds = 0;
  };
  double milliseconds = 0;  ///< per inference
  std::vector<Step> steps;
};

/// Runs the models in turns; of each step the least time that it was seen to take.
std::vector<StepTimes> time_steps(std::span<const Model> models, int threads);

/// Predicts what networks made of one network cost here. Each step of the original is timed once. In another
/// network the same step by the same kernel takes time in proportion to its work, where channels count in
/// whole vectors, as kernels compute them: 13 of 16 channels cost what 16 do. A step that changed its kernel
/// takes what that kernel took per unit of work elsewhere.
class TimeModel {
 public:
  /// Throws Error when the model cannot be compiled.
  TimeModel(const Model& model, int threads);

  [[nodiscard]] StepTimes predict(const Model& model) const;

 private:
  struct Known {
    double work = 0;
    double milliseconds = 0;
  };
  [[nodiscard]] double milliseconds_of(const ProfileEntry& entry, double work) const;

  int threads_;
  double overhead_ = 0;                   ///< milliseconds of a step that does nothing
  double scale_ = 1;                      ///< of a run to the sum of its steps
  std::map<std::string, Known> steps_;    ///< by kernel and node
  std::map<std::string, Known> kernels_;  ///< sums by kernel
  Known all_;
};

}  // namespace ember::surgery
