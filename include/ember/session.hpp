#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <ember/model.hpp>
#include <ember/tensor.hpp>

namespace ember {

/// Named tensors.
using TensorMap = std::map<std::string, Tensor>;

/// Watches intermediate tensors of a session. The session asks wants() once per value at compile time
/// and then calls observe() for the wanted ones during every run, on the running thread. A value that
/// was folded or fused away when nobody watches it is kept when somebody does.
class Observer {
 public:
  virtual ~Observer() = default;
  /// `value` is the ONNX value name, `node` the node that makes it, `op` its operator.
  virtual bool wants(const std::string& value, const std::string& node, const std::string& op) = 0;
  /// The tensor is valid during the call only.
  virtual void observe(const std::string& value, const ConstTensorView& tensor) = 0;
};

/// An arena that the caller owns; made with ember::use_arena() from <ember/tbb.hpp>.
class ThreadArena;

struct SessionOptions {
  /// Worker threads of this session; 0 means one per processor this process may use. 1 never touches the
  /// scheduler. Ignored when `arena` is set.
  int threads = 1;
  /// Run in the caller's tbb::task_arena instead of an own one.
  std::shared_ptr<ThreadArena> arena;
  /// Shapes for inputs whose extents the model leaves open, or to override the batch size. An open
  /// batch (axis 0) is 1 by default; if another extent is open and not given here, the network is
  /// compiled when its shapes arrive (run(inputs), reshape()), and until then such extents count as 1. Shapes
  /// given later to run() may differ: each distinct combination is planned once, the most recent few are
  /// kept.
  std::map<std::string, Shape> input_shapes;
  /// Borrowed; must outlive the session.
  std::vector<Observer*> observers;
  /// How many samples of a batch (axis 0 of every input) go through the whole network at a time, which
  /// keeps their activations in cache; the threads then take such micro-batches side by side. 0: as a cost
  /// model says. Otherwise a divisor of the batch; networks whose samples depend on each other, or that are
  /// observed, run whole all the same. The results have the same bits either way.
  std::int64_t micro_batch = 0;
  /// For a session that runs one combination of input shapes: frees the model's weights while they are put
  /// into the form that kernels read, which takes less memory and time. Other shapes than it was compiled for
  /// (see input_shapes) are an Error. Move the model into the session, for what others hold of it stays
  /// alive: Session(Model::load(file), {.release_weights = true}).
  bool release_weights = false;
  /// Measures time per step; read it with Session::profile().
  bool profile = false;
  /// Portable passes to leave out, by name (see pass_names()); for debugging.
  std::set<std::string> disabled_passes;
  /// Operator kinds to run by the reference only; for debugging. "*" means all.
  std::set<std::string> reference_only;
};

/// Names of the portable passes, in the order they run.
std::vector<std::string> pass_names();

/// One executed step, summed over the runs since the last reset.
struct ProfileEntry {
  std::string node;                ///< label of the step's main ONNX node
  std::vector<std::string> fused;  ///< labels of the nodes fused into it
  std::string op;                  ///< operator of the main node, or "layout" for a conversion
  std::string implementation;      ///< e.g. "conv_blocked"; "reference" is the slow path
  std::string refusals;            ///< why better implementations refused, "" when the best was taken
  double flops = 0;                ///< per run
  double milliseconds = 0;         ///< summed over runs
  std::int64_t runs = 0;
};

/// A compiled, runnable network. One thread at a time may use a session; sessions of one model share
/// its packed weights. All functions throw Error.
class Session {
 public:
  explicit Session(Model model, SessionOptions options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Runs on copies of `inputs` (all inputs, by name; dtype must match) and returns all outputs.
  TensorMap run(const TensorMap& inputs);

  /// The memory an input is read from: fill it, then run(). Valid until the session is destroyed or
  /// run with other shapes.
  [[nodiscard]] TensorView input(const std::string& name);
  /// Runs on what input() holds. Allocates nothing once warm, if every shape is static.
  void run();
  /// An output of the last run. Valid until the next run.
  [[nodiscard]] ConstTensorView output(const std::string& name) const;

  /// Plans for other input shapes (missing names keep their shape).
  void reshape(const std::map<std::string, Shape>& input_shapes);

  [[nodiscard]] const std::vector<std::string>& input_names() const;
  [[nodiscard]] const std::vector<std::string>& output_names() const;

  /// Needs SessionOptions::profile for times; implementations and refusals are always there.
  [[nodiscard]] std::vector<ProfileEntry> profile() const;
  void reset_profile();
  /// How a batch of more than one sample runs, and why: "32 micro-batches of 1", "whole: ...". Empty for one
  /// sample.
  [[nodiscard]] std::string batching() const;
  /// Bytes of the activation memory of this session.
  [[nodiscard]] std::size_t arena_bytes() const;
  /// Floating-point operations of one run (multiply-adds count two).
  [[nodiscard]] double flops() const;
  /// "avx2", … the instruction set in use.
  [[nodiscard]] std::string isa() const;
  [[nodiscard]] int threads() const;

  struct Impl;
  /// For the engine's own use.
  explicit Session(std::unique_ptr<Impl> impl);
  [[nodiscard]] Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace ember
