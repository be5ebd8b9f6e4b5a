#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include <ember/model.hpp>

namespace ember::cli {

// Options that several verbs have. Defined once, so that they mean the same everywhere.

void add_model(CLI::App& verb, std::string& model);
/// 1 by default, 0 = one per processor.
void add_threads(CLI::App& verb, int& threads);
void add_batch(CLI::App& verb, std::int64_t& batch);
void add_samples(CLI::App& verb, std::int64_t& samples);
void add_data(CLI::App& verb, std::string& data, std::string& preprocess);
void add_explain_samples(CLI::App& verb, std::int64_t& samples);
/// `--shape [NAME=]1x3x640x640`: extents for inputs that leave them open.
class ShapeOption {
 public:
  void add_to(CLI::App& verb);
  /// By input name. Throws Error (InvalidArgument) for what is no shape or names no input of `model`.
  [[nodiscard]] std::map<std::string, Shape> of(const Model& model) const;

 private:
  std::vector<std::string> texts_;
};

/// `--json` prints JSON instead of text; `--json FILE` writes it to FILE.
class JsonOption {
 public:
  void add_to(CLI::App& verb);
  /// JSON is wanted at all.
  [[nodiscard]] bool given() const { return option_->count() > 0; }
  /// JSON is wanted on standard output, which is then free of text.
  [[nodiscard]] bool on_output() const { return given() && file_.empty(); }
  /// Sends `json` where it is wanted, and nowhere otherwise. Throws Error (Io).
  void emit(const nlohmann::ordered_json& json) const;
  void emit_text(std::string json) const;

 private:
  CLI::Option* option_ = nullptr;
  std::string file_;
};

/// The text of a verb's example, shown under its help.
void add_example(CLI::App& verb, const std::string& example);

}  // namespace ember::cli
