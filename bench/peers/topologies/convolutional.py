"""Convolutional networks: ResNet-50, VGG-16, MobileNetV2, SqueezeNet 1.1."""

import numpy

from .builder import Builder


def image_network(name):
    net = Builder(name)
    return net, net.input("image", [3, 224, 224])


def resnet50():
    net, x = image_network("resnet50")

    def unit(x, inputs, outputs, kernel, stride=1, gain=1.0):
        return net.batch_norm(net.conv(x, inputs, outputs, kernel, stride, bias=False), outputs, gain)

    x = net.max_pool(net.relu(unit(x, 3, 64, 7, 2)), 3, 2, pad=1)
    channels = 64
    for width, blocks, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            y = net.relu(unit(x, channels, width, 1))
            y = net.relu(unit(y, width, width, 3, stride))
            y = unit(y, width, 4 * width, 1, gain=0.3)
            if block == 0:
                x = unit(x, channels, 4 * width, 1, stride)
            x = net.relu(net.node("Add", y, x))
            channels = 4 * width
    net.output(net.dense(net.pooled_flat(x), 2048, 1000), [1000])
    return net.model()


def vgg16():
    net, x = image_network("vgg16")
    channels = 3
    for width, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            x = net.relu(net.conv(x, channels, width, 3))
            channels = width
        x = net.max_pool(x, 2, 2)
    x = net.node("Flatten", x, axis=1)
    x = net.relu(net.dense(x, 512 * 7 * 7, 4096))
    x = net.relu(net.dense(x, 4096, 4096))
    net.output(net.dense(x, 4096, 1000), [1000])
    return net.model()


def mobilenet_v2():
    net, x = image_network("mobilenet_v2")
    zero, six = net.constant(numpy.float32(0)), net.constant(numpy.float32(6))

    def unit(x, inputs, outputs, kernel, stride=1, groups=1, gain=1.0):
        return net.batch_norm(net.conv(x, inputs, outputs, kernel, stride, groups, bias=False), outputs, gain)

    def relu6(x):
        return net.node("Clip", x, zero, six)

    x = relu6(unit(x, 3, 32, 3, 2))
    channels = 32
    for expansion, width, blocks, first_stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                   (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            inner = channels * expansion
            y = relu6(unit(x, channels, inner, 1)) if expansion != 1 else x
            y = relu6(unit(y, inner, inner, 3, stride, groups=inner))
            y = unit(y, inner, width, 1, gain=0.5)
            x = net.node("Add", x, y) if stride == 1 and channels == width else y
            channels = width
    x = relu6(unit(x, 320, 1280, 1))
    net.output(net.dense(net.pooled_flat(x), 1280, 1000), [1000])
    return net.model()


def squeezenet11():
    net, x = image_network("squeezenet11")
    x = net.max_pool(net.relu(net.conv(x, 3, 64, 3, 2, pad=0)), 3, 2, ceil=1)
    channels = 64
    for squeeze, expand, pool in ((16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True),
                                  (48, 192, False), (48, 192, False), (64, 256, False), (64, 256, False)):
        x = net.relu(net.conv(x, channels, squeeze, 1))
        x = net.node("Concat", net.relu(net.conv(x, squeeze, expand, 1)), net.relu(net.conv(x, squeeze, expand, 3)),
                     axis=1)
        channels = 2 * expand
        if pool:
            x = net.max_pool(x, 3, 2, ceil=1)
    net.output(net.pooled_flat(net.relu(net.conv(x, 512, 1000, 1))), [1000])
    return net.model()
