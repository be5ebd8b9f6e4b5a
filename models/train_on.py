#!/usr/bin/python3
"""Trains a network that `ember revive` wrote on, beside the untreated one, and shows that the revived units learn.

    ember revive models/digits_mlp_narrow.onnx --data models/digits_calibration.npz -o revived.onnx --touched touched.json
    /usr/bin/python3 models/train_on.py revived.onnx touched.json --untreated models/digits_mlp_narrow.onnx
                                        [--epochs N] [--orders N] [--out FOLDER]

Needs Debian's python3-torch and python3-onnx (apt-get install --no-install-recommends python3-torch python3-onnx); takes a few
seconds on one core. Reads any network that is Flatten, Gemm, Relu, Gemm, Relu, ..., Gemm, as models/train.py writes it.

Both networks get the same batches in the same order from plain SGD with momentum, at the learning rate that trained the healthy
digits_mlp, not at the one that killed the units. For each network it prints the accuracy on the calibration and the held-out images
before and after, and how many hidden units never fire; for the revived one the gradient that reaches the touched weights.
--orders N trains each N times, on as many orders of the batches, and prints the mean, least and largest accuracy.
--out FOLDER writes both as ONNX again, for `ember audit`.
"""

import argparse
import json
import pathlib

import numpy
import onnx
import torch
from onnx import numpy_helper
from torch import nn

LEARNING_RATE = 0.005
BATCH = 32
HERE = pathlib.Path(__file__).parent


class Network:
    """The dense network of an ONNX file as torch modules, its parameters by the initialisers' names."""

    def __init__(self, path):
        graph = onnx.load(str(path)).graph
        tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        layers, self.parameters = [nn.Flatten()], {}
        for node in graph.node:
            if node.op_type == "Relu":
                layers.append(nn.ReLU())
            elif node.op_type == "Gemm":
                attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                if attributes.get("transB", 0) != 1:
                    raise SystemExit(f"{path}: {node.name} does not keep its weights by rows")
                weight, bias = (torch.from_numpy(tensors[name].copy()) for name in node.input[1:3])
                layer = nn.Linear(weight.shape[1], weight.shape[0])
                layer.weight.data, layer.bias.data = weight, bias
                self.parameters.update(zip(node.input[1:3], (layer.weight, layer.bias)))
                layers.append(layer)
            elif node.op_type != "Flatten":
                raise SystemExit(f"{path}: {node.op_type} is not part of a dense network")
        self.model = nn.Sequential(*layers)

    def save(self, path):
        torch.onnx.export(
            self.model.eval(),
            torch.zeros(1, 1, 8, 8),
            str(path),
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
            opset_version=13,
        )


def images(path):
    arrays = numpy.load(path)
    return torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])


def accuracy(model, data):
    with torch.no_grad():
        return float((model(data[0]).argmax(1) == data[1]).float().mean())


def silent(model, x):
    """Hidden units, and how many of them no image fires."""
    units = never = 0
    with torch.no_grad():
        for layer in model:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                units += x.shape[1]
                never += int((x.amax(0) == 0).sum())
    return never, units


def touched_gradient(network, touched):
    """Of each touched slice the norm of the gradient, apart for the slices into units and those out of them."""
    into, out_of = [], []
    for slice_ in touched:
        parameter = network.parameters[slice_["tensor"]]
        gradient = parameter.grad.select(slice_["axis"], slice_["index"])
        (out_of if slice_["axis"] == 1 else into).append(float(gradient.norm()))
    return into, out_of


def train(network, data, epochs, touched=(), order_seed=1):
    """Returns the touched slices' gradients of the first two steps."""
    generator = torch.Generator().manual_seed(order_seed)
    optimizer = torch.optim.SGD(network.model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    x, y = data
    seen = []
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), BATCH):
            batch = order[start : start + BATCH]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network.model(x[batch]), y[batch]).backward()
            if touched and len(seen) < 2:
                seen.append(touched_gradient(network, touched))
            optimizer.step()
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revived", type=pathlib.Path)
    parser.add_argument("touched", type=pathlib.Path)
    parser.add_argument("--untreated", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--orders", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data, held_out = images(HERE / "digits_calibration.npz"), images(HERE / "digits_heldout.npz")
    touched = json.loads(options.touched.read_text())["touched"]

    for name, path, slices in (("untreated", options.untreated, ()), ("revived", options.revived, touched)):
        network = Network(path)

        def report(when):
            never, units = silent(network.model, data[0])
            print(
                f"{name:10} {when:16} accuracy {accuracy(network.model, data):.3f}  held-out "
                f"{accuracy(network.model, held_out):.3f}  never firing {never}/{units}"
            )

        report("before")
        for step, (into, out_of) in enumerate(train(network, data, options.epochs, slices)):
            for kind, norms in (("incoming", into), ("outgoing", out_of)):
                reached = sum(norm > 0 for norm in norms)
                print(f"{name:10} step {step}: gradient in {reached} of {len(norms)} touched {kind} slices")
        report(f"after {options.epochs} epochs")
        reached = [accuracy(network.model, held_out)]
        for seed in range(2, options.orders + 1):
            again = Network(path)
            train(again, data, options.epochs, order_seed=seed)
            reached.append(accuracy(again.model, held_out))
        if options.orders > 1:
            print(
                f"{name:10} {options.orders} orders of the batches: held-out {sum(reached) / len(reached):.3f} "
                f"({min(reached):.3f} to {max(reached):.3f})"
            )
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            network.save(options.out / f"{name}_trained.onnx")


if __name__ == "__main__":
    main()
