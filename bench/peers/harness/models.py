"""The networks to measure: own topologies, the zoo's, and model files; with inputs for each batch size."""

import dataclasses
import json
import pathlib

import numpy
import onnx
from onnx import helper, numpy_helper

from topologies import IDENTITY, INTEGER_RANGES, TOPOLOGIES

from . import paths

# The zoo's networks that are measured when none is named: name here → name of the file there.
ZOO = {
    "mobilenet_v2_tf2": "tfl_tf2_mobilenet_v2_1.0_224_ptq_fp32",
    "mobilenet_v1_0.5": "tfl_mobilenet_v1_0.5_160_quant_fp32",
    "mobilenet_v1_0.25": "tfl_mobilenet_v1_0.25_128_quant_fp32",
    "squeezenet11_zoo": "squeezenet11_imagenet_fp32_from_winml_fp16",
    "cifar_resnet20": "cifar10_resnet20_akamaster",
    "resnet8": "tfl_pretrainedResnet_fp32",
    "unet": "unet_sedgen",
    "dnsmos_bak_ovr": "dnsmos_bak_ovr",
    "superres": "superres_zoo_10",
    "ultraface": "ultraface_version-RFB-320",
    "antispoof": "antispoof_john_fp32",
    "sinet": "portraitseg_sinet",
    "deeplab_mnv2": "portraitseg_deeplab_mnv2_dm05",
    "yolox_nano": "yolox_nano_coco",
    "yunet": "yunet_n_320",
    "fastestdet": "fastestdet_shufflenetv2_coco",
    "ppocr_det": "ppocr_v2_det_ch",
    "ds_cnn": "tfl_kws_ref_model_fp32",
    "person_detect": "tfl_person_detect_fp32",
    "silero_vad": "silero_vad_16k_op15",
    "relu_6_100": "eran_mnist_relu_6_100",
    "ad_autoencoder": "tfl_ad01_fp32_fp32",
}


class Unbatchable(Exception):
    """The network cannot be run with this batch; says why."""


@dataclasses.dataclass
class Network:
    name: str
    file: pathlib.Path
    integers: dict = dataclasses.field(default_factory=dict)  # exclusive upper ends of whole-number inputs
    case: pathlib.Path | None = None  # .npz with in/<input name>, one sample


@dataclasses.dataclass
class Prepared:
    """What a worker is given for one batch size."""

    model: pathlib.Path
    inputs: pathlib.Path
    extents: dict  # what the model leaves open → its extent


def own(name):
    """Builds the network unless it is there, newer than the code that writes it."""
    file = paths.MODELS / f"{name}.onnx"
    sources = [source.stat().st_mtime for source in (paths.PEERS / "topologies").glob("*.py")]
    if not file.is_file() or file.stat().st_mtime < max(sources):
        paths.MODELS.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        onnx.save((IDENTITY if name == "identity" else TOPOLOGIES[name])(), unfinished)
        unfinished.replace(file)
    return Network(name, file, INTEGER_RANGES.get(name, {}))


def from_zoo(name):
    entries = json.loads((paths.zoo() / "index.json").read_text())
    for entry in entries:
        if pathlib.Path(entry["model"]).stem == ZOO[name]:
            return Network(name, paths.zoo() / entry["model"], case=paths.zoo() / entry["case"])
    raise SystemExit(f"the zoo has no network {ZOO[name]}")


def choose(names):
    """Networks by name or file; all known ones when none is named."""
    if not names:
        names = list(TOPOLOGIES) + (list(ZOO) if paths.zoo() else [])
    networks = []
    for name in names:
        if name in TOPOLOGIES:
            networks.append(own(name))
        elif name in ZOO and paths.zoo():
            networks.append(from_zoo(name))
        elif pathlib.Path(name).is_file():
            networks.append(Network(pathlib.Path(name).stem, pathlib.Path(name).resolve()))
        else:
            raise SystemExit(f"{name} is neither a file nor a known network: "
                             + ", ".join([*TOPOLOGIES, *(ZOO if paths.zoo() else [])]))
    return networks


def extents_of(value):
    """Sizes, names of open extents, and None for those without a name."""
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
            for dim in value.type.tensor_type.shape.dim]


def is_open(extent):
    return not isinstance(extent, int)


def set_batch(model, inputs, batch):
    """Writes `batch` for the leading 1 of the inputs and of the targets of Reshape; shapes noted on inner values
    and outputs go. Whether the network then computes the same per sample shows in its outputs."""
    for value in inputs:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    graph = model.graph
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    tensors += [(node.output[0], helper.get_node_attr_value(node, "value")) for node in graph.node
                if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for name, tensor in tensors:
        shape = numpy_helper.to_array(tensor) if name in targets else numpy.zeros(0)
        if shape.ndim == 1 and shape.size > 1 and shape[0] == 1:
            shape = shape.copy()
            shape[0] = batch
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def batch_axes(inputs):
    """Input → the axes that the batch decides: an open first axis, and any axis of the same name."""
    names = {extents_of(value)[0] for value in inputs if extents_of(value)} - {None}
    names = {name for name in names if is_open(name)}
    return {value.name: [axis for axis, extent in enumerate(extents_of(value))
                         if extent in names or (axis == 0 and is_open(extent))] for value in inputs}


def example_inputs(network):
    if not network.case:
        return {}
    with numpy.load(network.case) as case:
        return {name[3:]: case[name] for name in case.files if name.startswith("in/")}


def make_inputs(network, inputs, axes, batch):
    """Random in [0, 1) and seeded, or the network's own example repeated; whole numbers within their range."""
    random = numpy.random.default_rng(1)
    examples = example_inputs(network)
    arrays = {}
    for value in inputs:
        dims = [1 if is_open(extent) else extent for extent in extents_of(value)]
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if value.name in examples:
            array = examples[value.name]
            grown = [axis for axis in range(array.ndim)
                     if axis in axes[value.name] or (axis == 0 and dims[0] == batch)]
            for axis in grown:
                array = numpy.repeat(array, batch, axis=axis) if array.shape[axis] == 1 else array
        else:
            for axis in axes[value.name]:
                dims[axis] = batch
            if numpy.issubdtype(kind, numpy.floating):
                array = random.random(dims, dtype=numpy.float32)
            else:
                array = random.integers(0, network.integers.get(value.name, 1), dims)
        arrays[value.name] = numpy.array(array, dtype=kind, order="C")
    return arrays


def prepare(network, batch):
    """The model file, inputs and open extents for a batch. Throws Unbatchable."""
    model = onnx.load(network.file, load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    axes = batch_axes(inputs)
    file = network.file
    paths.MODELS.mkdir(parents=True, exist_ok=True)
    if batch > 1 and not any(axes.values()):
        single = [value for value in inputs if len(extents_of(value)) > 1 and extents_of(value)[0] == 1]
        if not single:
            raise Unbatchable("no input has an open first axis, or one of extent 1")
        set_batch(model, single, batch)
        file = paths.MODELS / f"{network.name}.batch{batch}.onnx"
        onnx.save(model, file)
    arrays = make_inputs(network, inputs, axes, batch)
    extents = {}
    for value in inputs:
        for dim, extent in zip(value.type.tensor_type.shape.dim, arrays[value.name].shape):
            if dim.dim_param:
                extents[dim.dim_param] = extent
    archive = paths.MODELS / f"{network.name}.batch{batch}.npz"
    numpy.savez(archive, **arrays)
    return Prepared(file, archive, extents)
