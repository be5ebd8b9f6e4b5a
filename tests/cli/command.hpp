#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "support/scratch_folder.hpp"

namespace ember::test {

inline std::string file_text(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

/// What a command left behind.
struct Outcome {
  int status = -1;  ///< exit status, or 128 + signal
  std::string out;
  std::string err;
};

/// Runs the built `ember` as a shell user would, in a folder of its own.
class Shell {
 public:
  /// `arguments` is shell text and may redirect.
  [[nodiscard]] Outcome ember(const std::string& arguments) const {
    return shell("\"" EMBER_BINARY_DIR "/ember\" " + arguments);
  }
  [[nodiscard]] Outcome shell(const std::string& command) const {
    const std::filesystem::path out = captured_.path() / "out";
    const std::filesystem::path err = captured_.path() / "err";
    // The braces let the command's own redirections win over these.
    const std::string line = "cd '" + folder.path().string() + "' && { " + command + "\n} >'" + out.string() +
                             "' 2>'" + err.string() + "' </dev/null";
    const int code = std::system(line.c_str());
    if (code == -1) throw std::runtime_error("no shell");
    const int status = WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
    return {.status = status, .out = file_text(out), .err = file_text(err)};
  }
  [[nodiscard]] bool exists(const std::string& name) const { return std::filesystem::exists(folder / name); }

  ScratchFolder folder;

 private:
  ScratchFolder captured_;
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace ember::test
