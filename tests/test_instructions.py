#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed without a clock: instructions for each pair of a query and a key, counted by callgrind.

The counts below hold for gcc 12 and for the AVX2 and the scalar tables, which callgrind can run
everywhere (it knows no AVX-512; the bodies are the same). A change that makes a loop longer shows
here on the noisiest machine: no count may be more than a few percent above the recorded one. One
that makes it shorter should write down its number, so that it is not lost again:

    ATTN_RECORD=1 ATTN_BUILD=build/test python3 tests/test_instructions.py    prints the table

Pairs are T S for every head, masked ones included."""

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

PROGRAM = Path(os.environ.get("ATTN_BUILD", "build")) / "tests" / "count_calls"
COMPILER = "gcc 12"
RECORDED = {
    "avx2": {
        "plain": 41.6,
        "wide": 78.32,
        "causal": 23.14,
        "short": 44.74,
        "short_causal": 29.34,
        "bf16": 44.35,
        "backward": 114,
        "backward_causal": 68.01,
        "decode": 154.7,
        "decode_bf16": 141,
        "verify": 82.44,
    },
    "scalar": {
        "plain": 1316,
        "backward": 3182,
        "decode": 2533,
    },
}
TOLERANCE = 0.03
RECORD = bool(os.environ.get("ATTN_RECORD"))


def output(isa, *command):
    env = dict(os.environ, ATTN_ISA=isa)
    done = subprocess.run([str(word) for word in command], env=env, check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout


def counted(isa, case, pairs):
    """Only what happens inside the one function of the program that makes the call."""
    text = output(isa, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                  "--toggle-collect=count_call", PROGRAM, case)
    return int(re.search(r"Collected *: *(\d+)", text)[1]) / pairs


class Instructions(unittest.TestCase):
    def cases(self, isa):
        """The pairs of every case, if the counts of this build are those recorded."""
        if not shutil.which("valgrind"):
            self.skipTest("valgrind is not installed")
        about, *cases = output(isa, "valgrind", "-q", PROGRAM).splitlines()
        if about != f"{COMPILER} {isa}":
            self.skipTest(f"the counts are of {COMPILER} {isa}, this is {about}")
        return {name: int(pairs) for name, pairs in map(str.split, cases)}

    def each(self, isa):
        cases = self.cases(isa)
        if RECORD:
            self.record(isa, cases)
            return
        self.assertEqual(sorted(set(RECORDED[isa]) - set(cases)), [])
        for case, recorded in RECORDED[isa].items():
            with self.subTest(isa=isa, case=case):
                now = counted(isa, case, cases[case])
                self.assertLess(now / recorded - 1, TOLERANCE,
                                f"{now:.2f} instructions for each pair, recorded {recorded}")

    def record(self, isa, cases):
        print(f'    "{isa}": {{')
        for case in RECORDED[isa] or cases:
            pairs = cases[case]
            print(f'        "{case}": {counted(isa, case, pairs):.4g},')
        print("    },", flush=True)

    def test_avx2(self):
        self.each("avx2")

    def test_scalar(self):
        self.each("scalar")


if __name__ == "__main__":
    sys.exit(unittest.main())
