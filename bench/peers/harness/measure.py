"""Runs workers: one process per engine, network, thread count and batch, pinned, in turn."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy

from . import paths

EMBER = "ember"


class Failed(Exception):
    """A worker ended without a result; says why in one line."""


class OutOfTime(Exception):
    """The invocation's time ended before the worker did."""


def processors():
    """Those this process may use, one per physical core first, so that two threads do not share a core."""
    first, others, seen = [], [], set()
    for cpu in sorted(os.sched_getaffinity(0)):
        topology = pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = topology.read_text() if topology.is_file() else str(cpu)
        (others if core in seen else first).append(cpu)
        seen.add(core)
    return first + others


def command(engine, prepared, outputs, threads, warm_up, seconds):
    shared = [str(prepared.model), str(prepared.inputs), str(outputs), str(threads), str(warm_up), str(seconds)]
    if engine == EMBER:
        return [str(paths.EMBER_WORKER), *shared]
    extents = [f"{name}={extent}" for name, extent in prepared.extents.items()]
    return [sys.executable, str(paths.WORKER), engine, *shared, *extents]


def run(engine, prepared, threads, options, left):
    """One measurement, with `left` seconds to go: the worker's figures and the network's outputs. Throws Failed and
    OutOfTime."""
    limit = max(min(options.limit, left), 1)
    cpus = processors()[:threads]
    with tempfile.TemporaryDirectory() as folder:
        outputs = pathlib.Path(folder) / "outputs.npz"
        try:
            done = subprocess.run(command(engine, prepared, outputs, threads, 0.3 * options.seconds, options.seconds),
                                  text=True, capture_output=True, timeout=limit, check=False,
                                  preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        except subprocess.TimeoutExpired:
            if limit < options.limit:
                raise OutOfTime from None
            raise Failed(f"not done after {limit:.0f} s") from None
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise Failed(lines[-1].strip()[:300] if lines else f"ended with {done.returncode}")
        with numpy.load(outputs) as archive:
            arrays = [archive[f"out{position}"] for position in range(len(archive.files))]
        return json.loads(done.stdout.splitlines()[-1]), arrays


def disagreement(ours, theirs):
    """Empty when every output agrees within a thousandth of its largest value; else what differs."""
    if len(ours) != len(theirs):
        return f"{len(ours)} outputs against {len(theirs)}"
    for position, (a, b) in enumerate(zip(ours, theirs)):
        if a.shape != b.shape:
            return f"output {position} has shape {a.shape} against {b.shape}"
        if a.size == 0:
            continue
        a, b = a.astype(numpy.float64), b.astype(numpy.float64)
        finite = numpy.isfinite(b)
        if not numpy.array_equal(numpy.isfinite(a), finite):
            return f"output {position}: other values are not finite"
        error = numpy.abs(numpy.subtract(a, b, where=finite, out=numpy.zeros_like(a)))
        largest = float(numpy.max(numpy.abs(b), where=finite, initial=0))
        outside = int(numpy.sum(error > 1e-3 * largest + 1e-6))
        if outside:
            return f"output {position}: {outside} of {a.size} values differ, by up to {error.max():.3g} " \
                   f"(largest value {largest:.3g})"
    return ""
