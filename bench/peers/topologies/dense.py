"""Multi-layer perceptrons, and the identity network that shows what a call costs."""

import numpy
from onnx import numpy_helper

from .builder import Builder


def mlp(*widths):
    net = Builder("mlp_" + "_".join(map(str, widths)))
    x = net.input("x", [widths[0]])
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        x = net.dense(x if layer == 0 else net.relu(x), inputs, outputs)
    net.output(x, [widths[-1]])
    return net.model()


def sparse_mlp(*widths, density=0.1, samples=64):
    """The same network with biases set, layer by layer, so that `density` of each hidden ReLU's outputs are
    positive on uniform inputs, as in a trained sparse network."""
    model = mlp(*widths)
    arrays = {w.name: w for w in model.graph.initializer}
    x = numpy.random.default_rng(2).random((samples, widths[0]), dtype=numpy.float32)
    layers = [node for node in model.graph.node if node.op_type == "Gemm"]
    for layer in layers[:-1]:
        weights = numpy_helper.to_array(arrays[layer.input[1]])
        y = x @ weights.T
        bias = -numpy.quantile(y, 1 - density, axis=0).astype(numpy.float32)
        arrays[layer.input[2]].CopyFrom(numpy_helper.from_array(bias, layer.input[2]))
        x = numpy.maximum(y + bias, 0)
    return model


def identity():
    net = Builder("identity")
    net.output(net.node("Identity", net.input("x", [1])), [1])
    return net.model()
