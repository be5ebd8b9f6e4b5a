"""Runs workers: one process per engine, network, thread count and batch, pinned alike. All are made ready; then each in
turn measures for a moment while the others are stopped, so that a phase in which the machine is slow meets all of them."""

import contextlib
import json
import os
import pathlib
import select
import signal
import statistics
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


def command(engine, prepared, outputs, threads, warm_up):
    shared = [str(prepared.model), str(prepared.inputs), str(outputs), str(threads), str(warm_up)]
    if engine == EMBER:
        return [str(paths.EMBER_WORKER), *shared]
    extents = [f"{name}={extent}" for name, extent in prepared.extents.items()]
    return [sys.executable, str(paths.WORKER), engine, *shared, *extents]


class Worker:
    """An engine's process, which runs only while it is waited for."""

    def __init__(self, engine, prepared, threads, options, left):
        """Starts it and waits until it is warm, with `left()` seconds to go. Throws Failed and OutOfTime."""
        self.limit, self.left = options.limit, left
        cpus = processors()[:threads]
        self.folder = tempfile.TemporaryDirectory()
        self.outputs = pathlib.Path(self.folder.name) / "outputs.npz"
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command(engine, prepared, self.outputs, threads, 0.3 * options.seconds),
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.turns = []
        try:
            self.start = self.answer()
            with numpy.load(self.outputs) as archive:
                self.arrays = [archive[f"out{position}"] for position in range(len(archive.files))]
        except BaseException:
            self.close()
            raise

    def answer(self):
        """Lets it run until it has said a line of figures, which are returned."""
        limit = max(min(self.limit, self.left()), 1)
        if not select.select([self.process.stdout], [], [], limit)[0]:
            if limit < self.limit:
                raise OutOfTime
            raise Failed(f"not done after {limit:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = [text for text in self.errors if text.strip()]
            raise Failed(said[-1].strip()[:300] if said else f"ended with {self.process.returncode}")
        self.process.send_signal(signal.SIGSTOP)  # its idle threads must not take the others' processors
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise Failed(f"says: {line.strip()[:300]}") from None

    def take_turn(self, seconds):
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):  # it has ended, and answer() says why
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        self.turns.append(self.answer())

    def figures(self):
        """Of its start, and of its turns in their order."""
        return {**self.start, "min_ms": min(turn["min_ms"] for turn in self.turns),
                "median_ms": statistics.median(turn["median_ms"] for turn in self.turns),
                "turns_ms": [turn["median_ms"] for turn in self.turns]}

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.errors.close()
        self.folder.cleanup()


def measure_round(engines, prepared, threads, options, left):
    """One process of each engine, `options.turns` turns each: the figures and the outputs by engine, and why there are
    none. Throws OutOfTime: only whole rounds count."""
    figures, outputs, failures = {}, {}, {}
    with contextlib.ExitStack() as stack:
        workers = {}
        for engine in engines:
            try:
                workers[engine] = Worker(engine, prepared, threads, options, left)
                stack.callback(workers[engine].close)
            except Failed as reason:
                failures[engine] = str(reason)
        for turn in range(options.turns):
            names = [engine for engine in engines if engine in workers and engine not in failures]
            first = turn % max(len(names), 1)
            for engine in names[first:] + names[:first]:
                try:
                    workers[engine].take_turn(options.seconds)
                except Failed as reason:
                    failures[engine] = str(reason)
        for engine, worker in workers.items():
            if engine not in failures:
                figures[engine], outputs[engine] = worker.figures(), worker.arrays
    return figures, outputs, failures


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
