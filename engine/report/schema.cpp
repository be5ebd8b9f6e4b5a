#include <ember/report.hpp>

#include "report/embedded.hpp"

namespace ember {

std::string_view audit_schema() noexcept { return report::kAuditSchema; }
std::string_view checkpoints_schema() noexcept { return report::kCheckpointsSchema; }

std::string_view comparison_schema() noexcept { return report::kComparisonSchema; }

}  // namespace ember
