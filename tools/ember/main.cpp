#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <stdexcept>

#include <CLI/CLI.hpp>

#include "output.hpp"
#include "ranks.hpp"
#include "verbs.hpp"

namespace {

using namespace ember::cli;

constexpr auto kVerbs = {add_run,   add_info,  add_bench,  add_ops,  add_audit,  add_compare,
                         add_merge, add_prune, add_revive, add_swap, add_schema, add_help};

/// A closed standard stream would lend its number to the next file opened, which would then receive
/// what is printed. /dev/null opened the wrong way round keeps the number and refuses the use.
void occupy_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) == -1) {
      (void)::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

/// All ranks are given the same command; one of them speaks.
void silence() {
  const int nowhere = ::open("/dev/null", O_WRONLY);
  if (nowhere < 0) return;
  ::dup2(nowhere, STDOUT_FILENO);
  ::dup2(nowhere, STDERR_FILENO);
  ::close(nowhere);
}

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int run(int argc, char** argv, Ranks& ranks) {
  CLI::App app("Runs ONNX networks and finds the channels that never fire.", "ember");
  app.set_version_flag("--version", "ember " EMBER_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  app.footer(
      "'ember help VERB' explains a verb and shows an example.\n"
      "Exit status: 0 success, 1 a gate or comparison failed, 2 usage, input or output.");
  Context context{.ranks = ranks};
  for (const auto add_verb : kVerbs) add_verb(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream text, wrong;
    if (app.exit(error, text, wrong) != 0) throw UsageError(wrong.str());
    put(text.str());
  }
  flush_output();
  return context.status;
}

/// What `work` returns; when it throws, kFailure, and why is told.
template <class Work>
int status_of(Work&& work) {
  try {
    return work();
  } catch (const UsageError& error) {
    std::fputs(error.what(), stderr);
  } catch (const std::bad_alloc&) {
    diagnose("out of memory");
  } catch (const std::exception& error) {
    diagnose(error.what());
  }
  return kFailure;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error of put(), not a death
  occupy_standard_streams();
  return status_of([&] {
    Ranks ranks(argv);
    if (!ranks.leads()) silence();
    const int status = status_of([&] {
      int done = kFailure;
      ranks.together([&] { done = run(argc, argv, ranks); });
      return done;
    });
    return ranks.leave(status);
  });
}
