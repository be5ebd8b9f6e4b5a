"""The benchmark's own networks: public topologies with seeded random weights."""

from . import convolutional, dense, transformers

# Name → function that builds the ONNX model.
TOPOLOGIES = {
    "resnet50": convolutional.resnet50,
    "vgg16": convolutional.vgg16,
    "mobilenet_v2": convolutional.mobilenet_v2,
    "squeezenet11": convolutional.squeezenet11,
    "mlp_784_128_64_10": lambda: dense.mlp(784, 128, 64, 10),
    "mlp_784_512_512_10": lambda: dense.mlp(784, 512, 512, 10),
    "mlp_1024_4096_4096_1000": lambda: dense.mlp(1024, 4096, 4096, 1000),
    "mlp_1024_4096_4096_1000_sparse": lambda: dense.sparse_mlp(1024, 4096, 4096, 1000),
    "vit_tiny": transformers.vit_tiny,
    "bert_encoder": transformers.bert_encoder,
}

# Exclusive upper ends of whole-number inputs; elsewhere they are 0, which is a valid index, length and flag.
INTEGER_RANGES = {"bert_encoder": {"input_ids": transformers.VOCABULARY}}

IDENTITY = dense.identity
