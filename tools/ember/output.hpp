#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace ember::cli {

/// Writes a verb's result to standard output. Throws Error (Io) when it cannot be written.
void put(std::string_view text);
template <class... Arguments>
void put(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  put(std::string_view(fmt::format(format, std::forward<Arguments>(arguments)...)));
}
/// Makes sure that everything printed has arrived. Throws Error (Io).
void flush_output();

/// One diagnostic line to standard error.
void diagnose(std::string_view text);

/// Is standard output (1) or standard error (2) a terminal?
bool is_terminal(int descriptor);
/// Standard output is a terminal with colours, and NO_COLOR (no-color.org) does not ask for none.
bool wants_color();
/// Columns of the terminal, or 100 when output goes elsewhere.
int output_width();

/// "1,234,567".
std::string with_separators(long long value);
/// "12.3 M": three digits and a decimal prefix.
std::string with_prefix(double value);

}  // namespace ember::cli
