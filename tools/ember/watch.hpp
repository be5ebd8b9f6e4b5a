#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include <ember/audit.hpp>
#include <ember/session.hpp>

namespace ember::cli {

/// `--watch NODE[:CHANNEL[,CHANNEL…]]`: what channels of activations do in a run.
class WatchOption {
 public:
  void add_to(CLI::App& verb);
  [[nodiscard]] bool given() const { return !texts_.empty(); }
  /// Runs the inputs, watched, and finds what was asked for. Throws Error (InvalidArgument) that lists the
  /// activations when the network has none of that name.
  void run(const Model& model, const TensorMap& inputs, int threads);
  /// One line per channel, or per activation where no channel was named.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] nlohmann::ordered_json json() const;

 private:
  struct Watched {
    std::size_t layer;
    std::vector<std::int64_t> channels;  ///< empty: all
  };
  [[nodiscard]] Watched find(const std::string& text) const;

  std::vector<std::string> texts_;
  AuditReport report_;
  std::vector<Watched> watched_;
};

}  // namespace ember::cli
