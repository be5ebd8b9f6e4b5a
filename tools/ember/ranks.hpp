#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace ember::cli {

/// The processes that share an audit: those that mpirun started, or this one alone. There are two of this
/// class: ranks.cpp knows nothing of MPI, mpi/ranks.cpp is the one that ember-mpi is linked with.
class Ranks {
 public:
  /// Joins the others. `argv` ends with a null pointer. Throws Error when mpirun started several processes of
  /// a command that is without MPI and has no ember-mpi beside it to hand over to.
  explicit Ranks(char** argv);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  /// Counted from 0.
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return size_; }
  /// The rank that prints and writes.
  [[nodiscard]] bool leads() const noexcept { return rank_ == 0; }

  /// Leaves the others, to be called by every rank when all is done and said: the status with which it is to
  /// end, when the command's is `status`. Only the leader ends with that; what it wrote has then arrived.
  [[nodiscard]] int leave(int status) const;

  /// Does `work`, which every rank must do, and waits for all. When it throws somewhere, this throws
  /// everywhere, with the message of the lowest rank that failed by itself. May be nested: the whole command
  /// is run in one, so that a rank that fails anywhere in it never keeps others waiting.
  void together(const std::function<void()>& work);
  /// To be called now and then within together(): throws when another rank has failed, so that nobody works
  /// on for nothing.
  void check_others() const;
  /// What every rank gave, by rank: on the leader only. Outside of it, nothing may fail on a single rank
  /// between the end of the last together() and this.
  [[nodiscard]] std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine) const;

 private:
  int rank_ = 0;
  int size_ = 1;
  bool together_ = false;
};

}  // namespace ember::cli
