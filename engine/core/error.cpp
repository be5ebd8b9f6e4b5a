#include <ember/error.hpp>

#include <utility>

#include <fmt/format.h>

namespace ember {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::InvalidArgument: return "invalid argument";
    case ErrorCode::InvalidModel: return "invalid model";
    case ErrorCode::Unsupported: return "unsupported";
    case ErrorCode::InvalidData: return "invalid data";
    case ErrorCode::Io: return "input/output";
    case ErrorCode::ResourceLimit: return "resource limit";
    case ErrorCode::Internal: return "internal error";
  }
  return "error";
}

namespace {

std::string compose(ErrorCode code, const std::string& reason, const ErrorContext& at) {
  std::string place;
  const auto add = [&place](const std::string& text) { place += (place.empty() ? "" : ", ") + text; };
  if (!at.model.empty()) add(at.model);
  if (!at.node.empty()) add(fmt::format("node '{}'", at.node));
  if (!at.op.empty()) add(at.opset > 0 ? fmt::format("{} (opset {})", at.op, at.opset) : at.op);
  if (!at.tensor.empty()) add(fmt::format("tensor '{}'", at.tensor));
  std::string message = to_string(code);
  if (!place.empty()) message += fmt::format(" [{}]", place);
  message += ": " + reason;
  if (!at.cure.empty()) message += "; " + at.cure;
  return message;
}

}  // namespace

Error::Error(ErrorCode code, std::string reason, ErrorContext context)
    : code_(code),
      reason_(std::move(reason)),
      context_(std::move(context)),
      message_(compose(code_, reason_, context_)) {}

Error Error::within(const ErrorContext& outer) const {
  ErrorContext merged = context_;
  const auto fill = [](std::string& own, const std::string& other) {
    if (own.empty()) own = other;
  };
  fill(merged.model, outer.model);
  fill(merged.node, outer.node);
  fill(merged.op, outer.op);
  fill(merged.tensor, outer.tensor);
  fill(merged.cure, outer.cure);
  if (merged.opset == 0) merged.opset = outer.opset;
  return {code_, reason_, std::move(merged)};
}

}  // namespace ember
