#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include <ember/samples.hpp>

namespace ember::cli {

/// The keys of a preprocessing file as options of their own; an option wins over the file's key.
class PreprocessOptions {
 public:
  void add_to(CLI::App& verb);
  /// The file's preprocessing ("" for none) with the options that were given. Throws Error.
  [[nodiscard]] Preprocessing over(const std::string& file) const;

 private:
  Preprocessing given_;
  CLI::App* verb_ = nullptr;
};

}  // namespace ember::cli
