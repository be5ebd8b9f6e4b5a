"""The results as a table of text and as a plot."""

import math
import os
import platform
import time
from importlib import metadata
from xml.sax.saxutils import escape

from . import paths


def machine():
    """The processor, as the system names it."""
    try:
        with open("/proc/cpuinfo") as info:
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} processors"


def circumstances(options):
    """What must be known to read the figures."""
    return {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {peer: metadata.version(peer) for peer in options.peers},
        "rounds": options.rounds,
        "turns": options.turns,
        "seconds": options.seconds,
    }


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def spread(row):
    return f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}"


def table(rows, campaign, options):
    """One line per network, threads and batch; a ratio above 1 means that ember is faster."""
    facts = circumstances(options)
    lines = [f"{facts['machine']}, {facts['date']}, "
             + ", ".join(f"{peer} {version}" for peer, version in facts["versions"].items()),
             f"In ms: medians of {options.rounds * options.turns} turns of {options.seconds:g} s, in which the engines, each in "
             f"{options.rounds} processes, alternate. Behind a ratio: the middle half of those of single turns.", ""]
    width = max([len(row["model"]) for row in rows] + [7])
    heading = f"{'network':<{width}} {'batch':>5} {'threads':>7} {'ember':>10}"
    for peer in options.peers:
        heading += f" {peer:>12} {'ratio':>7} {'':<11}"
    lines.append(heading.rstrip())
    found = {(row["model"], row["batch"], row["threads"], row["peer"]): row for row in rows}
    for configuration in campaign.configurations:
        key = (configuration.network.name, configuration.batch, configuration.threads)
        ours = configuration.median("ember")
        if ours is None:
            continue
        line = f"{key[0]:<{width}} {key[1]:>5} {key[2]:>7} {ours:>10.4g}"
        for peer in options.peers:
            row = found.get((*key, peer))
            line += f" {row['peer_ms']:>12.4g} {row['ratio']:>7.2f} {spread(row):<11}" if row else f" {'-':>12} {'-':>7} {'':<11}"
        lines.append(line.rstrip())
    lines.append("")
    for peer in options.peers:
        ratios = [row["ratio"] for row in rows if row["peer"] == peer and row["ratio"] > 0]
        if ratios:
            lines.append(f"{peer}: geometric mean of {len(ratios)} ratios {geometric_mean(ratios):.2f}, "
                         f"least {min(ratios):.2f}, below 1: {sum(ratio < 1 for ratio in ratios)}")
    lines += remarks(campaign, options)
    return "\n".join(lines)


def remarks(campaign, options):
    lines = []
    if any(campaign.peer_ms(c, peer)[1] for c in campaign.configurations for peer in options.peers
           if c.median("ember") and c.median(peer)):
        costs = ", ".join(f"{peer} {1000 * campaign.binding[peer, threads]:.1f} µs at {threads} threads"
                          for peer in options.peers for threads in options.threads)
        lines.append(f"Where either takes less than 0.2 ms, the call through the peer's Python binding, measured on an "
                     f"identity network, is taken off its time: {costs}.")
    for configuration in campaign.configurations:
        for engine, note in configuration.notes.items():
            lines.append(f"{configuration.label()}: {engine}: {note}")
    if campaign.left_out:
        lines.append("Left out for lack of time: " + "; ".join(campaign.left_out))
    return lines


COLOURS = ("#2563a8", "#d9662b", "#3d8b52", "#8452a1")


def plot(rows, options):
    """Ratios on a logarithmic axis as SVG: a row per network, a dot per peer and thread count, hollow for the larger
    batches. The line is at 1; right of it ember is faster."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    ratios = [row["ratio"] for row in rows if row["ratio"] > 0]
    low, high = math.log2(min([0.8, *ratios])) - 0.1, math.log2(max([2.0, *ratios])) + 0.1
    left, right, top, step = 250, 880, 70, 22
    bottom = top + step * len(names)

    def x(ratio):
        return left + (right - left) * (math.log2(ratio) - low) / (high - low)

    series = [(peer, threads) for peer in options.peers for threads in options.threads]
    colour = {key: COLOURS[i % len(COLOURS)] for i, key in enumerate(series)}
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 {bottom + 60}" '
             'font-family="sans-serif" font-size="13">',
             f'<rect width="920" height="{bottom + 60}" fill="white"/>',
             '<text x="20" y="24" font-size="16">Time of the peer ÷ time of ember</text>']
    for i, key in enumerate(series):
        cx = 20 + 220 * i
        parts.append(f'<circle cx="{cx}" cy="45" r="5" fill="{colour[key]}"/>'
                     f'<text x="{cx + 10}" y="49">{key[0]}, threads: {key[1]}</text>')
    ticks = [tick for tick in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64) if low <= math.log2(tick) <= high]
    for tick in ticks:
        stroke = "#222" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top - 8}" y2="{bottom}" stroke="{stroke}"/>'
                     f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for position, name in enumerate(names):
        y = top + step * position + step / 2
        parts.append(f'<text x="{left - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for row in rows:
            if row["model"] != name or row["ratio"] <= 0:
                continue
            tint = colour[row["peer"], row["threads"]]
            inside = tint if row["batch"] == min(options.batch) else "white"
            parts.append(f'<circle cx="{x(row["ratio"]):.1f}" cy="{y:.1f}" r="4.5" fill="{inside}" stroke="{tint}" '
                         f'stroke-width="1.5"><title>{escape(name)}, {row["peer"]}, threads {row["threads"]}, batch '
                         f'{row["batch"]}: {row["ratio"]:.2f}</title></circle>')
    filled = f"filled: batch {min(options.batch)}" + ("; hollow: larger batches" if len(options.batch) > 1 else "")
    facts = circumstances(options)
    parts.append(f'<text x="20" y="{bottom + 44}" fill="#555">{escape(facts["machine"])}, {facts["date"]}; {filled}'
                 '</text></svg>')
    return "\n".join(parts) + "\n"


def write_plot(rows, options):
    file = options.plot or paths.ROOT / "build" / "peers.svg"
    file.write_text(plot(rows, options))
    return file
