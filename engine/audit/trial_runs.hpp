#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ember/explain.hpp>

#include "audit/channel_watch.hpp"
#include "audit/feed.hpp"
#include "graph/graph.hpp"
#include "kernels/activation.hpp"

namespace ember::auditing {

/// Runs some samples of an audit through a network and its variants, and watches channels.
class TrialRuns {
 public:
  TrialRuns(const Model& model, Samples& samples, std::int64_t audited, const ExplainOptions& options);

  [[nodiscard]] const Feed& feed() const { return feed_; }

  /// Watches the values before an activation of the next network, which makes `output`, for some channels
  /// and the extremes that they have in each sample. Returns the number of the watch.
  int watch_activation(const std::string& output, const kernels::Activation& activation, bool last_axis,
                       std::vector<std::int64_t> channels);
  /// Watches an output of the next network as if it were the input of an activation; all channels where
  /// `channels` is empty, but without extremes then.
  int watch_output(const std::string& output, const kernels::Activation& activation, bool last_axis,
                   std::vector<std::int64_t> channels = {});

  /// Runs the samples through a network, for the watches not yet filled.
  void run(const Model& network);
  /// Notes in a run whether these outputs are the same for all samples.
  void compare(std::vector<std::string> outputs) { compared_ = std::move(outputs); }
  /// Notes the least input of the samples in the next runs.
  void note_least_input() { notes_least_ = true; }

  [[nodiscard]] std::int64_t samples() const { return static_cast<std::int64_t>(chosen_.size()); }
  [[nodiscard]] ChannelStatistics seen(int watched, std::int64_t channel) const;
  [[nodiscard]] std::span<const Range> ranges(int watched, std::int64_t channel) const;
  [[nodiscard]] float least_input() const { return least_input_; }
  /// Every sample has made the same outputs; nothing is said of a single one, which is always like itself.
  [[nodiscard]] bool constant_outputs() const { return constant_outputs_ && samples() > 1; }

 private:
  struct Watched {
    std::string value;
    kernels::Activation activation;
    bool last_axis = false;
    bool before_activation = false;
    std::vector<std::int64_t> channels;  ///< whose ranges are kept
    std::unique_ptr<ChannelWatch> watch;
  };

  void choose_samples(double flops_per_sample);
  bool pass(const Model& network);
  void note_input(Session& session);
  void note_outputs(const Session& session);

  Samples& samples_;
  std::int64_t audited_;
  const ExplainOptions& options_;
  Feed feed_;
  std::vector<Watched> watched_;
  std::size_t next_ = 0;  ///< the first that is not yet filled
  std::vector<std::int64_t> chosen_;
  std::vector<std::string> compared_;
  std::map<std::string, std::string> outputs_;
  bool constant_outputs_ = true;
  bool notes_least_ = false;
  float least_input_ = 0.0F;
};

}  // namespace ember::auditing
