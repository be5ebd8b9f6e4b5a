#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ember {

class AuditReport;
class Model;
class Samples;

/// What back-propagation of a loss brings to one channel: the gradient of the loss by its values before the
/// activation, which is what moves the weights that make them.
struct ChannelGradient {
  std::int64_t samples = 0;  ///< back-propagated; 0: not looked at
  /// Samples in which the gradient at some position is not zero in float32 (2^-126 at least).
  std::int64_t samples_nonzero = 0;
  double norm = 0;  ///< over its positions (L2), the root of the mean square over the samples
};

/// The same for all channels of a layer together.
struct LayerGradient {
  double norm = 0;
  /// Norm by the largest one of this layer and those after it, nearer to the loss; 0 where all are 0.
  double ratio = 0;
  bool vanishing = false;  ///< ratio < GradientReport::vanishing_below
  /// Of activations that are flat at both ends (Sigmoid, Tanh): the share of positions, over all samples of
  /// the audit, where the slope is at most 0.001; 0 for others.
  double saturated = 0;
};

/// A loss over labelled samples, and how well the network does on them.
struct GradientReport {
  std::string output;         ///< the network output that the loss is of
  std::string loss;           ///< in words: "cross-entropy of softmax"
  std::int64_t classes = 0;   ///< scores per sample
  std::int64_t samples = 0;   ///< that were back-propagated, spread evenly over those of the report
  double mean_loss = 0;       ///< of these, in nats
  std::int64_t labelled = 0;  ///< samples run for the accuracy: all of the report
  std::int64_t correct = 0;   ///< of these, with the highest score at the label
  double vanishing_below = 1e-3;

  [[nodiscard]] double accuracy() const noexcept {
    return labelled > 0 ? static_cast<double>(correct) / static_cast<double>(labelled) : 0.0;
  }
};

struct GradientOptions {
  /// The class of each sample of the data, counted from 0.
  std::vector<std::int64_t> labels;
  /// Samples to back-propagate, spread evenly over those of the report; 0: as many as a fixed amount of
  /// arithmetic allows, 16 to 4096.
  std::int64_t samples = 0;
  double vanishing_below = 1e-3;  ///< see LayerGradient::ratio
  int threads = 1;
};

/// Fills in the gradient view of a report, which is of `model` and `samples`: back-propagates the
/// cross-entropy of the network's scores. These are its first floating-point output with one score per class:
/// taken as they are where Softmax, LogSoftmax or Sigmoid made them, or where they are probabilities on the
/// data; logits of a softmax otherwise. One score alone is the logit of class 1 of two. Layers whose gradient
/// is not known, because it would have to pass an operator without a derivative rule, are noted in the
/// report. Throws Error when there is no such output or a label does not fit.
void back_propagate(const Model& model, Samples& samples, AuditReport& report,
                    const GradientOptions& options);

}  // namespace ember
