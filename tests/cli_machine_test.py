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
        self.assertGreater(machine["cache_gbytes_per_second"], 0.1)
        self.assertAlmostEqual(row["gflops"] * row["seconds"] * 1e9, 2 * 16 * 16 * 32, delta=1)
        causal = cli.json_lines(attn("bench", "--shape", "2,4,2,5,7,8,causal", "--seconds", "0.01",
                                     "--json")[1])[1]
        pairs = sum(i + 3 for i in range(5))
        self.assertAlmostEqual(causal["gflops"] * causal["seconds"] * 1e9, 2 * 8 * pairs * 16,
                               delta=1)

    def bench_rows(self, *words):
        code, out, err = attn("bench", *words, "--seconds", "0", "-t", "1", "--json")
        self.assertEqual(code, 0, err)
        return cli.json_lines(out)[1:]

    def test_bench_ceilings(self):
        """Every fraction is what the row did, over the mean of what the machine could."""
        for shape, reads in (("1,4,2,1,300,16,cold", True), ("1,4,2,64,64,16,bf16", False)):
            row, = self.bench_rows("--shape", shape)
            before, after = row["ceiling_before"], row["ceiling_after"]
            for of, ceiling, speed in (("of_fma", "fma_gflops", "gflops"),
                                       ("of_memory", "memory_gbytes", "gbytes"),
                                       ("of_cache", "cache_gbytes", "gbytes")):
                mean = (before[ceiling] + after[ceiling]) / 2
                self.assertAlmostEqual(row[of] * mean / row[speed], 1, delta=1e-6)
            self.assertEqual(row["bound"], "memory" if reads else "fma")
            self.assertEqual(row["fraction"], row["of_memory" if reads else "of_fma"])
            self.assertLessEqual(row["seconds_least"], row["seconds_low"])
            self.assertLessEqual(row["seconds_low"], row["seconds_high"])
            self.assertLessEqual(row["seconds_high"], row["seconds_most"])

    def test_bench_cold(self):
        """Copies of k and v fill a gibibyte, and bytes are those of one copy."""
        row, = self.bench_rows("--shape", "1,4,2,1,4096,64,cold,bf16")
        copy = 2 * 2 * 4096 * 64 * 2
        self.assertEqual(row["dtype"], "bf16")
        self.assertEqual(row["cold_bytes"], row["copies"] * copy)
        self.assertAlmostEqual(row["gbytes"] * row["seconds"] * 1e9, copy, delta=1)
        self.assertLessEqual(row["cold_bytes"], 2**30)
        self.assertGreater(row["cold_bytes"], 2**29 - copy)  # half of it where memory is short
        warm, = self.bench_rows("--shape", "1,4,2,1,4096,64")
        self.assertEqual((warm["copies"], warm["cold_bytes"]), (0, 0))

    def test_bench_list(self):
        """Rows without measuring; the shapes that targets are set for are among them."""
        code, out, _ = attn("bench", "--list", "--json")
        rows = cli.json_lines(out)
        self.assertEqual({row["schema"] for row in rows}, {"attn.bench.row/1"})
        named = {(row["suite"], row["shape"], row["dtype"]) for row in rows}
        self.assertEqual(len(named), len(rows))
        for row in (("prefill", "1,8,8,4096,4096,64", "f32"),
                    ("causal", "1,8,8,1024,1024,64,causal", "f32"),
                    ("long", "1,4,4,16384,16384,64,causal", "f32"),
                    ("short", "16,12,12,128,128,64,causal", "f32"),
                    ("peaked", "1,8,8,4096,4096,64,causal,x200", "f32"),
                    ("backward", "1,8,8,2048,2048,64,causal,backward", "f32"),
                    ("dtype", "1,32,8,2048,2048,128", "f16"),
                    ("decode", "8,32,8,1,4096,128,cold", "bf16"),
                    ("verify", "1,32,8,8,65536,128,causal,cold", "f32")):
            self.assertIn(row, named)
        self.assertEqual(len(attn("bench", "prefill", "--list")[1].splitlines()), 3)

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
