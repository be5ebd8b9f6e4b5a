#include "surgery_options.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include <fmt/format.h>

#include <ember/error.hpp>
#include <ember/report.hpp>

#include "progress.hpp"

namespace ember::cli {

void SurgeryOptions::add_to(CLI::App& verb) {
  verb.add_option("-o,--output", output_, "where the new network goes")->required()->option_text("OUT.onnx");
  add_data(verb, data_, preprocess_);
  preprocessing_.add_to(verb);
  verb.add_option("--verify", held_out_,
                  "other data, on which the new network is held against the old as well")
      ->option_text("PATH");
  add_samples(verb, samples_);
  add_batch(verb, batch_);
  add_threads(verb, threads_);
  json.add_to(verb);
}

std::unique_ptr<Samples> SurgeryOptions::open(const Model& model, const std::string& path) const {
  const std::vector<ValueInfo> inputs = model.inputs();
  return open_samples(path, preprocessing_.over(preprocess_),
                      inputs.empty() ? std::string() : inputs.front().name);
}

void SurgeryOptions::add_audit_to(CLI::App& verb) {
  verb.add_option("--audit", audit_, "take the verdicts from this report (ember audit --json FILE)")
      ->option_text("FILE");
}

std::optional<AuditReport> SurgeryOptions::report() const {
  if (audit_.empty()) return std::nullopt;
  return report_from_json_file(audit_);
}

std::unique_ptr<Samples> SurgeryOptions::data(const Model& model, const AuditReport* report) const {
  if (!data_.empty()) return open(model, data_);
  if (report == nullptr) return nullptr;
  std::unique_ptr<Samples> samples = open(model, report->data);
  if (samples->content_hash() == report->data_hash) return samples;
  throw Error(ErrorCode::InvalidData, "the data have changed since the report was written",
              {.tensor = report->data, .cure = "audit again, or name the data with --data"});
}

AuditOptions SurgeryOptions::audit_options() const {
  AuditOptions options;
  options.samples = samples_;
  options.batch = batch_;
  options.threads = threads_;
  return options;
}

Verification SurgeryOptions::verify(const Model& before, const Model& after, Samples* calibration) const {
  const std::unique_ptr<Samples> held_out = held_out_.empty() ? nullptr : open(before, held_out_);
  VerifyOptions options;
  options.samples = samples_;
  options.batch = batch_;
  options.threads = threads_;
  options.label_offset = preprocessing_.over(preprocess_).label_offset;
  Progress progress("verifying");
  options.progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
  return ember::verify(before, after, {.calibration = calibration, .held_out = held_out.get()}, options);
}

std::vector<Verdict> verdicts_of(const std::vector<std::string>& words) {
  constexpr std::array kAll = {Verdict::ProvedDead, Verdict::Silent,   Verdict::Refuted,
                               Verdict::Rare,       Verdict::Dormant,  Verdict::Constant,
                               Verdict::Saturated,  Verdict::AlwaysOn, Verdict::Healthy};
  std::vector<Verdict> verdicts;
  for (const std::string& word : words) {
    const auto* const found = std::ranges::find_if(kAll, [&](Verdict verdict) {
      return word == to_string(verdict) || (word == "proved" && verdict == Verdict::ProvedDead);
    });
    if (found == kAll.end()) {
      throw Error(
          ErrorCode::InvalidArgument, fmt::format("there is no verdict '{}'", word),
          {.cure = "proved_dead, silent, refuted, rare, dormant, constant, saturated, always_on, healthy"});
    }
    verdicts.push_back(*found);
  }
  return verdicts;
}

std::string some_of(const std::vector<std::string>& words) {
  constexpr std::size_t kShown = 6;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, words.size()); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", words[i]);
  }
  if (words.size() > kShown) text += fmt::format(" and {} more", words.size() - kShown);
  return text;
}

}  // namespace ember::cli
