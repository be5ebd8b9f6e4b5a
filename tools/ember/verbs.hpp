#pragma once

#include <CLI/CLI.hpp>

#include "ranks.hpp"

namespace ember::cli {

/// Exit statuses, the same for every verb.
enum ExitStatus : int {
  kSuccess = 0,
  kGateFailed = 1,  ///< the verb worked and its answer is no: a comparison or a limit failed
  kFailure = 2,     ///< usage, input or output
};

/// What a verb gets from main() and leaves behind for it.
struct Context {
  Ranks& ranks;
  int status = kSuccess;
};

/// Each adds one verb: its options, and a callback that does the work, prints to standard output
/// (output.hpp) and sets the status. Failures are thrown as ember::Error.
void add_run(CLI::App& app, Context& context);
void add_info(CLI::App& app, Context& context);
void add_bench(CLI::App& app, Context& context);
void add_ops(CLI::App& app, Context& context);
void add_audit(CLI::App& app, Context& context);
void add_compare(CLI::App& app, Context& context);
void add_merge(CLI::App& app, Context& context);
void add_prune(CLI::App& app, Context& context);
void add_revive(CLI::App& app, Context& context);
void add_swap(CLI::App& app, Context& context);
void add_schema(CLI::App& app, Context& context);
void add_help(CLI::App& app, Context& context);

}  // namespace ember::cli
