"""Writes ONNX graphs node by node, with seeded random weights of sane magnitude."""

import numpy
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Builder:
    """A graph under construction. Every method that adds a node returns the name of its output."""

    def __init__(self, name, seed=1):
        self.name = name
        self.random = numpy.random.default_rng(seed)
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def input(self, name, dims, kind=TensorProto.FLOAT):
        """An input of shape [batch, *dims]; the batch is left open."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["batch", *dims]))
        return name

    def output(self, value, dims):
        """Declares `value` an output of shape [batch, *dims]."""
        self.outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", *dims]))

    def constant(self, array, dtype=numpy.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.asarray(array, dtype=dtype), name))
        return name

    def normal(self, *dims, fan_in):
        """He initialisation, which keeps magnitudes through ReLU networks of any depth."""
        scale = numpy.float32((2.0 / fan_in) ** 0.5)
        return self.constant(self.random.standard_normal(dims, dtype=numpy.float32) * scale)

    def small(self, *dims):
        return self.constant(self.random.uniform(-0.1, 0.1, dims))

    def node(self, op, *inputs, **attributes):
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1, bias=True, pad=None):
        pad = kernel // 2 if pad is None else pad
        fan_in = inputs // groups * kernel * kernel
        operands = [x, self.normal(outputs, inputs // groups, kernel, kernel, fan_in=fan_in)]
        if bias:
            operands.append(self.small(outputs))
        return self.node("Conv", *operands, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
                         group=groups)

    def batch_norm(self, x, channels, gain=1.0):
        """Statistics near those of normalised data, `gain` on the scale."""
        uniform = self.random.uniform
        return self.node("BatchNormalization", x, self.constant(uniform(0.8, 1.2, channels) * gain),
                         self.small(channels), self.small(channels), self.constant(uniform(0.8, 1.2, channels)))

    def relu(self, x):
        return self.node("Relu", x)

    def max_pool(self, x, kernel, stride, pad=0, ceil=0):
        return self.node("MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil)

    def dense(self, x, inputs, outputs):
        """Gemm, on rank 2."""
        return self.node("Gemm", x, self.normal(outputs, inputs, fan_in=inputs), self.small(outputs), transB=1)

    def linear(self, x, inputs, outputs, gain=1.0):
        """MatMul and Add, on any rank, as transformers are exported."""
        weights = self.constant(self.random.standard_normal((inputs, outputs)) * gain / inputs**0.5)
        return self.node("Add", self.node("MatMul", x, weights), self.small(outputs))

    def pooled_flat(self, x):
        return self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        return helper.make_model(graph, producer_name="ember-bench-peers", ir_version=8,
                                 opset_imports=[helper.make_opsetid("", OPSET)])
