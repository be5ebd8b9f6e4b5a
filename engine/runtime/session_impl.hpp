#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ember/session.hpp>

#include "runtime/compile_cache.hpp"
#include "runtime/crew.hpp"
#include "runtime/execution.hpp"
#include "runtime/probe.hpp"
#include "runtime/threads.hpp"

namespace ember {

/// A session, with what the public face does not show: probes on internal values.
struct Session::Impl {
  /// `probes` name values of optimized_graph(model, options); each must exist there.
  Impl(Model model, SessionOptions options, std::vector<runtime::ProbePoint> probes = {});

  void run();
  /// The compiled network; compiles for the shapes known so far if that has not happened yet.
  runtime::Execution& ready();
  void reshape(const std::map<std::string, Shape>& input_shapes);
  [[nodiscard]] std::size_t input_index(const std::string& name) const;
  [[nodiscard]] std::size_t output_index(const std::string& name) const;

  SessionOptions options;
  std::shared_ptr<runtime::CompileCache> cache;  ///< null with SessionOptions::release_weights
  std::shared_ptr<plan::PackCache> packs;        ///< the cache's
  std::shared_ptr<const graph::Graph> graph;     ///< what is compiled; its face only once that is released
  bool released = false;
  simd::Isa isa;
  std::vector<runtime::ProbePoint> probes;
  std::vector<std::unique_ptr<runtime::Probe>> observer_probes;  ///< adapters for SessionOptions::observers
  std::vector<runtime::Probe*> probe_pointers;
  std::vector<bool> probe_plain;
  std::map<std::string, Shape> input_shapes;
  std::vector<std::string> input_names, output_names;
  std::shared_ptr<ThreadArena> arena;           ///< null with one thread
  std::optional<runtime::Crew> crew;            ///< the threads of `arena`; empty with one thread
  std::optional<runtime::Execution> execution;  ///< empty until the shapes are known; see ready()
  runtime::StepTimes times;

 private:
  /// `stated`: the network as its model states it.
  void add_observers(std::shared_ptr<const graph::Graph> stated);
  std::shared_ptr<const plan::Plan> compile(const plan::PlanOptions& request);
  /// Calls body(parallel) with the threads of this session.
  template <class Body>
  void on_threads(Body&& body);
};

namespace runtime {
/// The graph that a session of these options compiles: the model's after the portable passes.
std::shared_ptr<const graph::Graph> optimized_graph(const Model& model, const SessionOptions& options = {});
/// A session with probes.
Session make_session(const Model& model, SessionOptions options, std::vector<ProbePoint> probes);
}  // namespace runtime

}  // namespace ember
