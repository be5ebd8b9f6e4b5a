#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <ember/tensor.hpp>

#include "ops/op.hpp"
#include "ops/typed.hpp"

namespace ember::conformance {

namespace fs = std::filesystem;

/// One line of the index that generate.py writes.
struct Case {
  std::string name;
  double relative = 1e-3;
  double absolute = 1e-7;
  std::vector<std::string> operators;  ///< "domain:name"
  std::vector<std::string> limits;     ///< what it needs beyond ember: "type string", "sequence", "opset 1"
};

inline fs::path data_folder() { return fs::path(EMBER_SOURCE_DIR) / "build" / "conformance"; }

inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

/// Empty when the data is absent.
inline std::vector<Case> read_index() {
  std::vector<Case> cases;
  std::ifstream file(data_folder() / "index.tsv");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> fields = split(line, '\t');
    if (fields.size() < 4) continue;
    cases.push_back({.name = fields[0],
                     .relative = std::stod(fields[1]),
                     .absolute = std::stod(fields[2]),
                     .operators = split(fields[3], ','),
                     .limits = fields.size() > 4 ? split(fields[4], ',') : std::vector<std::string>{}});
  }
  return cases;
}

/// Name → reason, from known_failures.txt: "name: reason" per line, '#' begins a comment.
inline std::map<std::string, std::string> read_known_failures() {
  std::map<std::string, std::string> known;
  std::ifstream file(fs::path(EMBER_SOURCE_DIR) / "tests" / "conformance" / "known_failures.txt");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (!line.empty() && line[0] != '#' && colon != std::string::npos)
      known[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return known;
}

inline bool is_operator(const std::string& qualified) {
  const std::size_t colon = qualified.find(':');
  const std::string domain = qualified.substr(0, colon);
  const std::string name = qualified.substr(colon + 1);
  return std::ranges::any_of(ops::all_operators(), [&](const ops::Operator& op) {
    return op.name == name && op.domain == (domain == "ai.onnx" ? "" : domain);
  });
}

/// Why a case is none of ember's business, "" when it is.
inline std::string not_applicable(const Case& c) {
  if (!c.limits.empty()) return c.limits.front();
  for (const std::string& op : c.operators) {
    if (!is_operator(op)) return "operator " + (op.front() == ':' ? op.substr(1) : op);
  }
  if (c.name.find("training") != std::string::npos) return "training mode";
  return {};
}

/// The relative tolerance that an element type needs. A function's expansion into operators rounds a
/// 16-bit float after each of them where the function itself rounded once: two units in the last place.
inline double relative_tolerance(const Case& c, DataType type) {
  if (!c.name.ends_with("_expanded")) return c.relative;
  if (type == DataType::BFloat16) return std::max(c.relative, 0x1p-6);
  return type == DataType::Float16 ? std::max(c.relative, 0x1p-9) : c.relative;
}

/// "" when `got` is `expected` within the case's tolerance (whole numbers and bool: exactly).
inline std::string difference(const Case& c, const ConstTensorView& got, const ConstTensorView& expected) {
  if (got.type() != expected.type())
    return fmt::format("type {} instead of {}", to_string(got.type()), to_string(expected.type()));
  if (got.shape() != expected.shape())
    return fmt::format("shape {} instead of {}", to_string(got.shape()), to_string(expected.shape()));
  const double relative = relative_tolerance(c, got.type());
  std::string found;
  const auto compare = [&]<class T>(T) {
    const auto a = got.data<T>();
    const auto b = expected.data<T>();
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto x = static_cast<double>(ops::widen(a[i]));
      const auto y = static_cast<double>(ops::widen(b[i]));
      if constexpr (std::is_integral_v<T>) {
        if (a[i] == b[i]) continue;
      } else if (x == y || (std::isnan(x) && std::isnan(y)) ||
                 std::abs(x - y) <= c.absolute + relative * std::abs(y)) {
        continue;
      }
      found = fmt::format("element {} is {} instead of {}", i, x, y);
      return;
    }
  };
  switch (got.type()) {
    case DataType::Float32: compare(float{}); break;
    case DataType::Float64: compare(double{}); break;
    case DataType::Float16: compare(Half{}); break;
    case DataType::BFloat16: compare(BFloat{}); break;
    case DataType::Int8: compare(std::int8_t{}); break;
    case DataType::Int16: compare(std::int16_t{}); break;
    case DataType::Int32: compare(std::int32_t{}); break;
    case DataType::Int64: compare(std::int64_t{}); break;
    case DataType::UInt8: compare(std::uint8_t{}); break;
    case DataType::UInt16: compare(std::uint16_t{}); break;
    case DataType::UInt32: compare(std::uint32_t{}); break;
    case DataType::UInt64: compare(std::uint64_t{}); break;
    case DataType::Bool: compare(bool{}); break;
    case DataType::Undefined: return "no output";
  }
  return found;
}

}  // namespace ember::conformance
