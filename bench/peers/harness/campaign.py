"""The measurements of one invocation: which, in which order, and the medians of them."""

import dataclasses
import statistics
import sys
import time

from . import measure, models

BINDING_MATTERS_BELOW = 0.2  # ms


@dataclasses.dataclass
class Configuration:
    network: models.Network
    threads: int
    batch: int
    samples: dict = dataclasses.field(default_factory=dict)  # engine → list of the workers' figures
    notes: dict = dataclasses.field(default_factory=dict)  # engine → why there is no figure, or what differs

    def label(self):
        plural = "" if self.threads == 1 else "s"
        return f"{self.network.name}, batch {self.batch}, {self.threads} thread{plural}"

    def median(self, engine, figure="median_ms"):
        """Over all rounds; a time of a run over all of their turns."""
        found = self.turns(engine) if figure == "median_ms" else [s[figure] for s in self.samples.get(engine, [])]
        return statistics.median(found) if found else None

    def turns(self, engine):
        return [turn for sample in self.samples.get(engine, []) for turn in sample["turns_ms"]]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Campaign:
    def __init__(self, options, started):
        self.options = options
        self.end = started + 60 * options.minutes if options.minutes else None
        self.engines = [measure.EMBER, *options.peers]
        self.prepared = {}  # (network, batch) → Prepared
        self.binding = {}  # (peer, threads) → ms of a call of the identity network
        self.configurations = [Configuration(network, threads, batch) for batch in options.batch
                               for network in models.choose(options.models) for threads in options.threads]
        self.left_out = []  # labels

    def left(self):
        return self.end - time.monotonic() if self.end else float("inf")

    def expected_seconds(self, configuration):
        """Of one round, from what one thread and batch took; 0 where nothing is known."""
        known = [other for other in self.configurations if other.network is configuration.network and other.samples]
        if not known:
            return 0
        least = min(known, key=lambda other: other.batch)
        per_run = sum(least.median(engine) or 0 for engine in self.engines) / 1000
        growth = configuration.batch / least.batch
        cold = sum((least.median(engine, "create_ms") or 0) for engine in self.engines) / 1000
        turn = max(2 * per_run * growth, len(self.engines) * 1.2 * self.options.seconds)
        return cold + 2 * per_run * growth + self.options.turns * turn

    def prepare(self, configuration):
        key = (configuration.network.name, configuration.batch)
        if key not in self.prepared:
            try:
                self.prepared[key] = models.prepare(configuration.network, configuration.batch)
            except models.Unbatchable as reason:
                self.prepared[key] = str(reason)
        return self.prepared[key]

    def measure(self, configuration, turn):
        """One round, the engine that starts changing by turns."""
        prepared = self.prepare(configuration)
        if isinstance(prepared, str):
            configuration.notes[measure.EMBER] = prepared
            return
        order = self.engines[turn % len(self.engines):] + self.engines[:turn % len(self.engines)]
        failed_before = [e for e in configuration.notes if not configuration.samples.get(e)]
        try:
            figures, outputs, failures = measure.measure_round([e for e in order if e not in failed_before], prepared,
                                                               configuration.threads, self.options, self.left)
        except measure.OutOfTime:
            return
        for engine, reason in failures.items():
            configuration.notes[engine] = reason
            say(f"{configuration.label()}: {engine}: {reason}")
        for engine, found in figures.items():
            configuration.samples.setdefault(engine, []).append(found)
        for peer in self.options.peers:
            if peer not in outputs or measure.EMBER not in outputs:
                continue
            difference = measure.disagreement(outputs[measure.EMBER], outputs[peer])
            if difference:
                configuration.notes[peer] = "disagrees: " + difference
                say(f"{configuration.label()}: ember and {peer} disagree: {difference}")

    def run(self):
        for threads in self.options.threads:
            identity = Configuration(models.own("identity"), threads, 1)
            for turn in range(self.options.rounds):
                self.measure(identity, turn)
            for peer in self.options.peers:
                self.binding[peer, threads] = identity.median(peer) or 0.0
        for batch in sorted(self.options.batch):
            for turn in range(self.options.rounds):
                say(f"batch {batch}, round {turn + 1} of {self.options.rounds}")
                chosen = [c for c in self.configurations if c.batch == batch]
                for configuration in sorted(chosen, key=self.expected_seconds):  # when time runs out, the dear are left
                    self.measure_in_time(configuration, turn)
        self.left_out = [c.label() for c in self.configurations if not c.samples and not c.notes]

    def measure_in_time(self, configuration, turn):
        if self.expected_seconds(configuration) + 2 > self.left():
            return
        self.measure(configuration, turn)
        times = [f"{engine} {configuration.median(engine):.4g}" for engine in self.engines
                 if configuration.samples.get(engine)]
        say(f"  {configuration.label()}: " + "  ".join(times) + " ms")

    def peer_ms(self, configuration, peer):
        """The peer's median, and what was taken off it for the call through the binding."""
        raw = configuration.median(peer)
        ours = configuration.median(measure.EMBER)
        if min(raw, ours) >= BINDING_MATTERS_BELOW:
            return raw, 0.0
        return raw, min(self.binding[peer, configuration.threads], raw)

    def spread(self, configuration, peer, binding):
        """Between which ratios the middle half of the turns is, each taken beside ember's own turn."""
        pairs = zip(configuration.turns(measure.EMBER), configuration.turns(peer))
        ratios = sorted(max(theirs - binding, 0) / ours for ours, theirs in pairs)
        return ratios[len(ratios) // 4], ratios[(3 * len(ratios) - 1) // 4]

    def rows(self):
        """One per configuration and peer: the public figures, and the rest of what was seen."""
        rows = []
        for configuration in self.configurations:
            ours = configuration.median(measure.EMBER)
            for peer in self.options.peers:
                if ours is None or configuration.median(peer) is None:
                    continue
                raw, binding = self.peer_ms(configuration, peer)
                low, high = self.spread(configuration, peer, binding)
                rows.append({
                    "model": configuration.network.name, "peer": peer, "threads": configuration.threads,
                    "batch": configuration.batch, "ember_ms": ours, "peer_ms": raw - binding,
                    "ratio": (raw - binding) / ours, "ratio_low": low, "ratio_high": high,
                })
        return rows

    def details(self):
        """Cold start, memory, rounds and remarks of every configuration."""
        found = []
        for configuration in self.configurations:
            for engine in self.engines:
                if not configuration.samples.get(engine) and engine not in configuration.notes:
                    continue
                detail = {"model": configuration.network.name, "engine": engine, "threads": configuration.threads,
                          "batch": configuration.batch, "rounds": len(configuration.samples.get(engine, []))}
                for figure in ("median_ms", "min_ms", "create_ms", "first_ms", "peak_bytes"):
                    detail[figure] = configuration.median(engine, figure)
                if engine in configuration.notes:
                    detail["note"] = configuration.notes[engine]
                found.append(detail)
        return found

    def failures(self):
        """What makes the command fail: ember without a figure where a peer has one, or outputs that differ."""
        found = []
        for configuration in self.configurations:
            for engine, note in configuration.notes.items():
                if engine == measure.EMBER and any(configuration.samples.get(peer) for peer in self.options.peers):
                    found.append(f"{configuration.label()}: ember: {note}")
                elif note.startswith("disagrees"):
                    found.append(f"{configuration.label()}: {engine} {note}")
        return found
