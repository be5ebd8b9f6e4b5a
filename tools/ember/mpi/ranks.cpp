#include "ranks.hpp"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "output.hpp"
#include "verbs.hpp"

// A failing call of MPI ends all ranks with a message: that is MPI's default error handler.

namespace ember::cli {

namespace {

enum Tag : int { kFailed = 1, kSize, kBytes };

/// Thrown where the work is given up because of another rank.
struct Abandoned : std::runtime_error {
  Abandoned() : std::runtime_error("another rank failed") {}
};

/// What all ranks throw once all know that one of them failed, and why.
struct Agreed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a rank says at the end of together(), if not the length of the message of its failure.
enum State : int { kFinished = -1, kDone = 0 };

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

/// Waits without taking the processor from those that still work.
void wait(MPI_Request& request) {
  using namespace std::chrono_literals;
  auto pause = std::chrono::microseconds(20);
  for (int done = 0;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done != 0) return;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::microseconds(2ms));
  }
}

/// The processes of the other ranks on this machine, for the leader. All ranks must call it.
std::vector<pid_t> others_here() {
  MPI_Comm here = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
  int size = 0;
  MPI_Comm_size(here, &size);
  const int mine = ::getpid();
  std::vector<int> all(static_cast<std::size_t>(size));
  MPI_Allgather(&mine, 1, MPI_INT, all.data(), 1, MPI_INT, here);
  MPI_Comm_free(&here);
  std::erase(all, mine);
  return all;
}

/// Waits until mpirun has seen processes end, for some seconds at most.
void wait_until_gone(const std::vector<pid_t>& processes) {
  using namespace std::chrono_literals;
  const auto limit = std::chrono::steady_clock::now() + 5s;
  for (const pid_t process : processes) {
    while (::kill(process, 0) == 0 && std::chrono::steady_clock::now() < limit)
      std::this_thread::sleep_for(1ms);
  }
}

/// Waits until mpirun has read what was written to a pipe of its, for some seconds at most.
void wait_until_read(int descriptor) {
  using namespace std::chrono_literals;
  struct stat kind{};
  if (::fstat(descriptor, &kind) != 0 || !S_ISFIFO(kind.st_mode)) return;
  const auto limit = std::chrono::steady_clock::now() + 5s;
  for (int unread = 0; std::chrono::steady_clock::now() < limit; std::this_thread::sleep_for(1ms)) {
    if (::ioctl(descriptor, FIONREAD, &unread) != 0 || unread == 0) return;
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

Ranks::~Ranks() {
  int left = 0;
  MPI_Finalized(&left);
  if (left == 0) MPI_Finalize();
}

int Ranks::leave(int status) const {
  if (size_ == 1) return status;
  // mpirun ends all as soon as one ends with another status than 0, and then what it or the leader wrote just
  // before might be lost, or the end of a rank that was about to leave be taken for the failure. So only the
  // leader ends with the status, once its output was read and the others have gone.
  const std::vector<pid_t> others = others_here();
  if (leads()) {
    (void)std::fflush(stdout);
    for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) wait_until_read(descriptor);
  }
  MPI_Finalize();
  if (!leads()) return kSuccess;
  if (status != kSuccess) wait_until_gone(others);
  return status;
}

void Ranks::together(const std::function<void()>& work) {
  if (size_ == 1) return work();
  const bool outermost = !together_;
  together_ = true;
  std::string failure;
  try {
    work();
  } catch (const Agreed&) {
    throw;
  } catch (const Abandoned&) {  // whoever failed says why
  } catch (const std::bad_alloc&) {
    failure = "out of memory";
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
  // A rank may fail outside of the together() that others are in: theirs then meets its outermost one.
  int state = static_cast<int>(failure.size());
  if (failure.empty()) state = outermost ? kFinished : kDone;
  std::vector<int> states(static_cast<std::size_t>(size_));
  MPI_Request exchanged = MPI_REQUEST_NULL;
  MPI_Iallgather(&state, 1, MPI_INT, states.data(), 1, MPI_INT, MPI_COMM_WORLD, &exchanged);
  wait(exchanged);
  int first = size_;
  for (int other = size_; other-- > 0;) {
    if (states[static_cast<std::size_t>(other)] <= 0) continue;
    first = other;
    if (other != rank_) MPI_Recv(nullptr, 0, MPI_BYTE, other, kFailed, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  MPI_Waitall(static_cast<int>(told.size()), told.data(), MPI_STATUSES_IGNORE);
  if (first < size_) {
    failure.resize(static_cast<std::size_t>(states[static_cast<std::size_t>(first)]));
    MPI_Bcast(failure.data(), static_cast<int>(failure.size()), MPI_CHAR, first, MPI_COMM_WORLD);
    throw Agreed(fmt::format("{} (MPI rank {})", failure, first));
  }
  const auto finished = std::ranges::count(states, static_cast<int>(kFinished));
  if (finished != 0 && finished != size_) {
    throw Agreed("the ranks were given commands that do not go together: give all of them the same");
  }
}

void Ranks::check_others() const {
  int failed = 0;
  MPI_Iprobe(MPI_ANY_SOURCE, kFailed, MPI_COMM_WORLD, &failed, MPI_STATUS_IGNORE);
  if (failed != 0) throw Abandoned();
}

std::vector<std::vector<std::byte>> Ranks::gather(std::span<const std::byte> mine) const try {
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
} catch (const std::bad_alloc&) {  // the others cannot be told: they wait to be listened to
  diagnose("out of memory for the statistics of all ranks");
  wait_until_read(STDERR_FILENO);
  MPI_Abort(MPI_COMM_WORLD, kFailure);
  throw;
}

}  // namespace ember::cli
