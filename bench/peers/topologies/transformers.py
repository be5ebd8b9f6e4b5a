"""Transformers, node by node as exporters write them: ViT-tiny and a small BERT-like encoder."""

import numpy
from onnx import TensorProto

from .builder import Builder

VOCABULARY = 1000


def layer_norm(net, x, width):
    scale = net.constant(net.random.uniform(0.8, 1.2, width))
    return net.node("LayerNormalization", x, scale, net.small(width), axis=-1, epsilon=1e-6)


def gelu(net, x):
    """x · ½ · (1 + erf(x / √2))"""
    erf = net.node("Erf", net.node("Div", x, net.constant(numpy.float32(2**0.5))))
    product = net.node("Mul", x, net.node("Add", erf, net.constant(numpy.float32(1))))
    return net.node("Mul", product, net.constant(numpy.float32(0.5)))


def attention(net, x, width, heads, mask=None):
    """Self-attention; `mask` is added to the scores."""
    split = net.constant([0, 0, heads, width // heads], numpy.int64)
    merge = net.constant([0, 0, width], numpy.int64)

    def head(order):
        return net.node("Transpose", net.node("Reshape", net.linear(x, width, width), split), perm=order)

    query, key, value = head([0, 2, 1, 3]), head([0, 2, 3, 1]), head([0, 2, 1, 3])
    root = net.constant(numpy.float32((width // heads) ** 0.5))
    scores = net.node("Div", net.node("MatMul", query, key), root)
    if mask:
        scores = net.node("Add", scores, mask)
    mixed = net.node("MatMul", net.node("Softmax", scores, axis=-1), value)
    mixed = net.node("Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), merge)
    return net.linear(mixed, width, width)


def feed_forward(net, x, width):
    return net.linear(gelu(net, net.linear(x, width, 4 * width)), 4 * width, width)


def vit_tiny(width=192, layers=12, heads=3):
    """ViT-tiny/16 at 224×224: 197 tokens, normalised before each part."""
    net = Builder("vit_tiny")
    image = net.input("image", [3, 224, 224])
    patches = net.conv(image, 3, width, 16, 16, pad=0)
    x = net.node("Reshape", patches, net.constant([0, width, -1], numpy.int64))
    x = net.node("Transpose", x, perm=[0, 2, 1])
    shape = net.node("Shape", x)
    batch = net.node("Gather", shape, net.constant([0], numpy.int64), axis=0)
    token_shape = net.node("Concat", batch, net.constant([1, width], numpy.int64), axis=0)
    token = net.node("Expand", net.small(1, 1, width), token_shape)
    x = net.node("Add", net.node("Concat", token, x, axis=1), net.small(1, 197, width))
    for _ in range(layers):
        x = net.node("Add", x, attention(net, layer_norm(net, x, width), width, heads))
        x = net.node("Add", x, feed_forward(net, layer_norm(net, x, width), width))
    x = net.node("Gather", layer_norm(net, x, width), net.constant(0, numpy.int64), axis=1)
    net.output(net.dense(x, width, 1000), [1000])
    return net.model()


def bert_encoder(width=256, layers=4, heads=4, length=128):
    """Word and position embeddings, a padding mask, normalised after each part."""
    net = Builder("bert_encoder")
    ids = net.input("input_ids", [length], TensorProto.INT64)
    attended = net.input("attention_mask", [length], TensorProto.FLOAT)
    mask = net.node("Unsqueeze", attended, net.constant([1, 2], numpy.int64))
    mask = net.node("Sub", net.constant(numpy.float32(1)), mask)
    mask = net.node("Mul", mask, net.constant(numpy.float32(-10000)))
    words = net.constant(net.random.standard_normal((VOCABULARY, width)))
    x = net.node("Add", net.node("Gather", words, ids, axis=0), net.small(1, length, width))
    x = layer_norm(net, x, width)
    for _ in range(layers):
        x = layer_norm(net, net.node("Add", attention(net, x, width, heads, mask), x), width)
        x = layer_norm(net, net.node("Add", feed_forward(net, x, width), x), width)
    net.output(x, [length, width])
    return net.model()
