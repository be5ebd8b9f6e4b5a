#pragma once

#include <string_view>

namespace ember::report {

// Files of this folder, put into the library by the build.
extern const std::string_view kAuditSchema;
extern const std::string_view kCheckpointsSchema;
extern const std::string_view kComparisonSchema;
extern const std::string_view kHtmlPage;
extern const std::string_view kHtmlStyle;
extern const std::string_view kHtmlChannels;
extern const std::string_view kHtmlGradient;
extern const std::string_view kHtmlNetwork;
extern const std::string_view kHtmlMap;
extern const std::string_view kHtmlHistograms;
extern const std::string_view kHtmlTable;
extern const std::string_view kHtmlStart;

}  // namespace ember::report
