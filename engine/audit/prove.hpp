#pragma once

#include <cstdint>
#include <vector>

#include <ember/audit.hpp>

namespace ember::auditing {

/// Proves and refutes what it can of the silent and always-on channels of `report`, which must have been made
/// by an audit of `model` with `samples` and `options`, and says so in it. Throws Error for a domain that
/// does not fit the model.
void prove(const Model& model, Samples& samples, const AuditOptions& options, AuditReport& report);

}  // namespace ember::auditing
