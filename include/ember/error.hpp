#pragma once

#include <exception>
#include <string>

namespace ember {

/// What kind of thing went wrong. The command line maps every one of them to exit status 2.
enum class ErrorCode {
  InvalidArgument,  ///< the caller asked for something impossible (an unknown input name, a wrong shape)
  InvalidModel,     ///< the model file is malformed or violates ONNX
  Unsupported,      ///< valid ONNX that ember does not run (operator, opset, type, attribute value)
  InvalidData,      ///< samples or expected outputs that do not fit or cannot be read
  Io,               ///< the operating system refused (missing file, full disk)
  ResourceLimit,    ///< a size beyond what is sane or available
  Internal,         ///< a bug in ember
};

/// The field's name of a code, e.g. "invalid model".
const char* to_string(ErrorCode code) noexcept;

/// Where an error happened and what cures it. Empty fields are left out of the message.
struct ErrorContext {
  std::string model;   ///< file name, or "<memory>"
  std::string node;    ///< ONNX node name (or "#index" when it has none)
  std::string op;      ///< operator type
  int opset = 0;       ///< opset version in force, 0 when it does not matter
  std::string tensor;  ///< value name, file or array concerned
  std::string cure;    ///< what the reader can do about it
};

/// Every failure ember reports. what() is one readable message: code, place, reason and cure.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string reason, ErrorContext context = {});

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  [[nodiscard]] const ErrorContext& context() const noexcept { return context_; }
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

  /// The same error with those fields of `outer` filled in that were still empty.
  [[nodiscard]] Error within(const ErrorContext& outer) const;

 private:
  ErrorCode code_;
  std::string reason_;
  ErrorContext context_;
  std::string message_;
};

}  // namespace ember
