#pragma once

#include <string_view>

namespace ember::report {

// Files of this folder, put into the library by the build.
extern const std::string_view kAuditSchema;

}  // namespace ember::report
