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

/// Looks for inputs of a domain that fire channels which no sample fired: among samples put into the domain
/// and random inputs, then by gradient ascent from the best of them and from given starts. What it finds has
/// fired the channel in a plain run of the engine.
class WitnessSearch {
 public:
  using Stop = std::function<bool()>;

  /// `input_shape` is the model's only input with a batch of 1 (or the batch that the model fixes); float32.
  WitnessSearch(const Model& model, std::string input, const Shape& input_shape, bool open_batch,
                const Domain& domain, std::span<const Claim> claims, int threads);
  ~WitnessSearch();
  WitnessSearch(const WitnessSearch&) = delete;
  WitnessSearch& operator=(const WitnessSearch&) = delete;

  /// Called with what fires a claim's channel: the claim's index, the input and the value reached.
  using Found = std::function<void(std::size_t claim, std::span<const float> input, double value)>;

  /// Runs up to `count` samples spread over the data and some random inputs, and remembers for every open
  /// claim which came closest.
  void look_around(Samples& samples, std::int64_t count, const Shape& with_batch, const Stop& stop,
                   const Found& found);
  /// An input to start from, or one that may fire the claim's channel as it is.
  void suggest(std::size_t claim, std::vector<float> input);
  /// Gradient ascent for every open claim: first from what came closest or was suggested, then from
  /// `restarts` random inputs each.
  void climb(int restarts, const Stop& stop, const Found& found);

 private:
  struct Climber {
    std::size_t claim;
    std::vector<float> at;
  };
  struct Best {
    double value = -std::numeric_limits<double>::infinity();
    std::vector<float> input;
    bool fresh = false;  ///< nothing has climbed from it yet
  };
  void put(std::size_t slot, std::span<const float> input);
  void run() { gradient_.run(); }
  [[nodiscard]] std::pair<double, std::int32_t> highest(std::size_t claim, std::size_t slot) const;
  void check_all(std::size_t slots, const Found& found);
  void try_firing(std::size_t claim, std::span<const float> input, const Found& found);
  void climb_together(std::span<Climber> climbers, const Stop& stop, const Found& found);
  std::vector<float> random_input(bool corner);
  [[nodiscard]] bool open(std::size_t claim) const;

  std::string input_;
  const Domain& domain_;
  std::span<const Claim> claims_;
  std::size_t batch_;     ///< samples per run
  std::size_t elements_;  ///< of one sample
  Gradient gradient_;
  std::vector<int> variables_;  ///< of each claim, as the gradient's formulas number them
  std::vector<Best> best_;
  std::vector<std::vector<std::vector<float>>> starts_;
  std::mt19937_64 random_{20230801};

  class Watch;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Session> plain_;  ///< what an audit runs, for one input
};

}  // namespace ember::auditing
