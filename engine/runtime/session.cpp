#include <ember/session.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/subnormals.hpp"
#include "passes/pass.hpp"
#include "runtime/release.hpp"
#include "runtime/session_impl.hpp"

namespace ember {

namespace {

/// Hands a watched value on to an Observer.
class ObserverProbe final : public runtime::Probe {
 public:
  ObserverProbe(Observer& observer, std::string value) : observer_(observer), value_(std::move(value)) {}
  void observe(const runtime::ProbeData& data) override {
    observer_.observe(value_, ConstTensorView(data.desc.type, data.desc.shape, data.data));
  }

 private:
  Observer& observer_;
  std::string value_;
};

std::size_t index_of(const std::vector<std::string>& names, const std::string& name, const char* kind,
                     const std::string& model) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) {
    throw Error(ErrorCode::InvalidArgument, fmt::format("the model has no such {}", kind),
                {.model = model, .tensor = name, .cure = fmt::format("it has: {}", fmt::join(names, ", "))});
  }
  return static_cast<std::size_t>(found - names.begin());
}

std::vector<std::string> names_of(const graph::Graph& graph, const std::vector<graph::ValueId>& ids) {
  std::vector<std::string> names;
  for (const graph::ValueId id : ids) names.push_back(graph.value(id).name);
  return names;
}

/// What a plan's steps did, those of a micro-batch in the place of the step that runs it.
void add_entries(const plan::Plan& plan, std::int64_t times_per_run, const std::vector<double>& milliseconds,
                 std::int64_t runs, const runtime::Execution& execution, std::vector<ProfileEntry>& entries) {
  for (std::size_t at = 0; at < plan.steps.size(); ++at) {
    const plan::PlannedStep& step = plan.steps[at];
    if (step.part_plan != nullptr) {
      add_entries(*step.part_plan, step.parts, execution.part_times(at), runs, execution, entries);
      continue;
    }
    entries.push_back({.node = step.node,
                       .fused = step.fused,
                       .op = step.op,
                       .implementation = step.implementation,
                       .refusals = step.refusals,
                       .flops = step.flops * static_cast<double>(times_per_run),
                       .milliseconds = at < milliseconds.size() ? milliseconds[at] : 0.0,
                       .runs = runs});
  }
}

/// Every extent but the batch (axis 0) is fixed by the model or by `given`.
bool shapes_decided(const graph::Graph& graph, const std::map<std::string, Shape>& given) {
  return std::ranges::all_of(graph.inputs, [&](graph::ValueId id) {
    const auto& dims = graph.value(id).dims;
    if (given.contains(graph.value(id).name)) return true;
    if (!dims.has_value()) return false;
    const auto open = std::ranges::find_if(dims->begin() + (dims->empty() ? 0 : 1), dims->end(),
                                           [](const graph::Dim& dim) { return dim.size < 0; });
    return open == dims->end();
  });
}

}  // namespace

Session::Impl::Impl(Model model, SessionOptions wanted, std::vector<runtime::ProbePoint> points)
    : options(std::move(wanted)),
      cache(options.release_weights ? nullptr : model.compile_cache()),
      packs(model.compile_cache()->packs()),
      isa(simd::choose_isa()),
      probes(std::move(points)) {
  if (options.threads < 0) {
    throw Error(ErrorCode::InvalidArgument, fmt::format("threads = {}", options.threads),
                {.cure = "use 0 or more"});
  }
  if (options.micro_batch < 0) {
    throw Error(ErrorCode::InvalidArgument, fmt::format("micro_batch = {}", options.micro_batch),
                {.cure = "use 0 or a divisor of the batch"});
  }
  std::shared_ptr<const graph::Graph> stated;
  if (!options.observers.empty()) stated = model.shared_graph();
  graph = cache != nullptr ? cache->optimized(options.disabled_passes)
                           : runtime::optimized_alone(std::move(model), options.disabled_passes);
  input_names = names_of(*graph, graph->inputs);
  output_names = names_of(*graph, graph->outputs);
  probe_plain.assign(probes.size(), false);
  if (stated != nullptr) add_observers(std::move(stated));
  for (const runtime::ProbePoint& point : probes) probe_pointers.push_back(point.probe);
  if (options.arena != nullptr) {
    arena = options.arena;
  } else {
    const int threads = options.threads == 0 ? runtime::available_processors() : options.threads;
    if (threads > 1) arena = std::make_shared<ThreadArena>(threads);
  }
  if (arena != nullptr && arena->threads() > 1) crew.emplace(*arena);
  input_shapes = options.input_shapes;
  // Errors in shapes should come now rather than in the first run. But an image size that the model leaves
  // open is not guessed: such a network is compiled when its shapes arrive.
  if (shapes_decided(*graph, input_shapes)) reshape({});
}

runtime::Execution& Session::Impl::ready() {
  if (execution.has_value()) return *execution;
  try {
    reshape({});
  } catch (const Error& error) {
    // Open extents counted as 1, and that may be all that is wrong.
    throw error.within({.cure =
                            "give the extents that the model leaves open: SessionOptions::input_shapes, or "
                            "--shape on the command line"});
  }
  return *execution;
}

void Session::Impl::add_observers(std::shared_ptr<const graph::Graph> stated) {
  const graph::Graph& original = *stated;
  bool vanished = false;
  for (Observer* observer : options.observers) {
    for (const graph::NodeId id : original.order()) {
      for (const graph::ValueId output : original.node(id).outputs) {
        if (output == graph::kNoValue) continue;
        const std::string& value = original.value(output).name;
        if (!observer->wants(value, original.label(id), original.node(id).op)) continue;
        observer_probes.push_back(std::make_unique<ObserverProbe>(*observer, value));
        probes.push_back({value, observer_probes.back().get(), std::nullopt});
        probe_plain.push_back(true);
        vanished = vanished || !graph->is_available(graph->find_value(value));
      }
    }
  }
  // A pass absorbed a value that somebody watches: compile the network as the model states it.
  if (vanished) graph = std::move(stated);
}

void Session::Impl::reshape(const std::map<std::string, Shape>& wanted) {
  std::map<std::string, Shape> merged = input_shapes;
  for (const auto& [name, shape] : wanted) merged[name] = shape;
  plan::PlanOptions request;
  request.isa = isa;
  request.input_shapes = plan::resolve_input_shapes(*graph, merged);
  if (released) {
    if (execution.has_value() && request.input_shapes == input_shapes) return;
    throw Error(
        ErrorCode::InvalidArgument,
        "the weights were released when the network was compiled, for other input shapes",
        {.model = graph->metadata.model_name,
         .cure = "give these shapes when the session is made (SessionOptions::input_shapes), or leave "
                 "SessionOptions::release_weights out"});
  }
  request.reference_only = options.reference_only;
  request.micro_batch = options.micro_batch;
  for (std::size_t i = 0; i < probes.size(); ++i)
    request.probes.push_back({probes[i].value, probe_plain[i], probes[i].watch});
  std::shared_ptr<const plan::Plan> plan = compile(request);
  execution.reset();  // its memory goes before the next one's comes
  execution.emplace(std::move(plan), arena != nullptr ? arena->threads() : 1);
  input_shapes = std::move(request.input_shapes);
  times = {};
}

std::shared_ptr<const plan::Plan> Session::Impl::compile(const plan::PlanOptions& request) {
  std::shared_ptr<const plan::Plan> plan;
  if (cache != nullptr) {
    on_threads([&](Parallel& parallel) { plan = cache->plan(graph, request, parallel); });
    return plan;
  }
  plan::Packing packing(*packs);
  plan = plan::compile(*graph, request, packing);
  // From here on a constant lives until it is packed.
  graph = runtime::face_of(*graph);
  released = true;
  on_threads([&](Parallel& parallel) { packing.run(parallel); });
  return plan;
}

template <class Body>
void Session::Impl::on_threads(Body&& body) {
  if (crew.has_value()) {
    crew->run([&] { body(*crew); });
  } else {
    SerialParallel serial;
    body(serial);
  }
}

void Session::Impl::run() {
  runtime::Execution& network = ready();
  const FlushSubnormals flush;
  runtime::StepTimes* measured = options.profile ? &times : nullptr;
  on_threads([&](Parallel& parallel) { network.run(parallel, probe_pointers, measured); });
}

std::size_t Session::Impl::input_index(const std::string& name) const {
  return index_of(input_names, name, "input", graph->metadata.model_name);
}

std::size_t Session::Impl::output_index(const std::string& name) const {
  return index_of(output_names, name, "output", graph->metadata.model_name);
}

Session::Session(Model model, SessionOptions options)
    : impl_(std::make_unique<Impl>(std::move(model), std::move(options))) {}
Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

TensorMap Session::run(const TensorMap& inputs) {
  std::map<std::string, Shape> shapes;
  for (const auto& [name, tensor] : inputs) {
    (void)impl_->input_index(name);
    shapes.emplace(name, tensor.shape());
  }
  for (const std::string& name : impl_->input_names) {
    if (shapes.contains(name)) continue;
    throw Error(ErrorCode::InvalidArgument, "this input is missing",
                {.model = impl_->graph->metadata.model_name,
                 .tensor = name,
                 .cure = "give a tensor for every input"});
  }
  if (!impl_->execution.has_value() || shapes != impl_->input_shapes) impl_->reshape(shapes);
  for (const auto& [name, tensor] : inputs) {
    const TensorView to = input(name);
    if (to.type() != tensor.type()) {
      throw Error(ErrorCode::InvalidArgument,
                  fmt::format("the input is {}, the tensor given is {}", to_string(to.type()),
                              to_string(tensor.type())),
                  {.model = impl_->graph->metadata.model_name, .tensor = name});
    }
    if (tensor.bytes() != 0) std::memcpy(to.raw(), tensor.raw(), tensor.bytes());
  }
  run();
  TensorMap outputs;
  for (const std::string& name : impl_->output_names) outputs.emplace(name, Tensor(output(name)));
  return outputs;
}

TensorView Session::input(const std::string& name) { return impl_->ready().input(impl_->input_index(name)); }
void Session::run() { impl_->run(); }
ConstTensorView Session::output(const std::string& name) const {
  return impl_->ready().output(impl_->output_index(name));
}
void Session::reshape(const std::map<std::string, Shape>& input_shapes) { impl_->reshape(input_shapes); }

const std::vector<std::string>& Session::input_names() const { return impl_->input_names; }
const std::vector<std::string>& Session::output_names() const { return impl_->output_names; }

std::vector<ProfileEntry> Session::profile() const {
  std::vector<ProfileEntry> entries;
  const runtime::Execution& execution = impl_->ready();
  add_entries(execution.plan(), 1, impl_->times.milliseconds, impl_->times.runs, execution, entries);
  return entries;
}

void Session::reset_profile() {
  impl_->times = {};
  impl_->ready().reset_part_times();
}
std::string Session::batching() const { return impl_->ready().plan().batching; }
std::size_t Session::arena_bytes() const { return impl_->ready().arena_bytes(); }
double Session::flops() const {
  double total = 0;
  for (const ProfileEntry& entry : profile()) total += entry.flops;
  return total;
}
std::string Session::isa() const { return std::string(simd::to_string(impl_->isa)); }
int Session::threads() const { return impl_->arena != nullptr ? impl_->arena->threads() : 1; }

std::vector<std::string> pass_names() {
  std::vector<std::string> names;
  for (const passes::Pass& pass : passes::portable_passes()) names.emplace_back(pass.name);
  return names;
}

Model::Model(std::shared_ptr<const graph::Graph> graph)
    : graph_(std::move(graph)), cache_(std::make_shared<runtime::CompileCache>(graph_)) {}

namespace runtime {

std::shared_ptr<const graph::Graph> optimized_graph(const Model& model, const SessionOptions& options) {
  return model.compile_cache()->optimized(options.disabled_passes);
}

Session make_session(const Model& model, SessionOptions options, std::vector<ProbePoint> probes) {
  return Session(std::make_unique<Session::Impl>(model, std::move(options), std::move(probes)));
}

}  // namespace runtime

}  // namespace ember
