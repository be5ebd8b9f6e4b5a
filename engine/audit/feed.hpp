#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ember/model.hpp>
#include <ember/samples.hpp>
#include <ember/session.hpp>

namespace ember::auditing {

/// Brings samples to a model's only input, `batch` at a time.
class Feed {
 public:
  /// `batch` 0: chosen so that small samples go many at a time; a batch size fixed by the model wins. Throws
  /// Error when the model has not one numeric input of known extents, or the batch cannot be had.
  Feed(const Model& model, std::int64_t batch, std::int64_t samples);

  [[nodiscard]] const std::string& input() const noexcept { return input_.name; }
  [[nodiscard]] std::int64_t batch() const noexcept { return batch_; }
  /// The batch size is the caller's to choose.
  [[nodiscard]] bool open_batch() const noexcept { return open_batch_; }
  /// The input with `batch` samples; set_batch() changes it where open_batch().
  [[nodiscard]] Shape shape() const;
  void set_batch(std::int64_t batch) noexcept { batch_ = batch; }

  /// Fills the session's input with samples [first, first + n), n <= batch(); the rest of the batch repeats
  /// the last of them. Appends to `not_finite` which of them hold a NaN or an infinity.
  void load(Samples& samples, std::int64_t first, std::int64_t n, Session& session,
            std::vector<std::int64_t>& not_finite);
  /// The same with samples that need not follow one another; there are batch() of them at most.
  void load(Samples& samples, std::span<const std::int64_t> which, Session& session);

 private:
  /// The shape of a run's samples, axis 0 counting them; makes room for their values.
  Shape prepare();
  /// Fills up the batch behind its first `n` samples and hands it over.
  void finish(const Shape& shape, std::int64_t n, Session& session);

  ValueInfo input_;
  bool open_batch_ = false;
  bool batch_axis_ = true;  ///< false: the input has no axis to spare for a batch (rank 0 or 1)
  std::int64_t batch_ = 1;
  std::vector<float> values_;
};

}  // namespace ember::auditing
