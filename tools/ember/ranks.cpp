#include "ranks.hpp"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>

#include <ember/error.hpp>

namespace ember::cli {

namespace {

/// How many processes mpirun says it started; 1 without it.
int processes_started() {
  const char* text = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (text == nullptr) return 1;
  const std::string_view digits = text;
  int count = 1;
  std::from_chars(digits.data(), digits.data() + digits.size(), count);
  return count;
}

}  // namespace

Ranks::Ranks(char** argv) {
  const int processes = processes_started();
  if (processes <= 1) return;
  // Each of them would do all the work, and print it.
  std::error_code none;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", none);
  if (!none) ::execv((self.parent_path() / "ember-mpi").c_str(), argv);
  throw Error(ErrorCode::Unsupported,
              fmt::format("mpirun started {} processes, but this ember was built without MPI", processes),
              {.cure = "build it with -DEMBER_MPI=ON, or use 'ember audit --shard' and 'ember merge'"});
}

Ranks::~Ranks() = default;

int Ranks::leave(int status) const { return status; }

void Ranks::together(const std::function<void()>& work) { work(); }

void Ranks::check_others() const {}

std::vector<std::vector<std::byte>> Ranks::gather(std::span<const std::byte> mine) const {
  return {std::vector<std::byte>(mine.begin(), mine.end())};
}

}  // namespace ember::cli
