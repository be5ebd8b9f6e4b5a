#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <ember/file.hpp>
#include <ember/npy.hpp>
#include <ember/statistics.hpp>

#include "command.hpp"
#include "support/random_tensor.hpp"

using namespace ember;
using namespace ember::test;

namespace {

const std::string kModels = EMBER_SOURCE_DIR "/models/";
const std::string kDigits = " --data " + kModels + "digits_calibration.npz ";

struct Shards : Shell {
  [[nodiscard]] Outcome audit(const std::string& model, const std::string& arguments) const {
    return ember("audit " + kModels + model + ".onnx" + kDigits + arguments);
  }
  void shard(const std::string& model, int index, int count, const std::string& arguments = "") const {
    std::filesystem::remove(folder / fmt::format("{}.stats", index));  // of another model
    const Outcome outcome =
        audit(model, fmt::format("--shard {}/{} --stats {}.stats {}", index, count, index, arguments));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(contains(outcome.out, fmt::format("shard {}/{}: samples ", index, count)));
  }
  void refuse(const std::string& arguments, const std::string& words) const {
    const Outcome outcome = ember(arguments + " --json refused.json");
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK_MESSAGE(contains(outcome.err, words), outcome.err);
    CHECK_FALSE(exists("refused.json"));
  }
};

/// Runs `ember` in a folder with these arguments and kills it after a while. True: it had finished by itself,
/// well.
bool finishes_within(std::chrono::milliseconds time, const std::filesystem::path& folder,
                     const std::vector<std::string>& arguments) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::vector<char*> values;
    for (const std::string& argument : arguments) values.push_back(const_cast<char*>(argument.c_str()));
    values.push_back(nullptr);
    if (::chdir(folder.c_str()) == 0) ::execv(EMBER_BINARY_DIR "/ember", values.data());
    ::_exit(127);
  }
  std::this_thread::sleep_for(time);
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) return false;
  REQUIRE(WEXITSTATUS(status) == 0);
  return true;
}

}  // namespace

TEST_CASE_FIXTURE(Shards, "shards: ten merged in any order are one run, byte for byte") {
  for (const char* model : {"digits_cnn_dead_bias", "digits_mlp_high_lr"}) {
    CAPTURE(model);
    for (int index = 1; index <= 10; ++index) shard(model, index, 10);
    REQUIRE(audit(model, "--quiet --no-explain --json whole.json --sarif whole.sarif").status == 0);
    const Outcome merged = ember(
        "merge 7.stats 1.stats 10.stats 2.stats 9.stats 4.stats 3.stats 8.stats 6.stats 5.stats --json "
        "merged.json --sarif merged.sarif");
    REQUIRE_MESSAGE(merged.status == 0, merged.err);
    CHECK(file_text(folder / "merged.json") == file_text(folder / "whole.json"));
    CHECK(file_text(folder / "merged.sarif") == file_text(folder / "whole.sarif"));
    CHECK(merged.out == audit(model, "--no-explain").out);
  }
}

TEST_CASE_FIXTURE(Shards, "merge: by and by, and with the gates of an audit") {
  for (int index = 1; index <= 3; ++index) shard("digits_mlp_high_lr", index, 3);
  const Outcome part = ember("merge 1.stats 3.stats --stats ab.stats");
  CHECK_MESSAGE(part.status == 0, part.err);
  CHECK(contains(part.out, "samples are missing"));
  CHECK(ember("merge ab.stats 2.stats --quiet --max-silent 0 --stats all.stats").status == 1);
  CHECK(ember("merge all.stats --quiet --baseline b.json --update-baseline").status == 0);
  CHECK(ember("merge all.stats --quiet --baseline b.json").status == 0);
  // With the model and the data at hand, the merged statistics are a finished run, which only needs telling.
  CHECK(audit("digits_mlp_high_lr", "--stats all.stats").out == audit("digits_mlp_high_lr", "").out);
  CHECK(ember("merge all.stats").out == audit("digits_mlp_high_lr", "--no-explain").out);
}

TEST_CASE_FIXTURE(Shards, "merge: with the model and its data, causes are those of one run") {
  const std::string model = "--model " + kModels + "digits_cnn_dead_bias.onnx ";
  const std::string scaled = "--scale 0.5 ";
  for (int index = 1; index <= 3; ++index) shard("digits_cnn_dead_bias", index, 3, scaled);
  const std::string merge = "merge 3.stats 1.stats 2.stats ";
  const Outcome explained = ember(merge + model + kDigits + scaled);
  CHECK_MESSAGE(explained.out == audit("digits_cnn_dead_bias", scaled).out, explained.err);
  CHECK(contains(explained.out, "bias_dominated"));
  CHECK(contains(ember(merge).out, "causes, which were not sought"));
  CHECK_FALSE(contains(explained.out, "not sought"));
  refuse(merge + model + kDigits, "preprocessed in another way");
  refuse(merge + model + "--data " + kModels + "digits_heldout.npz " + scaled, "other data");
  refuse(merge + "--model " + kModels + "digits_cnn.onnx " + kDigits + scaled, "another model");
  refuse(merge + model, "--data");
  refuse(merge + kDigits, "--model");
}

TEST_CASE_FIXTURE(Shards, "merge: what does not make one whole is refused, never a wrong total") {
  for (int index = 1; index <= 3; ++index) shard("digits_mlp", index, 3);
  refuse("merge 1.stats 3.stats", "samples 448 to 897 of 1347 are missing");
  refuse("merge 1.stats 2.stats 3.stats 2.stats", "'2.stats' have been counted already");
  REQUIRE(audit("digits_mlp_leaky", "--shard 2/3 --stats leaky.stats").status == 0);
  refuse("merge 1.stats leaky.stats 3.stats", "another model");
  REQUIRE(ember("audit " + kModels + "digits_mlp.onnx --data " + kModels +
                "digits_heldout.npz --shard 2/3 --stats heldout.stats")
              .status == 0);
  refuse("merge 1.stats heldout.stats 3.stats", "other data");
  REQUIRE(audit("digits_mlp", "--scale 0.5 --shard 2/3 --stats scaled.stats").status == 0);
  refuse("merge 1.stats scaled.stats 3.stats", "preprocessed");
  refuse("merge 1.stats none.stats", "none.stats");
  const std::string good = file_text(folder / "1.stats");
  write_file(folder / "short.stats", std::string_view(good).substr(0, good.size() / 2));
  refuse("merge short.stats 2.stats 3.stats", "'short.stats' is cut short");
  std::string damaged = good;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  write_file(folder / "damaged.stats", std::string_view(damaged));
  refuse("merge damaged.stats 2.stats 3.stats", "'damaged.stats' is damaged");
  write_file(folder / "rubbish.stats", std::string_view("rubbish"));
  refuse("merge rubbish.stats", "'rubbish.stats' is not a statistics file");
  CHECK(ember("merge").status == 2);
}

TEST_CASE_FIXTURE(Shards, "shards: wrong options are refused before anything is run") {
  for (const char* wrong : {"0/3", "4/3", "3", "/3", "1/", "a/b", "1/2/3", "-1/3", "1/0"}) {
    CAPTURE(wrong);
    const Outcome outcome = audit("digits_mlp", std::string("--stats s --shard=") + wrong);
    CHECK(outcome.status == 2);
    CHECK(contains(outcome.err, "is no shard"));
  }
  CHECK(contains(audit("digits_mlp", "--shard 1/3").err, "--shard needs --stats"));
  for (const char* report : {"--json", "--sarif s", "--junit s", "--max-silent 0", "--baseline s"}) {
    CAPTURE(report);
    const Outcome outcome = audit("digits_mlp", std::string("--shard 1/3 --stats s ") + report);
    CHECK(outcome.status == 2);
    CHECK_FALSE(exists("s"));
  }
  shard("digits_mlp", 1, 3);
  CHECK(contains(audit("digits_mlp", "--shard 2/3 --stats 1.stats").err, "did not begin"));
}

TEST_CASE_FIXTURE(Shards, "a run that is killed at random moments and resumed ends as one run") {
  save_npy(folder / "x.npy", random_tensor({20'000, 1, 8, 8}, 11).view());
  const std::string common = "audit " + kModels + "digits_cnn_dead_bias.onnx --data x.npy ";
  REQUIRE(ember(common + "--quiet --json whole.json").status == 0);
  const std::vector<std::string> arguments = {
      "ember",     "audit",        kModels + "digits_cnn_dead_bias.onnx",
      "--data",    "x.npy",        "--stats",
      "run.stats", "--save-every", "0",
      "--quiet",   "--json",       "resumed.json"};
  std::mt19937 random(std::random_device{}());
  int kills = 0;
  bool partial = false;
  // The first is short enough to be cut off; the longer they get, the surer the end.
  for (int most = 100;
       !finishes_within(std::chrono::milliseconds(random() % most + 1), folder.path(), arguments);
       most += most / 16) {
    ++kills;
    REQUIRE(kills < 500);
    if (exists("run.stats")) partial |= !AuditStatistics::load(folder / "run.stats").complete();
  }
  CHECK(kills > 0);
  CHECK(partial);
  CHECK(file_text(folder / "resumed.json") == file_text(folder / "whole.json"));
}
