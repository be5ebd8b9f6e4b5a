#include "audit/prove.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <oneapi/tbb/task_arena.h>

#include "audit/bounds.hpp"
#include "audit/claims.hpp"
#include "audit/domain.hpp"
#include "audit/feed.hpp"
#include "audit/splitting.hpp"
#include "audit/substitution.hpp"
#include "audit/witness.hpp"
#include "runtime/session_impl.hpp"
#include "runtime/threads.hpp"

namespace ember::auditing {

namespace {

using Clock = std::chrono::steady_clock;

class Prover {
 public:
  Prover(const Model& model, Samples& samples, const AuditOptions& options, AuditReport& report)
      : model_(model),
        samples_(samples),
        options_(options),
        report_(report),
        started_(Clock::now()),
        feed_(one_sample(model)),
        formulas_(model, {{feed_.input(), feed_.shape()}}),
        claims_(claims_of(report, *runtime::optimized_graph(model), formulas_)),
        threads_(options.threads == 0 ? runtime::available_processors() : options.threads),
        parallel_(threads_) {}

  void run() {
    report_.proof.emplace();
    if (threads_ > 1) {
      tbb::task_arena arena(threads_);
      arena.execute([&] { search(); });
    } else {
      search();
    }
    report_.proof->seconds = elapsed();
    if (any_open() && out_of_time()) report_.proof->complete = false;
  }

 private:
  static Feed one_sample(const Model& model) {
    Feed feed(model, 0, 1);
    if (feed.open_batch()) feed.set_batch(1);
    return feed;
  }
  [[nodiscard]] double elapsed() const {
    return std::chrono::duration<double>(Clock::now() - started_).count();
  }
  [[nodiscard]] bool out_of_time() const { return elapsed() > options_.time_limit; }

  void search() {
    find_domain();
    prove_by_intervals();
    look_for_witnesses();
    prove_by_substitution();
    follow_linear_bounds();
    prove_by_splitting();
    name_what_has_no_rule();
  }

  void find_domain() {
    const Shape with_batch = with_batch_axis();
    const std::int64_t per_sample = with_batch.elements(1, with_batch.rank());
    ProofReport& proof = *report_.proof;
    if (options_.domain.has_value()) {
      domain_ = spread(*options_.domain, per_sample);
      proof.samples_outside = range_of(samples_, report_.samples, with_batch, &domain_).outside;
    } else {
      domain_ = range_of(samples_, report_.samples, with_batch, nullptr).range;
    }
    proof.domain = domain_.source;
    proof.from_data = domain_.from_data;
    proof.lower = double{*std::ranges::min_element(domain_.lower)};
    proof.upper = double{*std::ranges::max_element(domain_.upper)};
  }

  void prove_by_intervals() {
    const InputBounds inputs = {
        input_bounds(domain_, feed_.shape().elements() / static_cast<std::int64_t>(domain_.size()))};
    bounds_ = propagate(formulas_, inputs, parallel_, [&] { return out_of_time(); });
    settle(Proof::Interval);
    find_contradictions();
  }

  /// Channels that fire on the data although they cannot in the domain: some data must lie outside of it.
  void find_contradictions() const {
    for (const Claim& claim : claims_) {
      const Bounds& x = bounds_[static_cast<std::size_t>(claim.variable)];
      if (claim.kind != Claim::Kind::Fires || x.size() == 0 || !claim.holds(x)) continue;
      ++report_.proof->channels_contradicted;
      if (report_.proof->samples_outside > 0 || report_.samples_not_finite > 0) continue;
      throw Error(
          ErrorCode::Internal,
          fmt::format("channel {} fires on the data, although bounds say that it cannot",
                      claim.channel->index),
          {.model = model_.name(), .node = claim.layer->node, .cure = "report the model that shows it"});
    }
  }

  void look_for_witnesses() {
    if (!any_open() || out_of_time()) return;
    const std::vector<ValueInfo> inputs = model_.inputs();
    if (inputs.front().type != DataType::Float32) {
      report_.notes.emplace_back("Witnesses are not looked for: the input is not of float32");
      return;
    }
    search_.emplace(model_, feed_.input(), feed_.shape(), feed_.open_batch(), domain_, claims_, threads_);
    // At most a good part of the time: what cannot be fired is left for proofs.
    const Clock::time_point until = part_of_time(0.4);
    const auto stop = [until] { return Clock::now() > until; };
    search_->look_around(samples_, 512, with_batch_axis(), stop, found_);
    search_->climb(8, stop, found_);
    search_->polish(stop, found_);
  }

  /// The corners where linear bounds are largest, as starts of another search.
  void follow_linear_bounds() {
    if (!search_.has_value() || !any_open_dead() || out_of_time() || formulas_.inputs().size() != 1) return;
    const Clock::time_point until = part_of_time(0.5);
    const auto stop = [until] { return Clock::now() > until; };
    for (std::size_t c = 0; c < claims_.size() && !stop(); ++c) {
      const Claim& claim = claims_[c];
      if (!claim.open() || claim.kind != Claim::Kind::Dead) continue;
      const Bounds& x = bounds_[static_cast<std::size_t>(claim.variable)];
      if (x.size() == 0) continue;
      const auto highest = std::ranges::max_element(
          claim.positions, {}, [&](std::int32_t i) { return x.upper[static_cast<std::size_t>(i)]; });
      const auto linear = substitute(formulas_, bounds_, claim.variable, std::span(&*highest, 1), 1.0, true);
      std::vector<float> corner(domain_.size());
      for (std::size_t i = 0; i < corner.size(); ++i)
        corner[i] = linear[0].coefficients[i] > 0.0 ? domain_.upper[i] : domain_.lower[i];
      search_->suggest(c, std::move(corner));
    }
    search_->climb(24, stop, found_);
    search_->polish(stop, found_);
  }

  /// In turns with attempts to break the claim where the worst parts may. Silent channels come first.
  void prove_by_splitting() {
    if (!any_open() || out_of_time() || !Splitter::applies(formulas_, domain_)) return;
    Splitter splitter(formulas_, domain_, bounds_, claims_);
    const Clock::time_point until = part_of_time(0.8);
    split(splitter, Claim::Kind::Dead, [until] { return Clock::now() > until; });
    split(splitter, Claim::Kind::AlwaysOn, [this] { return out_of_time(); });
    split(splitter, Claim::Kind::Dead, [this] { return out_of_time(); });
  }

  void split(Splitter& splitter, Claim::Kind kind, const std::function<bool()>& stop) {
    bool more = true;
    while (more && !stop()) {
      more = splitter.advance(
          kind, parallel_, stop,
          [&](std::size_t c) {
            claims_[c].channel->proof = Proof::Splitting;
            if (kind == Claim::Kind::Dead) claims_[c].channel->verdict = Verdict::ProvedDead;
          },
          [&](std::size_t c, std::vector<float> input) {
            if (!search_.has_value()) return;
            if (kind == Claim::Kind::Dead) search_->suggest(c, std::move(input));
            else search_->try_breaking(c, input, found_);
          });
      if (search_.has_value() && kind == Claim::Kind::Dead) search_->climb(0, stop, found_);
    }
  }

  void break_claim(Claim& claim, std::span<const float> input, double value) {
    claim.broken = true;
    if (claim.kind == Claim::Kind::AlwaysOn) {
      ++report_.proof->always_on_refuted;
      return;
    }
    claim.channel->verdict = Verdict::Refuted;
    claim.channel->witness = static_cast<std::int64_t>(report_.witnesses.size());
    Witness witness{.node = claim.layer->node, .channel = claim.channel->index, .input = {}, .value = value};
    witness.input = Tensor(with_batch_axis().with(0, 1), input);
    report_.witnesses.push_back(std::move(witness));
  }

  [[nodiscard]] Clock::time_point part_of_time(double share) const {
    const double left = std::max(0.0, options_.time_limit - elapsed());
    return Clock::now() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(share * left));
  }

  /// The input's shape with samples along axis 0.
  [[nodiscard]] Shape with_batch_axis() const {
    const Shape shape = feed_.shape();
    std::vector<std::int64_t> dims(shape.begin(), shape.end());
    if (dims.size() < 2) dims.insert(dims.begin(), 1);
    return Shape(dims);
  }

  /// Layer by layer: the bounds of every unit that is not linear are narrowed before they are used further
  /// on.
  void prove_by_substitution() {
    if (!any_open()) return;
    // A pass is not interrupted: beyond this it would take some seconds.
    constexpr double kMostWork = 3e8;
    double work = 0.0;
    for (const auto& formula : formulas_.all()) {
      const double terms = formula->linear() != nullptr ? formula->linear()->terms_per_row() : 1.0;
      work += terms * static_cast<double>(formulas_.variable(formula->output).size());
    }
    if (work > kMostWork) {
      report_.notes.emplace_back(
          "Linear bounds are not computed for a network of this size: intervals alone prove less");
      return;
    }
    std::set<int> last;
    for (const Claim& claim : claims_) {
      if (claim.open()) last.insert(formulas_.variable(claim.variable).formula);
    }
    const int end = *last.rbegin();
    int layers = 0;
    for (int f = 0; f <= end; ++f) layers += is_sum(f) ? 1 : 0;
    bool first = true;
    for (int f = 0; f <= end && !out_of_time(); ++f) {
      const Formula& formula = *formulas_.all()[static_cast<std::size_t>(f)];
      propagate(formulas_, formula, bounds_, parallel_);
      std::vector<std::int32_t> loose = loose_elements(formulas_, bounds_, formula.output);
      if (loose.empty()) continue;
      // What follows from the input by sums alone has exact intervals already, but for the first one.
      if (std::exchange(first, false) && only_sums_before(f)) continue;
      const double share = (options_.time_limit - elapsed()) / std::max(1, layers);
      const Clock::time_point until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                         std::chrono::duration<double>(std::max(0.0, share)));
      if (!tighten(formulas_, bounds_, formula.output, loose, parallel_,
                   [&] { return Clock::now() > until; }))
        report_.proof->complete = false;
      settle(Proof::Substitution);
    }
  }

  [[nodiscard]] bool is_sum(int f) const {
    const LinearFormula* linear = formulas_.all()[static_cast<std::size_t>(f)]->linear();
    return linear != nullptr && linear->terms_per_row() > 1.0;
  }
  /// At most one formula that adds up lies between the input and this one's output.
  [[nodiscard]] bool only_sums_before(int f) const {
    int sums = 0;
    for (int i = 0; i <= f; ++i) {
      if (formulas_.all()[static_cast<std::size_t>(i)]->linear() == nullptr) return false;
      sums += is_sum(i) ? 1 : 0;
    }
    return sums <= 1;
  }

  [[nodiscard]] bool any_open() const {
    return std::ranges::any_of(claims_, [](const Claim& claim) { return claim.open(); });
  }

  [[nodiscard]] bool any_open_dead() const {
    return std::ranges::any_of(
        claims_, [](const Claim& claim) { return claim.open() && claim.kind == Claim::Kind::Dead; });
  }

  /// Marks what the bounds prove.
  void settle(Proof proof) {
    for (const Claim& claim : claims_) {
      const Bounds& x = bounds_[static_cast<std::size_t>(claim.variable)];
      if (x.size() == 0) continue;
      claim.note(x);
      if (!claim.open() || !claim.holds(x)) continue;
      claim.channel->proof = proof;
      if (claim.kind == Claim::Kind::Dead) claim.channel->verdict = Verdict::ProvedDead;
    }
  }

  void name_what_has_no_rule() {
    const bool open = any_open_dead();
    const std::vector<std::string> missing = formulas_.without_rule();
    if (!open || missing.empty()) return;
    report_.notes.push_back(fmt::format(
        "Bounds end at operators of which only the range is known: {}{}",
        fmt::join(missing.begin(), missing.begin() + std::min<std::ptrdiff_t>(3, std::ssize(missing)), ", "),
        missing.size() > 3 ? fmt::format(" and {} more", missing.size() - 3) : ""));
  }

  const Model& model_;
  Samples& samples_;
  const AuditOptions& options_;
  AuditReport& report_;
  Clock::time_point started_;
  Feed feed_;
  Formulas formulas_;
  std::vector<Claim> claims_;
  int threads_;
  runtime::ArenaParallel parallel_;
  Domain domain_;
  AllBounds bounds_;
  std::optional<WitnessSearch> search_;
  const WitnessSearch::Found found_ = [this](std::size_t claim, std::span<const float> input, double value) {
    break_claim(claims_[claim], input, value);
  };
};

}  // namespace

void prove(const Model& model, Samples& samples, const AuditOptions& options, AuditReport& report) {
  if (!options.domain.has_value() && !options.domain_from_data) return;
  Prover(model, samples, options, report).run();
}

}  // namespace ember::auditing
