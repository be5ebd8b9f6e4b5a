#pragma once

#include <ember/audit.hpp>

namespace ember::test {

inline ChannelReport sample_channel(std::int64_t index, Verdict verdict, double bound = 0) {
  ChannelReport report{.index = index, .verdict = verdict, .rate_bound = bound};
  report.statistics.samples = 200;
  report.statistics.samples_fired = verdict == Verdict::Silent ? 0 : 120;
  report.statistics.positions = 800;
  report.statistics.pre_min = -1.5;
  return report;
}

/// Two layers, the second of which is the worse one.
inline AuditReport sample_report() {
  AuditReport report;
  report.model = "net.onnx";
  report.model_hash = "abc";
  report.data = "calibration.npz";
  report.isa = "avx2";
  report.samples = 200;
  report.notes = {"LSTM: gates inside a recurrent layer are not watched (lstm_1)"};
  LayerReport first{.node = "relu_1", .op = "Relu", .value = "a"};
  first.channels = {sample_channel(0, Verdict::Healthy), sample_channel(1, Verdict::AlwaysOn)};
  LayerReport second{.node = "relu_2", .op = "Relu", .value = "b", .pattern = {"x", "y"}};
  for (std::int64_t c = 0; c < 6; ++c) {
    second.channels.push_back(
        sample_channel(c, c < 3 ? Verdict::Silent : Verdict::Healthy, c < 3 ? 0.0273 : 0));
  }
  report.layer_reports = {first, second};
  return report;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace ember::test
