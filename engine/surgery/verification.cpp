#include <ember/verification.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include <ember/session.hpp>

#include "audit/feed.hpp"
#include "onnx/write.hpp"
#include "ops/typed.hpp"
#include "surgery/random_input.hpp"

namespace ember {

namespace {

using auditing::Feed;
using surgery::RandomSamples;
using surgery::RangeOf;
using Clock = std::chrono::steady_clock;

/// The elements of a tensor as doubles.
void widen(const ConstTensorView& view, std::vector<double>& values) {
  values.resize(static_cast<std::size_t>(view.elements()));
  ops::dispatch_type(view.type(), [&](auto zero) {
    const auto from = view.data<decltype(zero)>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(ops::widen(from[i]));
  });
}

double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double difference = std::abs(a - b);
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

std::int64_t argmax(std::span<const double> values) {
  return std::ranges::max_element(values) - values.begin();
}

[[noreturn]] void fail_face(const Model& model, const std::string& what) {
  throw Error(ErrorCode::InvalidArgument, what,
              {.model = model.name(), .cure = "compare networks with the same inputs and outputs"});
}

void require_same_face(const Model& before, const Model& after) {
  const auto names = [](const std::vector<ValueInfo>& values) {
    std::vector<std::pair<std::string, DataType>> list;
    for (const ValueInfo& value : values) list.emplace_back(value.name, value.type);
    return list;
  };
  if (names(before.inputs()) != names(after.inputs())) fail_face(after, "the networks' inputs differ");
  if (names(before.outputs()) != names(after.outputs())) fail_face(after, "the networks' outputs differ");
}

/// Both networks compiled for one batch size, run on the same input.
class Pair {
 public:
  Pair(const Model& before, const Model& after, const SessionOptions& options)
      : before_(before, options), after_(after, options), name_(after.name()) {}

  [[nodiscard]] Session& before() noexcept { return before_; }
  [[nodiscard]] Session& after() noexcept { return after_; }

  /// Gives the changed network the input that the original's session holds.
  void share_input() {
    for (const std::string& name : before_.input_names()) {
      const ConstTensorView from = before_.input(name);
      const TensorView to = after_.input(name);
      if (from.shape() != to.shape()) {
        throw Error(ErrorCode::InvalidArgument, "the networks' inputs have different shapes",
                    {.model = name_, .tensor = name});
      }
      if (from.bytes() != 0) std::memcpy(to.raw(), from.raw(), from.bytes());
    }
  }
  void run() {
    before_.run();
    after_.run();
  }
  /// Every output has the batch on axis 0. Valid after a run.
  [[nodiscard]] bool batch_in_front(std::int64_t batch) const {
    return std::ranges::all_of(before_.output_names(), [&](const std::string& name) {
      const Shape shape = before_.output(name).shape();
      return shape.rank() > 0 && shape[0] == batch;
    });
  }

 private:
  Session before_, after_;
  std::string name_;
};

/// Gathers one DataComparison, run by run.
class Comparer {
 public:
  Comparer(DataComparison& result, Pair& pair, const std::optional<std::vector<std::int64_t>>& labels,
           int label_offset)
      : result_(result), pair_(pair), labels_(labels), label_offset_(label_offset) {
    for (const std::string& name : pair.before().output_names()) result.outputs.push_back({.output = name});
  }

  /// After a run of `batch` samples, of which the first `n` count: samples first, first + 1, ….
  void add(std::int64_t first, std::int64_t n, std::int64_t batch) {
    for (std::size_t i = 0; i < result_.outputs.size(); ++i) {
      OutputDifference& output = result_.outputs[i];
      const ConstTensorView before = pair_.before().output(output.output);
      const ConstTensorView after = pair_.after().output(output.output);
      if (before.shape() != after.shape()) {
        throw Error(ErrorCode::InvalidArgument,
                    fmt::format("an output has shape {} and had {}", to_string(after.shape()),
                                to_string(before.shape())),
                    {.tensor = output.output});
      }
      widen(before, before_);
      widen(after, after_);
      const bool apart = before.shape().rank() > 0 && before.shape()[0] == batch;
      const std::size_t each = before_.size() / static_cast<std::size_t>(apart ? batch : 1);
      const std::int64_t rows = apart ? n : 1;
      for (std::int64_t row = 0; row < rows && each > 0; ++row) {
        compare(output, i == 0 && (apart || batch == 1) ? first + row : -1,
                static_cast<std::size_t>(row) * each, each);
      }
    }
    result_.samples += n;
  }

  void finish() {
    for (OutputDifference& output : result_.outputs) {
      output.max_relative = output.max_absolute == 0 ? 0 : output.max_absolute / output.largest;
    }
    if (labelled_ == 0) return;
    const auto count = static_cast<double>(labelled_);
    result_.accuracy_before = static_cast<double>(right_before_) / count;
    result_.accuracy_after = static_cast<double>(right_after_) / count;
  }

 private:
  /// `sample` is −1 where its label does not matter.
  void compare(OutputDifference& output, std::int64_t sample, std::size_t from, std::size_t count) {
    const auto before = std::span(before_).subspan(from, count);
    const auto after = std::span(after_).subspan(from, count);
    for (std::size_t i = 0; i < count; ++i) {
      if (std::isfinite(before[i])) output.largest = std::max(output.largest, std::abs(before[i]));
      output.max_absolute = std::max(output.max_absolute, distance(before[i], after[i]));
    }
    if (count < 2) return;
    const std::int64_t was = argmax(before);
    const std::int64_t is = argmax(after);
    output.argmax_changes += was != is ? 1 : 0;
    if (!labels_ || sample < 0) return;
    const std::int64_t label = labels_->at(static_cast<std::size_t>(sample)) + label_offset_;
    ++labelled_;
    right_before_ += was == label ? 1 : 0;
    right_after_ += is == label ? 1 : 0;
  }

  DataComparison& result_;
  Pair& pair_;
  const std::optional<std::vector<std::int64_t>>& labels_;
  int label_offset_;
  std::int64_t labelled_ = 0, right_before_ = 0, right_after_ = 0;
  std::vector<double> before_, after_;
};

class Verifier {
 public:
  Verifier(const Model& before, const Model& after, const VerifySources& sources,
           const VerifyOptions& options)
      : before_(before), after_(after), sources_(sources), options_(options) {}

  Verification run() {
    require_same_face(before_, after_);
    result_.threads = options_.threads;
    result_.before = footprint(before_);
    result_.after = footprint(after_);
    const bool single = before_.inputs().size() == 1;
    std::vector<std::pair<ComparedOn, Samples*>> data;
    if (sources_.calibration != nullptr) data.emplace_back(ComparedOn::Calibration, sources_.calibration);
    if (sources_.held_out != nullptr) data.emplace_back(ComparedOn::HeldOut, sources_.held_out);
    for (const auto& [kind, samples] : data) {
      RangeOf ranged(*samples);
      compare(kind, ranged);
      if (lower_.empty()) take_range(ranged);
    }
    if (options_.random_samples > 0) {
      if (single) random_samples(!data.empty());
      else random_runs();
    }
    measure();
    return std::move(result_);
  }

 private:
  static Footprint footprint(const Model& model) {
    const ModelInfo info = model.info();
    return {.parameters = info.parameters,
            .parameter_bytes = info.parameter_bytes,
            .file_bytes = static_cast<std::int64_t>(onnx::count_bytes(model.graph()))};
  }

  [[nodiscard]] SessionOptions session_options() const {
    SessionOptions options;
    options.threads = options_.threads;
    return options;
  }

  [[nodiscard]] std::int64_t count_of(const Samples& samples) const {
    return options_.samples > 0 ? std::min(options_.samples, samples.count()) : samples.count();
  }

  void compare(ComparedOn kind, Samples& samples) {
    const std::int64_t total = kind == ComparedOn::Random ? samples.count() : count_of(samples);
    if (total == 0) {
      throw Error(ErrorCode::InvalidData, "the data holds no sample", {.tensor = samples.description()});
    }
    Feed feed(before_, options_.batch, total);
    if (pass(kind, samples, feed, total)) return;
    // Some output mixes the batch with another axis; one sample per run keeps samples apart.
    feed.set_batch(1);
    pass(kind, samples, feed, total);
  }

  /// False: stopped after the first run, which showed that batches must be given up.
  bool pass(ComparedOn kind, Samples& samples, Feed& feed, std::int64_t total) {
    SessionOptions session_options = this->session_options();
    session_options.input_shapes = {{feed.input(), feed.shape()}};
    Pair pair(before_, after_, session_options);
    DataComparison comparison{.kind = kind, .data = samples.description()};
    const auto labels = samples.labels();
    Comparer comparer(comparison, pair, labels, options_.label_offset);
    std::vector<std::int64_t> ignored;
    for (std::int64_t done = 0; done < total;) {
      const std::int64_t n = std::min(feed.batch(), total - done);
      feed.load(samples, done, n, pair.before(), ignored);
      pair.share_input();
      pair.run();
      if (feed.open_batch() && feed.batch() > 1 && !pair.batch_in_front(feed.batch())) return false;
      comparer.add(done, n, feed.batch());
      done += n;
      if (options_.progress) options_.progress(done, total);
    }
    comparer.finish();
    result_.comparisons.push_back(std::move(comparison));
    return true;
  }

  void take_range(const RangeOf& ranged) {
    lower_ = ranged.lower();
    upper_ = ranged.upper();
    for (std::size_t i = 0; i < lower_.size(); ++i) {
      if (lower_[i] > upper_[i]) lower_[i] = upper_[i] = 0;  // never finite
    }
  }

  void random_samples(bool have_data) {
    std::string what = fmt::format("uniform noise, seed {}, ", options_.seed);
    std::vector<float> lower = options_.lower;
    std::vector<float> upper = options_.upper;
    if (!lower.empty() || !upper.empty()) {
      what += "in the domain";
    } else if (!lower_.empty()) {
      what += "between the ends of the data";
      lower = lower_;
      upper = upper_;
    } else {
      what += "between -1 and 1";
      lower = {-1.0F};
      upper = {1.0F};
    }
    RandomSamples random(options_.random_samples, options_.seed, std::move(lower), std::move(upper), what);
    try {
      compare(ComparedOn::Random, random);
    } catch (const Error& error) {
      // An input of open extents cannot be fed; with data the same error came from these already.
      if (have_data || error.code() != ErrorCode::Unsupported) throw;
      result_.notes.push_back("not compared on random input: " + error.reason());
    }
  }

  /// For a model of any number of inputs.
  void random_runs() {
    try {
      Pair pair(before_, after_, session_options());
      DataComparison comparison{
          .kind = ComparedOn::Random,
          .data = fmt::format("uniform noise, seed {}, floats between -1 and 1, others 0", options_.seed)};
      const std::optional<std::vector<std::int64_t>> no_labels;
      Comparer comparer(comparison, pair, no_labels, 0);
      for (std::int64_t i = 0; i < options_.random_samples; ++i) {
        surgery::fill_random(pair.before(), options_.seed + static_cast<std::uint64_t>(i));
        pair.share_input();
        pair.run();
        comparer.add(i, 1, 1);
      }
      comparer.finish();
      result_.comparisons.push_back(std::move(comparison));
    } catch (const Error& error) {
      result_.notes.push_back("not compared on random input: " + error.reason());
    }
  }

  void measure() {
    try {
      Pair pair(before_, after_, session_options());
      surgery::fill_random(pair.before(), options_.seed);
      pair.share_input();
      pair.run();
      result_.isa = pair.before().isa();
      const std::vector<std::string>& names = pair.before().input_names();
      if (!names.empty()) {
        const Shape shape = pair.before().input(names.front()).shape();
        if (shape.rank() > 1) result_.batch = shape[0];
      }
      const auto samples = static_cast<double>(std::max<std::int64_t>(result_.batch, 1));
      result_.before.flops = pair.before().flops() / samples;
      result_.after.flops = pair.after().flops() / samples;
      if (options_.seconds > 0) time(pair, samples);
    } catch (const Error& error) {
      result_.notes.push_back("time was not measured: " + error.reason());
    }
  }

  /// In alternation, so that what slows the machine for a while slows both.
  void time(Pair& pair, double samples) {
    constexpr double kChunk = 1e-3;  // seconds: long against the clock's own cost
    constexpr std::size_t kFewest = 5;
    const std::array<Session*, 2> sessions = {&pair.before(), &pair.after()};
    const auto chunk = [](Session& session, std::int64_t runs) {
      const Clock::time_point start = Clock::now();
      for (std::int64_t i = 0; i < runs; ++i) session.run();
      return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(runs);
    };
    const double once = std::max(chunk(*sessions[0], 1), 1e-9);
    const auto runs = static_cast<std::int64_t>(std::clamp(std::ceil(kChunk / once), 1.0, 1e6));
    std::array<std::vector<double>, 2> seconds;
    const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                     std::chrono::duration<double>(options_.seconds));
    for (std::size_t round = 0; round < kFewest || Clock::now() < end; ++round) {
      for (const std::size_t turn : {std::size_t{0}, std::size_t{1}}) {
        const std::size_t which = (turn + round) % 2;
        seconds[which].push_back(chunk(*sessions[which], runs));
      }
    }
    // Other work on the machine only ever adds time, and more to one of the two by chance.
    result_.before.milliseconds = std::ranges::min(seconds[0]) * 1e3 / samples;
    result_.after.milliseconds = std::ranges::min(seconds[1]) * 1e3 / samples;
    result_.time_runs = runs * static_cast<std::int64_t>(seconds[0].size());
  }

  const Model& before_;
  const Model& after_;
  const VerifySources& sources_;
  const VerifyOptions& options_;
  std::vector<float> lower_, upper_;
  Verification result_;
};

}  // namespace

const char* to_string(ComparedOn kind) noexcept {
  switch (kind) {
    case ComparedOn::Calibration: return "calibration";
    case ComparedOn::HeldOut: return "held_out";
    case ComparedOn::Random: return "random";
  }
  return "?";
}

double DataComparison::max_absolute() const {
  double worst = 0;
  for (const OutputDifference& output : outputs) worst = std::max(worst, output.max_absolute);
  return worst;
}

double DataComparison::max_relative() const {
  double worst = 0;
  for (const OutputDifference& output : outputs) worst = std::max(worst, output.max_relative);
  return worst;
}

std::int64_t DataComparison::argmax_changes() const {
  std::int64_t worst = 0;
  for (const OutputDifference& output : outputs) worst = std::max(worst, output.argmax_changes);
  return worst;
}

const DataComparison* Verification::find(ComparedOn kind) const {
  const auto found =
      std::ranges::find_if(comparisons, [&](const DataComparison& one) { return one.kind == kind; });
  return found == comparisons.end() ? nullptr : &*found;
}

Verification verify(const Model& before, const Model& after, const VerifySources& sources,
                    const VerifyOptions& options) {
  return Verifier(before, after, sources, options).run();
}

}  // namespace ember
