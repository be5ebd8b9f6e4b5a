#include <iostream>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <ember/npy.hpp>
#include <ember/statistics.hpp>

#include "cli/command.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using namespace ember::test;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";
const std::string kEmber = "'" EMBER_BINARY_DIR "/ember' ";
const std::string kDigits = " --data " + kModels + "digits_calibration.npz ";

std::string audit(const std::string& model, const std::string& arguments) {
  return kEmber + "audit " + kModels + model + ".onnx " + arguments;
}

struct Mpi : Shell {
  /// Runs `command` on several ranks, or what is separated by ':' on some each; a hang ends after a minute.
  [[nodiscard]] Outcome mpirun(const std::string& command) const {
    // One machine, any number of processors, and perhaps a container where everybody is root. In a folder of
    // its own, for one mpirun may remove the common one while another is about to use it.
    return shell(
        "export OMPI_MCA_orte_tmpdir_base=\"$PWD\" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
        "OMPI_MCA_plm=isolated "
        "OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none "
        "OMPI_MCA_hwloc_base_binding_policy=none\n"
        "timeout -k 5 120 '" EMBER_MPIEXEC "' " +
        command);
  }
  [[nodiscard]] Outcome ranks(int count, const std::string& command) const {
    return mpirun(fmt::format("-n {} {}", count, command));
  }
};

/// False, and says so, in a build without MPI.
bool has_mpi() {
  const bool has = std::string(EMBER_MPIEXEC) != "";
  if (!has) std::cout << "skipped: ember was built without MPI\n";
  return has;
}

std::int64_t lines_with(const std::string& text, const std::string& part) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE_FIXTURE(Mpi, "mpirun with 2 and 4 ranks makes the report of one run, byte for byte") {
  if (!has_mpi()) return;
  for (const char* model : {"digits_cnn_dead_bias", "digits_mlp_high_lr"}) {
    CAPTURE(model);
    const Outcome whole = shell(audit(model, kDigits + "--json whole.json"));
    REQUIRE(whole.status == 0);
    for (const int count : {2, 4}) {
      CAPTURE(count);
      const Outcome shared = ranks(count, audit(model, kDigits + "--json shared.json"));
      CHECK_MESSAGE(shared.status == 0, shared.err);
      CHECK(shared.out == whole.out);  // printed once
      CHECK(file_text(folder / "shared.json") == file_text(folder / "whole.json"));
      std::filesystem::remove(folder / "shared.json");
    }
  }
}

TEST_CASE_FIXTURE(Mpi, "a failed gate is the exit status of mpirun, and is told once") {
  if (!has_mpi()) return;
  const Outcome failed = ranks(2, audit("digits_mlp_high_lr", kDigits + "--max-silent 0 --quiet"));
  CHECK_MESSAGE(failed.status == 1, failed.err);
  CHECK(failed.out.empty());
  CHECK(lines_with(failed.err, "gate failed") == 1);
}

TEST_CASE_FIXTURE(Mpi, "interrupted ranks go on from their statistics files, which merge as shards do") {
  if (!has_mpi()) return;
  const Outcome whole = shell(audit("digits_cnn", kDigits));
  for (int round = 0; round < 2; ++round) {
    const Outcome shared = ranks(3, audit("digits_cnn", kDigits + "--stats s"));
    CHECK_MESSAGE(shared.out == whole.out, shared.err);
    CHECK(exists("s.3-of-3"));
  }
  CHECK(ember("merge s.1-of-3 s.3-of-3 s.2-of-3").out == whole.out);
}

TEST_CASE_FIXTURE(Mpi, "what is wrong on all ranks is told once, what is wrong on one ends all") {
  if (!has_mpi()) return;
  const auto refused = [](const Outcome& outcome, const std::string& words) {
    CHECK_MESSAGE(outcome.status == 2, outcome.err);
    CHECK(outcome.out.empty());
    CHECK_MESSAGE(lines_with(outcome.err, words) == 1, outcome.err);
  };
  refused(ranks(2, audit("digits_mlp", "--data none.npz")), "none.npz");
  refused(ranks(2, audit("digits_mlp", kDigits + "--shard 1/2 --stats s")), "--shard is not for mpirun");
  refused(ranks(2, audit("digits_mlp", kDigits + "--walk")), "--walk");
  const std::string good = "-n 1 " + audit("digits_mlp", kDigits);
  refused(mpirun(good + ": -n 1 " + audit("none", kDigits)), "none.onnx");
  refused(mpirun(good + ": -n 1 " + audit("none", kDigits)), "(MPI rank 1)");
  refused(mpirun(good + ": -n 1 " + audit("digits_mlp_leaky", kDigits)), "another model");
  refused(mpirun(good + ": -n 1 " + audit("digits_mlp", kDigits + "--walk")), "--walk");
  refused(mpirun(good + ": -n 1 " + kEmber + "ops"), "do not go together");
}

TEST_CASE_FIXTURE(Mpi, "when a rank fails in the middle, the others do not work on") {
  if (!has_mpi()) return;
  save_npy(folder / "x.npy", random_tensor({200'000, 1, 8, 8}, 11).view());
  const std::string run = audit("digits_cnn", "--data x.npy --save-every 0 --stats ");
  const Outcome outcome = mpirun("-n 1 " + run + "s : -n 1 " + run + "none/s");
  CHECK(outcome.status == 2);
  CHECK(outcome.out.empty());
  CHECK_MESSAGE(contains(outcome.err, "none/s.2-of-2"), outcome.err);
  if (!exists("s.1-of-2")) return;  // it was stopped before it saved anything
  const AuditStatistics left = AuditStatistics::load(folder / "s.1-of-2");
  for (const SampleRange& counted : left.covered()) CHECK(counted.end < 100'000);
}

TEST_CASE_FIXTURE(Mpi, "a rank that is killed ends all") {
  if (!has_mpi()) return;
  const std::string good = audit("digits_mlp", kDigits);
  const Outcome outcome = mpirun("-n 1 " + good + " : -n 1 sh -c 'kill -9 $$'");
  CHECK(outcome.status != 0);
  CHECK(outcome.status != 124);  // that is the minute
  CHECK(outcome.out.empty());
}

TEST_CASE_FIXTURE(Mpi, "ember without MPI and without ember-mpi beside it does not do the work twice") {
  std::filesystem::copy_file(EMBER_BINARY_DIR "/ember", folder / "ember");
  const Outcome outcome =
      shell("OMPI_COMM_WORLD_SIZE=2 ./ember audit " + kModels + "digits_mlp.onnx" + kDigits);
  CHECK(outcome.status == 2);
  CHECK(outcome.out.empty());
  CHECK(contains(outcome.err, "without MPI"));
  CHECK(shell("OMPI_COMM_WORLD_SIZE=1 ./ember --version").status == 0);
}

TEST_CASE_FIXTURE(Mpi, "ember itself is free of MPI") {
  CHECK_FALSE(contains(file_text(EMBER_BINARY_DIR "/ember"), "libmpi"));
  if (has_mpi()) CHECK(contains(file_text(EMBER_BINARY_DIR "/ember-mpi"), "libmpi"));
}
