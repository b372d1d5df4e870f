#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The attn command about this machine: verify, bench, info, and the demo on a terminal."""

import os
import pty
import subprocess
import sys
import unittest

import cli_support as cli
from cli_support import attn


class Machine(unittest.TestCase):
    def test_verify(self):
        code, out, _ = attn("verify", "--json")
        self.assertEqual(code, 0)
        lines = cli.json_lines(out)
        usable = [k["name"] for k in cli.json_lines(attn("info", "--json")[1])[0]["kernels"]
                  if k["usable"]]
        self.assertEqual(sorted({line["isa"] for line in lines}), sorted(usable))
        self.assertTrue(all(line["pass"] and line["error"] <= line["allowed"] for line in lines))
        self.assertEqual(attn("verify", env={"ATTN_ISA": "scalar"})[0], 0)
        self.assertIn("at most scalar", attn("info", env={"ATTN_ISA": "scalar"})[1])
        code, out, err = attn("verify", env={"ATTN_ISA": "nonsense"})
        self.assertEqual((code, out, err.count("\n")), (4, "", 1))
        self.assertIn("nonsense", err)

    def test_bench(self):
        code, out, _ = attn("bench", "small", "--seconds", "0.05", "--json")
        self.assertEqual(code, 0)
        machine, row = cli.json_lines(out)
        self.assertGreater(machine["fma_gflops"], 0.1)
        self.assertGreater(machine["read_gbytes_per_second"], 0.1)
        self.assertAlmostEqual(row["gflops"] * row["seconds"] * 1e9, 2 * 16 * 16 * 32, delta=1)
        causal = cli.json_lines(attn("bench", "--shape", "2,4,2,5,7,8,causal", "--seconds", "0.01",
                                     "--json")[1])[1]
        pairs = sum(i + 3 for i in range(5))
        self.assertAlmostEqual(causal["gflops"] * causal["seconds"] * 1e9, 2 * 8 * pairs * 16,
                               delta=1)

    def test_bench_matmul(self):
        code, out, _ = attn("bench", "matmul", "--seconds", "0", "-t", "1", "--json")
        self.assertEqual(code, 0)
        rows = cli.json_lines(out)[1:]
        self.assertGreater(len(rows), 5)
        for row in rows:
            batch, m, n, k = (int(size) for size in row["shape"].split(",")[:4])
            self.assertEqual((row["suite"], row["dtype"], row["threads"]), ("matmul", "f32", 1))
            work = 2 * batch * m * n * k
            self.assertAlmostEqual(row["gflops"] * row["seconds"] * 1e9 / work, 1, delta=1e-6)
            self.assertGreater(row["fraction"], 0)
        self.assertIn("1,1024,1024,1024,ta,tb", [row["shape"] for row in rows])
        self.assertIn(cli.json_lines(attn("info", "--json")[1])[0]["blas"], (True, False))

    def terminal(self, **env):
        text, (near, far) = b"", pty.openpty()
        process = subprocess.Popen([cli.ATTN, "demo"], stdout=far, stderr=far,
                                   env={**os.environ, "TERM": "xterm", **env})
        os.close(far)
        try:
            while piece := os.read(near, 65536):
                text += piece
        except OSError:  # how Linux says that the other end was closed
            pass
        os.close(near)
        self.assertEqual(process.wait(), 0)
        return text.decode()

    @unittest.skipUnless(os.path.exists("/dev/pts/ptmx"), "this root has no /dev/pts")
    def test_demo_and_colours(self):
        plain = attn("demo")[1]
        self.assertIn("'it' looks at 'cat'", plain)
        self.assertNotIn("\x1b", plain)
        self.assertNotIn("\x1b", self.terminal(NO_COLOR="1"))
        self.assertIn("\x1b[38;2;", self.terminal(NO_COLOR=""))
        first, speed = cli.json_lines(attn("demo", "--json")[1])
        for head in first["weights"]:
            for i, row in enumerate(head):
                self.assertAlmostEqual(sum(row), 1, delta=1e-6)
                self.assertEqual(row[i + 1:], [0] * (len(row) - i - 1))
        self.assertLess(speed["max_error"], 1e-6)


if __name__ == "__main__":
    sys.exit(unittest.main())
