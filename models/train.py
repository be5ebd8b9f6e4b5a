#!/usr/bin/python3
"""Trains the bundled networks on scikit-learn's digits (1,797 images of 8x8 pixels) and writes them as ONNX.

    /usr/bin/python3 models/train.py [--out FOLDER]

Needs Debian's python3-torch and python3-sklearn; takes about half a minute on one core. Seeds, data order and the thread
count are fixed, so a machine repeats its own result; another processor may round differently.

Networks (input "image", batch size open, pixels scaled to 0..1; output "scores", ten logits):

digits_cnn              convolution, BatchNorm, residual add, depthwise convolution, dense layers; healthy
digits_mlp              64-64-32-10, ReLU; healthy
digits_cnn_dead_bias    digits_cnn, but training starts with a large negative bias in half the channels of two layers:
                        those never fire on the training data, get no gradient, and stay as they are
digits_mlp_high_lr      digits_mlp from the same start with thirty times its learning rate, which throws units to where no
                        training image reaches them; digits_mlp_high_lr_step<n> are checkpoints before step n
digits_mlp_narrow       64-16-16-10, ReLU, at that high learning rate: what dies is missed
digits_mlp_leaky        the start of digits_mlp and the same high learning rate with Leaky ReLU, where a unit may become one-sided but
                        not die

Data: digits_calibration.npz holds the images the networks were trained on, digits_heldout.npz the others; x is float32
N x 1 x 8 x 8, y the digit.
"""

import argparse
import io
import pathlib
import zipfile

import numpy
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HELD_OUT = 450
CHECKPOINT_STEPS = (0, 8, 16, 32, 64, 128, 256)
LEARNING_RATE = 0.005
HIGH_LEARNING_RATE = 0.15
CNN_SEED = 0
MLP_SEED = 3


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input is added."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU()

    def forward(self, x):
        y = self.act1(self.norm1(self.conv1(x)))
        return self.act2(x + self.norm2(self.conv2(y)))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.residual = Residual(16)
        self.depthwise = nn.Sequential(
            nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.pointwise = nn.Sequential(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(128, 32), nn.ReLU())
        self.classify = nn.Linear(32, 10)

    def forward(self, x):
        return self.classify(self.dense(self.pool(self.pointwise(self.depthwise(self.residual(self.stem(x)))))))


def mlp(activation, first=64, second=32):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, first), activation(), nn.Linear(first, second), activation(), nn.Linear(second, 10)
    )


def initialise(make, seed):
    """make() with He weights for dense layers, each unit's weights centred and its bias slightly positive. Inputs of these layers
    are never negative, so a unit whose weights have a negative mean would be close to dead before the first step."""
    torch.manual_seed(seed)
    model = make()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            with torch.no_grad():
                layer.weight -= layer.weight.mean(1, keepdim=True)
            nn.init.constant_(layer.bias, 0.1)
    return model


def start_with_negative_bias(model):
    """Every second channel of the pointwise and the dense layer starts so low that no image lifts it above zero."""
    with torch.no_grad():
        model.pointwise[1].bias[::2] = -12.0
        model.dense[1].bias[::2] = -20.0


def batches(count, size, generator):
    order = torch.randperm(count, generator=generator)
    return [order[i : i + size] for i in range(0, count, size)]


def train(model, optimizer, data, epochs, at_step=None, seed=1):
    """Cross-entropy over shuffled batches of 32; at_step(n) is called before step n and after the last."""
    generator = torch.Generator().manual_seed(seed)
    x, y = data
    step = 0
    for _ in range(epochs):
        for batch in batches(len(x), 32, generator):
            if at_step:
                at_step(step)
            model.train()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            step += 1
    model.eval()
    return model


def never_fire(model, x):
    """Per activation, how many channels are at most zero in front of it for every image and position."""
    counts = []

    def hook(_module, inputs):
        z = inputs[0]
        top = z.amax(dim=[d for d in range(z.dim()) if d != 1])
        counts.append((int((top <= 0).sum()), z.shape[1]))

    kinds = (nn.ReLU, nn.LeakyReLU)
    hooks = [m.register_forward_pre_hook(hook) for m in model.modules() if isinstance(m, kinds)]
    model.eval()
    with torch.no_grad():
        model(x)
    for h in hooks:
        h.remove()
    return counts


def accuracy(model, data):
    model.eval()
    with torch.no_grad():
        return float((model(data[0]).argmax(1) == data[1]).float().mean())


def export(model, path):
    model.eval()
    torch.onnx.export(
        model,
        torch.zeros(1, 1, 8, 8),
        str(path),
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        opset_version=13,
        # Keeps BatchNormalization as nodes of their own instead of folding them into the convolutions.
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )


def save_npz(path, arrays):
    """numpy.savez_compressed with a fixed time stamp, so that the same arrays make the same file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            numpy.lib.format.write_array(data, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name + ".npy"), data.getvalue(), zipfile.ZIP_DEFLATED)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    digits = load_digits()
    images = (digits.images[:, None] / 16.0).astype(numpy.float32)
    labels = digits.target.astype(numpy.int64)
    x, held_x, y, held_y = train_test_split(images, labels, test_size=HELD_OUT, random_state=0, stratify=labels)
    save_npz(out / "digits_calibration.npz", {"x": x, "y": y})
    save_npz(out / "digits_heldout.npz", {"x": held_x, "y": held_y})
    data = torch.from_numpy(x), torch.from_numpy(y)
    held_out = torch.from_numpy(held_x), torch.from_numpy(held_y)

    def finish(name, model):
        export(model, out / f"{name}.onnx")
        silent = never_fire(model, data[0])
        print(f"{name:28} held-out accuracy {accuracy(model, held_out):.3f}  never firing", *(f"{a}/{b}" for a, b in silent))

    def sgd(model, lr):
        return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    model = initialise(Cnn, CNN_SEED)
    finish("digits_cnn", train(model, sgd(model, LEARNING_RATE), data, 12))

    model = initialise(Cnn, CNN_SEED)
    start_with_negative_bias(model)
    finish("digits_cnn_dead_bias", train(model, sgd(model, LEARNING_RATE), data, 12))

    model = initialise(lambda: mlp(nn.ReLU), MLP_SEED)
    finish("digits_mlp", train(model, sgd(model, LEARNING_RATE), data, 25))

    model = initialise(lambda: mlp(nn.ReLU), MLP_SEED)

    def checkpoint(step):
        if step in CHECKPOINT_STEPS:
            finish(f"digits_mlp_high_lr_step{step:03}", model)

    finish("digits_mlp_high_lr", train(model, sgd(model, HIGH_LEARNING_RATE), data, 25, at_step=checkpoint))

    model = initialise(lambda: mlp(nn.ReLU, 16, 16), MLP_SEED)
    finish("digits_mlp_narrow", train(model, sgd(model, HIGH_LEARNING_RATE), data, 25))

    model = initialise(lambda: mlp(lambda: nn.LeakyReLU(0.1)), MLP_SEED)
    finish("digits_mlp_leaky", train(model, sgd(model, HIGH_LEARNING_RATE), data, 25))


if __name__ == "__main__":
    main()
