"""Prunes networks with the built command and holds the results against ONNX Runtime.

For every network: the onnx package's checker accepts the pruned file, ONNX Runtime computes from it what it
computes from the original on the calibration data (where these are arrays) and what ember computes from it on
the network's own case, argmaxes are the same, and names and metadata are kept.

    pruned_networks.py EMBER SOURCE TOOLS [NETWORK...]

TOOLS is what tests/surgery/fetch filled; the zoo is EMBER_ZOO, or ../shared/zoo beside the source. Without names
all networks are checked. Prints one line per network. Exits with 77 when onnx or onnxruntime is missing.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

if len(sys.argv) > 3 and importlib.util.find_spec("onnxruntime") is None:
    python = pathlib.Path(sys.argv[3]) / "bin" / "python"
    found = python.exists() and subprocess.run([python, "-c", "import onnx, onnxruntime"], check=False,
                                               capture_output=True).returncode == 0
    if not found:
        print("skipped: no ONNX Runtime (tests/surgery/fetch gets it)")
        sys.exit(77)
    sys.exit(subprocess.run([python, *sys.argv], check=False).returncode)

import numpy
import onnx
import onnxruntime

SAMPLES = 500  # of arrays; images are few
TOLERANCE = 1e-4  # of the largest output: two engines, two orders of summation

ZOO = [
    "cifar10_resnet20_akamaster",
    "cifar10_resnet32_akamaster",
    "eran_mnist_convSmallRELU_PGDK",
    "eran_mnist_convSmallRELU_Point",
    "ultraface_version-RFB-320",
    "ultraface_version-RFB-320_simplified",
    "tfl_mobilenet_v1_0.25_128_quant_fp32",
    "tfl_mobilenet_v1_0.5_160_quant_fp32",
    "tfl_mobilenet_v1_0.25_128_quant_qdq",
    "tfl_tf2_mobilenet_v2_1.0_224_ptq_fp32",
    "yunet_n_320",
]


class Network:
    """A network, the arguments that prune it, and arrays to compare on."""

    def __init__(self, name, model, data, preprocess, case):
        self.name, self.model, self.data, self.preprocess, self.case = name, model, data, preprocess, case

    def arrays(self, session):
        """Calibration samples as model input, if the data are arrays."""
        if self.data.suffix != ".npz":
            return None
        stored = numpy.load(self.data)
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in session.get_inputs()[0].shape]
        name = session.get_inputs()[0].name
        x = stored[name if name in stored else "x"][:SAMPLES].astype(numpy.float64)
        x = x.reshape(len(x), *shape[1:])
        p = self.preprocess
        per_channel = (1, -1) + (1,) * (x.ndim - 2)
        x = x * p.get("scale", 1.0)
        if p.get("mean"):
            x = x - numpy.reshape(p["mean"], per_channel)
        if p.get("std"):
            x = x / numpy.reshape(p["std"], per_channel)
        x = (x + p.get("offset", 0.0)) * p.get("scale_after", 1.0)
        return x.astype(numpy.float32)


def networks(source, zoo):
    models = source / "models"
    for name in ("digits_cnn_dead_bias", "digits_mlp_high_lr", "digits_mlp_narrow", "digits_cnn"):
        yield Network(name, models / f"{name}.onnx", models / "digits_calibration.npz", {}, None)
    if not zoo:
        return
    for entry in json.loads((zoo / "index.json").read_text()):
        if entry["name"] in ZOO:
            yield Network(entry["name"], zoo / entry["model"], zoo / "data" / entry["calibration"]["data"],
                          entry["calibration"], zoo / entry["case"])


def run_all(session, x):
    """Outputs of every sample, one run per batch the model allows."""
    name = session.get_inputs()[0].name
    fixed = session.get_inputs()[0].shape[0]
    batch = fixed if isinstance(fixed, int) and fixed > 0 else len(x)
    runs = [session.run(None, {name: x[i:i + batch]}) for i in range(0, len(x) - batch + 1, batch)]
    return [numpy.concatenate([run[o].reshape(batch, -1) for run in runs]) for o in range(len(runs[0]))]


def worst(a, b):
    return max(float(numpy.max(numpy.abs(x - y)) / max(1e-30, numpy.max(numpy.abs(y)))) for x, y in zip(a, b))


def check(ember, network, folder):
    faults = []
    pruned, report, preprocess = folder / "pruned.onnx", folder / "report.json", folder / "preprocess.json"
    preprocess.write_text(json.dumps(network.preprocess))
    subprocess.run([ember, "prune", network.model, "--data", network.data, "--preprocess", preprocess, "--samples",
                    str(SAMPLES), "-o", pruned, "--json", report], check=True, stdout=subprocess.DEVNULL)
    report = json.loads(report.read_text())
    onnx.checker.check_model(str(pruned), full_check=True)
    before, after = onnx.load(network.model), onnx.load(pruned)
    if [(p.key, p.value) for p in before.metadata_props] != [(p.key, p.value) for p in after.metadata_props]:
        faults.append("metadata")
    if (before.graph.name, before.producer_name) != (after.graph.name, after.producer_name):
        faults.append("names")
    if {n.name for n in before.graph.node} - {n.name for n in after.graph.node}:
        faults.append("node names")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    old = onnxruntime.InferenceSession(str(network.model), options)
    new = onnxruntime.InferenceSession(str(pruned), options)
    x = network.arrays(new)
    difference = 0.0
    if x is not None:
        a, b = run_all(new, x), run_all(old, x)
        difference = worst(a, b)
        if any((numpy.argmax(p, 1) != numpy.argmax(q, 1)).any() for p, q in zip(a, b)):
            faults.append("argmax in ONNX Runtime")
    if network.case:
        with_ember = folder / "ember"
        case = numpy.load(network.case)
        inputs = {i.name: case["in/" + i.name] for i in new.get_inputs()}
        arguments = []
        for index, (name, value) in enumerate(inputs.items()):
            numpy.save(folder / f"in{index}.npy", value)
            arguments += ["--input", f"{name}={folder / f'in{index}.npy'}"]
        subprocess.run([ember, "run", pruned, *arguments, "--output-dir", with_ember], check=True,
                       stdout=subprocess.DEVNULL)
        made = {f.stem: numpy.load(f) for f in with_ember.iterdir()}
        outputs = new.run(None, inputs)
        if len(made) == len(outputs):
            by_size = sorted(made.values(), key=lambda v: (v.size, float(v.ravel()[0])))
            theirs = sorted(outputs, key=lambda v: (v.size, float(v.ravel()[0])))
            difference = max(difference, worst([v.ravel() for v in by_size], [v.ravel() for v in theirs]))
        else:
            faults.append("outputs")
    quantised = "qdq" in network.name
    if difference > (0.05 if quantised else TOLERANCE):
        faults.append(f"ONNX Runtime differs by {difference:.2g}")
    data = [c for c in report["verification"]["comparisons"] if c["on"] == "calibration"]
    for output in data[0]["outputs"]:
        if output["argmax_changes"] != 0:
            faults.append(f"{output['argmax_changes']} argmax changes in {output['output']}")
    largest = max(o["max_relative"] for o in data[0]["outputs"])
    times = report["verification"]["before"]["milliseconds"], report["verification"]["after"]["milliseconds"]
    print(f"{network.name:42} removed {len(report['removed']):4} kept {len(report['kept']):4} round {report['round']:2} "
          f"on data {largest:.1e} in ORT {difference:.1e} ms {times[0]:8.4f} -> {times[1]:8.4f} "
          f"parameters {report['before']['parameters']} -> {report['after']['parameters']} "
          f"{'; '.join(faults) if faults else 'ok'}", flush=True)
    return not faults


def main():
    ember, source, wanted = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[4:]
    zoo = pathlib.Path(os.environ.get("EMBER_ZOO") or source.parent / "shared" / "zoo")
    if not (zoo / "index.json").exists():
        print(f"no zoo at {zoo}: the bundled networks only")
        zoo = None
    good = True
    for network in networks(source, zoo):
        if wanted and network.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            good = check(ember, network, pathlib.Path(folder)) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
