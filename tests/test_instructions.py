#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed without a clock: instructions per score of a forward pass, counted by callgrind.

The counts below hold for gcc 12 and the AVX2 tables, which callgrind can run everywhere. A change
that makes the loops longer shows here on the noisiest machine; one that makes them shorter asks
for its new number to be written down."""

import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

PROGRAM = Path(os.environ.get("ATTN_BUILD", "build")) / "tests" / "count_forward"
SCORES = 512 * 512
MEASURED = "gcc 12 avx2"
RECORDED = {"plain": 44.0, "causal": 32.4}
TOLERANCE = 0.03


def output(*command):
    env = dict(os.environ, ATTN_ISA="avx2")
    done = subprocess.run([str(word) for word in command], env=env, check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout


def instructions(case, passes):
    text = output("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", PROGRAM, case,
                  passes)
    return int(re.search(r"Collected *: *(\d+)", text)[1])


class Instructions(unittest.TestCase):
    def setUp(self):
        if not shutil.which("valgrind"):
            self.skipTest("valgrind is not installed")
        about = output("valgrind", "-q", PROGRAM).strip()
        if about != MEASURED:
            self.skipTest(f"the counts are of {MEASURED}, this is {about}")

    def test_per_score(self):
        for case, recorded in RECORDED.items():
            # What a process does once is in both numbers.
            counted = (instructions(case, 3) - instructions(case, 1)) / 2 / SCORES
            with self.subTest(case=case):
                self.assertLess(abs(counted / recorded - 1), TOLERANCE,
                                f"{counted:.3f} instructions per score, recorded {recorded}")


if __name__ == "__main__":
    unittest.main()
