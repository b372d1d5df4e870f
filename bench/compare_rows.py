# SPDX-License-Identifier: MIT
"""The rows of attn bench that bench/compare.py can put beside others, and why not the rest."""

import json
import subprocess
import sys
from pathlib import Path

SUITES = ["prefill", "causal", "long", "short", "peaked", "backward", "dtype", "half", "decode",
          "verify"]
WORDS = {"causal", "backward", "cold", "x40", "x200", "half"}
TYPES = {"f64", "f32", "f16", "bf16"}
OTHERS = {"matmul": "products of matrices", "scan": "recurrent attention",
          "long_scan": "recurrent attention"}


def fail(message, status=2):
    print(f"compare: {message}", file=sys.stderr)
    sys.exit(status)


def listed(build, words):
    """All rows that attn bench has of those suites, or of that shape."""
    command = Path(build) / "attn"
    try:
        done = subprocess.run([command, "bench", *words, "--list", "--json"],
                              capture_output=True, text=True)
    except OSError as error:
        fail(f"{command}: {error.strerror}; make bench-compare builds it", 1)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        sys.exit(done.returncode)
    return [json.loads(line) for line in done.stdout.splitlines()]


def lacking(row):
    """What of a row no peer has: with anything here it is left out."""
    if row["suite"] in OTHERS:
        return [OTHERS[row["suite"]]]
    words = [word for word in row["shape"].split(",")[6:] if word not in WORDS]
    return words + ([row["dtype"]] if row["dtype"] not in TYPES else [])


def left_out(rows, suites):
    """A line for each suite with such rows, and for each word that names a mechanism."""
    reasons = {}
    for row in rows:
        if lacking(row):
            reasons.setdefault(row["suite"], []).append(row)
    for suite, found in reasons.items():
        words = dict.fromkeys(word for row in found for word in lacking(row))
        what = found[0]["shape"] if len(found) == 1 else f"{len(found)} rows of {suite}"
        yield f"left out: {what}: no peer has {', '.join(words)}"
    for suite in suites:
        if not any(row["suite"] == suite for row in rows):
            yield f"left out: {suite}: no peer has mechanisms"


def rows_of(args, tell):
    """Those that can be compared; if tell, lines about the others. Ends the program if none is."""
    suites = [] if args.shape else args.suites or SUITES
    rows = listed(args.build, ["--shape", args.shape] if args.shape else suites)
    if tell:
        for line in left_out(rows, suites):
            print(f"compare: {line}", file=sys.stderr)
    return [row for row in rows if not lacking(row)] or sys.exit(2)
