#pragma once

#include <cstdint>
#include <string>

#include <doctest/doctest.h>

#include <ember/error.hpp>

namespace ember::test {

/// An .npy file by hand: any header text, any version, any data.
inline std::string npy_bytes(const std::string& header, const std::string& data, int version = 1) {
  std::string bytes("\x93NUMPY");
  bytes += static_cast<char>(version);
  bytes += '\0';
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  for (std::size_t i = 0; i < length_bytes; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

/// "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
inline std::string npy_dict(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }\n";
}

/// The message of the ember::Error that `body` throws; "" when it throws none.
template <class Body>
std::string error_of(Body&& body, ErrorCode code = ErrorCode::InvalidData) {
  try {
    body();
  } catch (const Error& error) {
    CHECK(to_string(error.code()) == std::string(to_string(code)));
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace ember::test
