#!/usr/bin/env python3
"""Fails when an object compiled for one instruction set shares a weak symbol with other code.

A linker keeps one copy of a weak symbol (an inline function, a template instance, an inline variable). If
objects compiled with different -m flags define the same one, the copy that stays may use instructions that the
processor lacks. So every weak definition must carry its own instruction set in its name: the namespace
ember::kernels::<isa>, or xsimd's architecture tag.

usage: isa_symbols.py --nm NM [--skip REASON] --isa NAME OBJECT... [--isa NAME OBJECT...]...
"""

import re
import subprocess
import sys

TAGS = {
    "sse42": re.compile(r"\bsse42\b|\bsse4_2\b"),
    "avx2": re.compile(r"\bavx2\b"),
    "avx512": re.compile(r"\bavx512\b|\bavx512bw\b"),
}
WEAK = "WVu"  # weak function or object, weak object, unique global; lower-case w and v are references only
# A pointer to the unwinder's routine: data with the same content everywhere.
HARMLESS = re.compile(r"^DW\.ref\.")
SKIPPED = 77


def weak_definitions(nm, path):
    """Demangled names of the weak symbols that an object defines."""
    listing = subprocess.run([nm, "--demangle", "--defined-only", path], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        match = re.match(r"^[0-9a-fA-F]*\s+(\S)\s+(.*)$", line)
        if match and match.group(1) in WEAK:
            yield match.group(2)


def parse(arguments):
    nm, skip, groups = "nm", None, []
    words = iter(arguments)
    for word in words:
        if word == "--nm":
            nm = next(words)
        elif word == "--skip":
            skip = next(words)
        elif word == "--isa":
            groups.append((next(words), []))
        elif groups:
            groups[-1][1].append(word)
        else:
            sys.exit(__doc__)
    return nm, skip, groups


def main():
    nm, skip, groups = parse(sys.argv[1:])
    if skip:
        print(f"skipped: {skip}")
        return SKIPPED
    checked, violations = 0, 0
    for isa, objects in groups:
        for path in objects:
            checked += 1
            for name in weak_definitions(nm, path):
                if TAGS[isa].search(name) or HARMLESS.match(name):
                    continue
                violations += 1
                print(f"{path}: weak symbol without '{isa}' in its name: {name}")
    print(f"{checked} objects, {violations} violations")
    return 0 if checked and not violations else 1


if __name__ == "__main__":
    sys.exit(main())
