#include <doctest/doctest.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <ember/error.hpp>

#include "core/output_file.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;
namespace fs = std::filesystem;

namespace {

std::string content(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

}  // namespace

TEST_CASE("an output file appears by commit and not before") {
  const test::ScratchFolder folder;
  const fs::path file = folder / "out.txt";
  {
    OutputFile output(file);
    output.write("half");
    CHECK_FALSE(fs::exists(file));
    output.write(" and half");
    output.commit();
  }
  CHECK(content(file) == "half and half");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("an output file without commit leaves the old content and no litter") {
  const test::ScratchFolder folder;
  const fs::path file = folder / "out.txt";
  write_file(file, "old");
  {
    OutputFile(file).write("new");
  }
  CHECK(content(file) == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a process that is killed while it writes leaves nothing") {
  const test::ScratchFolder folder;
  write_file(folder / "out.txt", "old");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    OutputFile output(folder / "out.txt");
    output.write("half");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(content(folder / "out.txt") == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("several files appear in order, or none of them") {
  const test::ScratchFolder folder;
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  const std::vector<FileContent> good = {{folder / "a", bytes("1")}, {folder / "b", bytes("2")}};
  write_files(good);
  CHECK(content(folder / "a") == "1");
  CHECK(content(folder / "b") == "2");
  const std::vector<FileContent> bad = {{folder / "c", bytes("3")}, {folder / "absent" / "d", bytes("4")}};
  CHECK_THROWS_AS(write_files(bad), Error);
  CHECK(entries(folder.path()) == 2);
}

TEST_CASE("overwriting keeps permissions and follows a symbolic link") {
  const test::ScratchFolder folder;
  write_file(folder / "real", "old");
  fs::permissions(folder / "real", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real", folder / "link");
  write_file(folder / "link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(content(folder / "real") == "new");
  CHECK(fs::status(folder / "real").permissions() == (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("what the system refuses is an Io error that names the file") {
  const test::ScratchFolder folder;
  const auto refused = [](const fs::path& file) {
    try {
      write_file(file, "text");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::Io);
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refused(folder / "absent" / "out").find("absent/out") != std::string::npos);
  CHECK(refused(folder.path()).find("directory") != std::string::npos);
  if (fs::exists("/dev/full")) CHECK(refused("/dev/full").find("space") != std::string::npos);
  CHECK(entries(folder.path()) == 0);
}
