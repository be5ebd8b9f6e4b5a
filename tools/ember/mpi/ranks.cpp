#include "ranks.hpp"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

// A failing call of MPI ends all ranks with a message: that is MPI's default error handler.

namespace ember::cli {

namespace {

enum Tag : int { kFailed = 1, kSize, kBytes };

/// Thrown where the work is given up because of another rank.
struct Abandoned : std::runtime_error {
  Abandoned() : std::runtime_error("another rank failed") {}
};

constexpr std::uint64_t kPiece = std::uint64_t{1} << 30;  // a count of MPI is an int

/// Calls `transfer(pointer, count)` for the pieces of a message of any size.
template <class Byte, class Transfer>
void in_pieces(std::span<Byte> bytes, Transfer&& transfer) {
  while (!bytes.empty()) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, bytes.size()));
    transfer(bytes.data(), static_cast<int>(count));
    bytes = bytes.subspan(count);
  }
}

}  // namespace

Ranks::Ranks(char** /*argv*/) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  // mpirun gives a rank a terminal for its output, wherever mpirun's own goes.
  if (size_ > 1) ::setenv("NO_COLOR", "1", 0);
}

Ranks::~Ranks() { MPI_Finalize(); }

void Ranks::together(const std::function<void()>& work) {
  std::string failure;
  try {
    work();
  } catch (const Abandoned&) {  // whoever failed says why
  } catch (const std::exception& error) {
    failure = error.what();
    if (failure.empty()) failure = "unknown error";
  }
  // Those that still work learn of it in check_others().
  std::vector<MPI_Request> told;
  for (int other = 0; other < size_ && !failure.empty(); ++other) {
    if (other == rank_) continue;
    told.emplace_back();
    MPI_Isend(nullptr, 0, MPI_BYTE, other, kFailed, MPI_COMM_WORLD, &told.back());
  }
  const int length = static_cast<int>(failure.size());
  std::vector<int> lengths(static_cast<std::size_t>(size_));
  MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD);
  int first = size_;
  for (int other = size_; other-- > 0;) {
    if (lengths[static_cast<std::size_t>(other)] == 0) continue;
    first = other;
    if (other != rank_) MPI_Recv(nullptr, 0, MPI_BYTE, other, kFailed, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  MPI_Waitall(static_cast<int>(told.size()), told.data(), MPI_STATUSES_IGNORE);
  if (first == size_) return;
  failure.resize(static_cast<std::size_t>(lengths[static_cast<std::size_t>(first)]));
  MPI_Bcast(failure.data(), static_cast<int>(failure.size()), MPI_CHAR, first, MPI_COMM_WORLD);
  throw std::runtime_error(size_ == 1 ? failure : fmt::format("{} (MPI rank {})", failure, first));
}

void Ranks::check_others() const {
  int failed = 0;
  MPI_Iprobe(MPI_ANY_SOURCE, kFailed, MPI_COMM_WORLD, &failed, MPI_STATUS_IGNORE);
  if (failed != 0) throw Abandoned();
}

std::vector<std::vector<std::byte>> Ranks::gather(std::span<const std::byte> mine) const {
  if (!leads()) {
    const auto size = static_cast<std::uint64_t>(mine.size());
    MPI_Send(&size, 1, MPI_UINT64_T, 0, kSize, MPI_COMM_WORLD);
    in_pieces(mine, [](const std::byte* from, int count) {
      MPI_Send(from, count, MPI_BYTE, 0, kBytes, MPI_COMM_WORLD);
    });
    return {};
  }
  std::vector<std::vector<std::byte>> all = {{mine.begin(), mine.end()}};
  for (int other = 1; other < size_; ++other) {
    std::uint64_t size = 0;
    MPI_Recv(&size, 1, MPI_UINT64_T, other, kSize, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    std::vector<std::byte>& bytes = all.emplace_back(static_cast<std::size_t>(size));
    in_pieces(std::span(bytes), [other](std::byte* to, int count) {
      MPI_Recv(to, count, MPI_BYTE, other, kBytes, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    });
  }
  return all;
}

}  // namespace ember::cli
