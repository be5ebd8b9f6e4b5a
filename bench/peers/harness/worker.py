"""Times one peer on one network in a process of its own:
worker.py ENGINE MODEL INPUTS.npz OUTPUTS.npz THREADS WARMUP [DIMENSION=EXTENT…]
Once warm, it writes the outputs and prints a line of JSON on how it got there. Then every line that it reads, a number of
seconds, is a turn to measure, answered with another line of JSON; ember_worker.cpp does the same. DIMENSION=EXTENT fixes an
extent that the model leaves open, so that the peer can plan for static shapes as ember does."""

import json
import sys
import time

import numpy

WARM_UP_SHARE = 0.2  # of a turn, before it is measured


class OnnxRuntime:
    """All graph optimisations, one operator at a time, n threads, inputs and outputs bound once."""

    def __init__(self):
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self.module = onnxruntime

    def create(self, model, inputs, threads, extents):
        options = self.module.SessionOptions()
        options.graph_optimization_level = self.module.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = self.module.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        for name, extent in extents.items():
            options.add_free_dimension_override_by_name(name, extent)
        self.session = self.module.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        for name, array in inputs.items():
            self.binding.bind_ortvalue_input(name, self.module.OrtValue.ortvalue_from_numpy(array))
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name)

    def settle(self):
        """Later runs write into the memory of the first one's outputs."""
        values = self.binding.get_outputs()
        self.binding.clear_binding_outputs()
        for output, value in zip(self.session.get_outputs(), values):
            self.binding.bind_ortvalue_output(output.name, value)

    def runner(self):
        session, binding = self.session, self.binding
        return lambda: session.run_with_iobinding(binding)

    def outputs(self):
        return [value.numpy() for value in self.binding.get_outputs()]


class OpenVino:
    """Latency hint, n threads, 32-bit arithmetic, inputs in shared memory, outputs read in place."""

    def __init__(self):
        import openvino

        self.module = openvino

    def create(self, model, inputs, threads, extents):
        core = self.module.Core()
        network = core.read_model(model)
        network.reshape({name: list(array.shape) for name, array in inputs.items()})
        compiled = core.compile_model(network, "CPU", {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        })
        self.request = compiled.create_infer_request()
        self.count = len(compiled.outputs)
        for name, array in inputs.items():
            self.request.set_tensor(name, self.module.Tensor(array, shared_memory=True))

    def settle(self):
        pass

    def runner(self):
        request = self.request
        return lambda: request.infer(share_inputs=True, share_outputs=True)

    def outputs(self):
        return [self.request.get_output_tensor(position).data for position in range(self.count)]


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def memory(field):
    """A field of /proc/self/status, in bytes; 0 where there is none."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
    return 0


def runs_within(run, seconds):
    """The time of each run, in seconds; at least one."""
    clock = time.perf_counter
    times = []
    end = clock() + seconds
    while True:
        start = clock()
        run()
        done = clock()
        times.append(done - start)
        if done >= end:
            return times


def say(**figures):
    print(json.dumps(figures), flush=True)


def work(engine, model, inputs, outputs, threads, warm_up, extents):
    peer = ENGINES[engine]()
    with numpy.load(inputs) as archive:
        arrays = {name: archive[name] for name in archive.files}
    clock = time.perf_counter
    with open("/proc/self/clear_refs", "w") as refs:  # peak memory starts anew
        refs.write("5")
    before = memory("VmRSS")

    start = clock()
    peer.create(model, arrays, threads, extents)
    create = clock() - start
    run = peer.runner()
    start = clock()
    run()
    first = clock() - start
    peer.settle()
    runs_within(run, warm_up)
    peak = memory("VmHWM") - before
    numpy.savez(outputs, **{f"out{position}": array for position, array in enumerate(peer.outputs())})
    say(create_ms=1000 * create, first_ms=1000 * first, peak_bytes=peak)

    for line in sys.stdin:
        seconds = float(line)
        runs_within(run, WARM_UP_SHARE * seconds)  # the others have had the caches
        times = runs_within(run, seconds)
        say(median_ms=1000 * float(numpy.median(times)), min_ms=1000 * min(times), runs=len(times))


def main(arguments):
    engine, model, inputs, outputs, threads, warm_up, *pairs = arguments
    extents = {name: int(extent) for name, extent in (pair.rsplit("=", 1) for pair in pairs)}
    work(engine, model, inputs, outputs, int(threads), float(warm_up), extents)


if __name__ == "__main__":
    main(sys.argv[1:])
