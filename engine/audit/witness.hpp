#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <ember/model.hpp>
#include <ember/samples.hpp>
#include <ember/session.hpp>

#include "audit/claims.hpp"
#include "audit/domain.hpp"
#include "audit/gradient.hpp"

namespace ember::auditing {

/// Looks for inputs of a domain that break claims: that fire channels which no sample fired, or switch off
/// those that were always on: among samples put into the domain and random inputs; for those to be fired,
/// then by gradient ascent from the best of them and from given starts. What it finds has done so in a plain
/// run of the engine.
class WitnessSearch {
 public:
  using Stop = std::function<bool()>;

  /// `input_shape` is the model's only input with a batch of 1 (or the batch that the model fixes); float32.
  WitnessSearch(const Model& model, std::string input, const Shape& input_shape, bool open_batch,
                const Domain& domain, std::span<const Claim> claims, int threads);
  ~WitnessSearch();
  WitnessSearch(const WitnessSearch&) = delete;
  WitnessSearch& operator=(const WitnessSearch&) = delete;

  /// Called with what breaks a claim: its index, the input and the value of the channel that lies farthest
  /// beyond what the claim allows.
  using Found = std::function<void(std::size_t claim, std::span<const float> input, double value)>;

  /// Runs up to `count` samples spread over the data and some random inputs, and remembers for every open
  /// claim which came closest.
  void look_around(Samples& samples, std::int64_t count, const Shape& with_batch, const Stop& stop,
                   const Found& found);
  /// An input to start from, or one that may break the claim as it is.
  void suggest(std::size_t claim, std::vector<float> input);
  /// Tells of the claim when the input breaks it.
  void try_breaking(std::size_t claim, std::span<const float> input, const Found& found);
  /// Gradient ascent for every open claim: first from what came closest or was suggested, then from
  /// `restarts` random inputs each.
  void climb(int restarts, const Stop& stop, const Found& found);
  /// For every open claim: from what came closest, one input element after the other.
  void polish(const Stop& stop, const Found& found);

 private:
  struct Climber {
    std::size_t claim;
    std::vector<float> at;
    std::vector<float> best;
    std::vector<double> direction;
    double length = 0.0;  ///< of a step, as a share of the domain's extent
    double reached = -std::numeric_limits<double>::infinity();
    double reached_before = -std::numeric_limits<double>::infinity();
  };
  /// An input that came close to breaking a claim.
  struct Close {
    double excess = -std::numeric_limits<double>::infinity();
    std::vector<float> input;
    bool fresh = false;  ///< nothing has climbed from it yet
  };
  struct Farthest {
    double excess = -std::numeric_limits<double>::infinity();
    std::size_t at = 0;  ///< in Gradient::value()
    double sign = 0.0;   ///< of the side; 0: there is no value
  };
  void put(std::size_t slot, std::span<const float> input);
  [[nodiscard]] std::span<const float> in(std::size_t slot);
  void run() { gradient_.run(); }
  [[nodiscard]] Farthest farthest(std::size_t claim, std::size_t slot) const;
  void note(std::size_t claim, double excess, std::size_t slot, bool fresh);
  void check_all(std::size_t slots, bool fresh, const Found& found);
  void climb_together(std::span<Climber> climbers, const Stop& stop, const Found& found);
  void take_step(Climber& climber, std::size_t slot, std::span<const double> slopes, int step);
  void polish_from(std::size_t claim, Close best, const Stop& stop, const Found& found);
  std::vector<float> random_input(bool corner);
  [[nodiscard]] bool open(std::size_t claim) const;

  std::string input_;
  const Domain& domain_;
  std::span<const Claim> claims_;
  std::size_t elements_;  ///< of one input
  Gradient gradient_;
  std::size_t batch_;                            ///< inputs per run: the gradient's lanes
  std::vector<std::vector<Claim::Side>> sides_;  ///< of each claim
  std::vector<std::vector<Close>> close_;        ///< of each claim of a silent channel, the closest first
  std::size_t closest_ = 4;                      ///< that are kept: fewer where they would take much memory
  std::vector<std::vector<std::vector<float>>> starts_;
  std::mt19937_64 random_{20230801};

  class Watch;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Session> plain_;  ///< what an audit runs, for one input
};

}  // namespace ember::auditing
