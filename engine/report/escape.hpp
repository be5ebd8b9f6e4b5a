#pragma once

#include <string>
#include <string_view>

namespace ember::report {

/// Text for an element or a quoted attribute of XML or HTML: markup is escaped, and what is not UTF-8 or not
/// a character of XML 1.0 becomes U+FFFD.
std::string escaped_markup(std::string_view text);

}  // namespace ember::report
