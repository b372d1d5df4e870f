#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attn compute --grad from the outside: its gradients against differences of its own outputs, what
comes in and goes out by which name, and what it refuses; gradients in describe and bench."""

import math
import sys
import tempfile
import unittest
from pathlib import Path

import cli_support as cli
from cli_support import attn

B, H, G, T, S, D, E, R = 1, 2, 1, 3, 5, 4, 2, 3
SHAPES = {"q": (B, H, T, D), "k": (B, G, S, D), "v": (B, G, S, E), "bias_pre": (T, S),
          "bias": (H, T, S), "mask": (B, 1, T, S), "alibi": (H,), "sink": (H,),
          "rel_table": (H, R), "rel_k": (H, R, D), "rel_v": (H, R, E),
          "score_w": (H, D), "center": (H, T), "alpha": (H,), "out": (B, H, T, E),
          "lse": (B, H, T)}
OUTPUTS = ["out", "lse"]
INPUTS = [name for name in SHAPES if name not in OUTPUTS]
OPTIONS = [f"-s{option}" for option in ("align=bottom_right", "causal=true", "softcap=2",
                                        "rel=offset", "rope=half", "center_sigma=2")]
# What a call with each of these options goes without.
CALLS = {"score=dot": ["score_w", "alpha"], "score=l2": ["score_w", "rel_k", "alpha"],
         "score=additive": ["rel_k", "alpha"], "normaliser=entmax": ["score_w", "lse"]}


def dot(x, y):
    return sum(a * b for a, b in zip(x, y))


class Scratch(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def save(self, name, array, code="f", descr="<f4"):
        (self.path / f"{name}.npy").write_bytes(cli.npy(array, code, descr))
        return f"{name}={name}.npy"

    def normal(self, name, *shape, seed=1):
        return self.save(name, cli.normal(seed, *shape))

    def run_ok(self, *words):
        code, out, err = attn("compute", "softmax", *words, cwd=self.path)
        self.assertEqual(code, 0, err)
        return out

    def outputs(self, *words):
        """By name: (shape, dtype, data)."""
        line, = cli.json_lines(self.run_ok(*words, "--json"))
        return {o["name"]: (o["shape"], o["dtype"], o["data"]) for o in line["outputs"]}


class Derivative(Scratch):
    """In f64, every slot that `attn describe` says has a gradient, every one along a random
    direction: a difference of four values of out . d_out + lse . d_lse."""

    def setUp(self):
        super().setUp()
        self.arrays = {name: cli.normal(i, *shape) for i, (name, shape) in
                       enumerate(SHAPES.items())}
        self.arrays["alpha"] = (H,), [1.4 + 0.3 * h for h in range(H)]

    def file(self, name, array):
        return self.save(name, array, "d", "<f8")

    def number(self, name, direction, step):
        shape, values = self.arrays[name]
        moved = shape, [x + step * y for x, y in zip(values, direction)]
        inputs = [self.file(n, moved if n == name else self.arrays[n]) for n in self.inputs]
        self.run_ok(*inputs, *self.options, "--dtype", "f64", "--want", ",".join(self.seen), "-o",
                    "o.npz")
        got = cli.read_npz(self.path / "o.npz")
        return sum(dot(got[n][1], self.arrays[n][1]) for n in self.seen)

    def difference(self, name, direction, h=2e-3):
        near, far = (self.number(name, direction, step * h) - self.number(name, direction, -step * h)
                     for step in (1, 2))
        return (8 * near - far) / (12 * h)

    def test_every_gradient(self):
        told = cli.json_lines(attn("describe", "softmax", "--json")[1])[0]["slots"]
        self.assertEqual(sorted(s["name"] for s in told if s["gradient"]), sorted(SHAPES))
        for call, without in CALLS.items():
            with self.subTest(call=call):
                self.inputs = [name for name in INPUTS if name not in without]
                self.seen = [name for name in OUTPUTS if name not in without]
                self.options = [*OPTIONS, f"-s{call}"]
                self.check_gradients()

    def check_gradients(self):
        given = [self.file(name, self.arrays[name]) for name in self.inputs]
        given += [self.file(f"d_{name}", self.arrays[name]) for name in self.seen]
        self.run_ok(*given, *self.options, "--grad", "--dtype", "f64", "-o", "g.npz")
        got = cli.read_npz(self.path / "g.npz")
        self.assertEqual(sorted(got), sorted(["out"] + [f"d_{name}" for name in self.inputs]))
        for seed, name in enumerate(self.inputs, 50):
            shape, values = got[f"d_{name}"]
            self.assertEqual(shape, SHAPES[name])
            direction = cli.normal(seed, *shape)[1]
            want = self.difference(name, direction)
            self.assertGreater(abs(want), 1e-3, name)
            self.assertAlmostEqual(dot(values, direction) / want, 1, delta=1e-8, msg=name)


class Names(Scratch):
    def setUp(self):
        super().setUp()
        self.q, self.k, self.v = (cli.normal(i, 2, 4, 5, 8) for i in range(3))
        self.d_out = cli.normal(4, 2, 4, 5, 8)
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        cli.npz(self.path / "all.npz", q=self.q, k=self.k, v=self.v, d_out=self.d_out)

    def test_d_out_from_anywhere(self):
        self.save("d_out", self.d_out)
        whole = self.outputs("all.npz", "--grad")
        self.assertEqual(list(whole), ["out", "d_q", "d_k", "d_v"])
        self.assertEqual(self.outputs("in.npz", "d_out=d_out.npy", "--grad"), whole)
        self.assertEqual(self.outputs("in.npz", "d_out=all.npz", "--grad"), whole)
        self.assertEqual(self.outputs("all.npz", "--extra-ok")["out"], whole["out"])
        text = self.run_ok("all.npz", "--grad")
        self.assertIn("d_k f32 [2, 4, 5, 8]", text)

    def test_where_gradients_go(self):
        whole = self.outputs("all.npz", "--grad")
        self.run_ok("all.npz", "--grad", "-o", "d_q=dq.npy", "-o", "d_v=dv.npz", "-o", "g.safetensors")
        _, values = cli.read_npy((self.path / "dq.npy").read_bytes())
        self.assertLess(max(abs(x - y) for x, y in zip(values, whole["d_q"][2])), 1e-7)
        self.assertEqual(list(cli.read_npz(self.path / "dv.npz")), ["d_v"])
        self.assertEqual(sorted(cli.read_safetensors(self.path / "g.safetensors")), sorted(whole))

    def test_random_and_seed(self):
        words = ["--random", "B=2,H=4,G=2,T=6,S=6", "--grad"]
        first, again, other = (self.outputs(*words, "--seed", seed) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first["d_v"], other["d_v"])
        self.assertTrue(any(first["d_q"][2]))
        for isa in ("scalar", "avx2", "avx512"):
            code, out, _ = attn("compute", "softmax", *words, "--seed", 1, "--isa", isa, "-t", 2,
                                "--json", cwd=self.path)
            self.assertIn(code, (0, 4))
            if code == 0:
                self.assertEqual([o["data"] for o in cli.json_lines(out)[0]["outputs"]],
                                 [data for _, _, data in first.values()])

    def test_dtypes(self):
        exact = self.outputs("all.npz", "--grad", "--dtype", "f64")
        for dtype, error in (("f64", 0), ("f32", 1e-6), ("bf16", 1e-2), ("f16", 1e-3)):
            for name, (shape, got, data) in self.outputs("all.npz", "--grad", "--dtype",
                                                         dtype).items():
                self.assertEqual((shape, got), (exact[name][0], dtype))
                for x, y in zip(data, exact[name][2]):
                    self.assertLessEqual(abs(x - y), error * (abs(y) + 0.1), (name, dtype))

    def test_only_masks_of_floats_have_a_gradient(self):
        soft = self.normal("mask", 5, 5)
        self.assertEqual(self.outputs("all.npz", soft, "--grad")["d_mask"][0], [5, 5])
        self.save("mask", ((5, 5), [1] * 25), "B", "|b1")
        hard = self.outputs("all.npz", "mask=mask.npy", "--grad")
        self.assertEqual(hard, self.outputs("all.npz", "--grad"))

    def test_lse_alone(self):
        """lse adds the same number to every score: d_lse = 1 makes d_bias the weights."""
        self.save("d_lse", ((2, 4, 5), [1.0] * 40))
        self.save("bias", ((2, 4, 5, 5), [0.0] * 200))
        got = self.outputs("in.npz", "bias=bias.npy", "d_lse=d_lse.npy", "--grad", "--want",
                           "lse,weights")
        self.assertEqual(got["lse"][0], [2, 4, 5])
        for x, y in zip(got["d_bias"][2], got["weights"][2]):
            self.assertAlmostEqual(x, y, delta=2e-7)
        self.assertEqual(set(got["d_v"][2]), {0})

    def test_packed_sequences(self):
        """Each as if it were alone, and nothing for the rows of none."""
        tokens, cuts = 9, (0, 2, 7)
        x = {name: cli.normal(i, tokens, 3)[1] for i, name in enumerate(("q", "k", "v", "d_out"))}
        files = [self.save(name, ((tokens, 3), values)) for name, values in x.items()]
        cu = [self.save(name, ((len(cuts),), list(cuts)), "q", "<i8") for name in ("cu_q", "cu_k")]
        words = ["-s", "causal=true", "--grad"]
        packed = self.outputs(*files, *cu, *words)
        for begin, end in zip(cuts, cuts[1:]):
            parts = [self.save(name, ((end - begin, 3), values[3 * begin:3 * end]))
                     for name, values in x.items()]
            for name, (_, _, data) in self.outputs(*parts, *words).items():
                self.assertEqual(packed[name][2][3 * begin:3 * end], data, name)
        for name in ("d_q", "d_k", "d_v"):
            self.assertEqual(packed[name][2][3 * cuts[-1]:], [0] * 6)

    def test_nothing_to_differentiate(self):
        for sizes in ("T=0", "S=0", "B=0", "H=0,G=0"):
            got = self.outputs("--random", f"{sizes},E=3", "--grad")
            self.assertEqual([v for _, _, data in got.values() for v in data if v], [], sizes)


class Refused(Scratch):
    def refused(self, code, words, *parts):
        got, out, err = attn("compute", "softmax", *words, cwd=self.path)
        self.assertEqual((got, out), (code, ""), (words, err))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("attn: ") and err.endswith((".\n", "?\n")), err)
        for part in parts:
            self.assertIn(part, err)
        self.assertEqual([p.name for p in self.path.iterdir() if p.name.startswith((".", "o"))], [])

    def setUp(self):
        super().setUp()
        self.arrays = {name: cli.normal(i, 1, 2, 5, 8) for i, name in enumerate("qkv")}
        cli.npz(self.path / "in.npz", **self.arrays)
        cli.npz(self.path / "all.npz", **self.arrays, d_out=cli.normal(4, 1, 2, 5, 8))
        self.normal("narrow", 1, 2, 5, 7)
        self.normal("flat", 2, 5, 8)
        self.save("bits", ((5, 5), [1] * 25), "B", "|b1")

    def test_without_grad(self):
        self.refused(2, ["in.npz", "d_out=flat.npy"], "'d_out' is a gradient", "--grad")
        self.refused(3, ["all.npz", "-o", "o.npz"], "all.npz", "'d_out'", "--grad", "--extra-ok")
        self.refused(2, ["in.npz", "--want", "d_q"], "'d_q'", "--grad")
        self.refused(2, ["in.npz", "-o", "d_q=o.npy"], "'d_q'", "--grad")

    def test_d_out(self):
        self.refused(2, ["in.npz", "--grad", "-o", "o.npz"], "'d_out'")
        self.refused(3, ["in.npz", "d_out=narrow.npy", "--grad"], "narrow.npy", "expected 8, got 7")
        self.refused(3, ["in.npz", "d_out=flat.npy", "--grad"], "flat.npy", "expected 4, got 3")
        self.refused(3, ["in.npz", "d_out=bits.npy", "--grad"], "bits.npy")
        self.refused(3, ["in.npz", "d_lse=narrow.npy", "--grad"], "narrow.npy", "d_lse")
        self.refused(3, ["in.npz", "d_out=nowhere.npy", "--grad"], "nowhere.npy")
        self.refused(3, ["all.npz", "d_out=flat.npy", "--grad"], "already", "all.npz")

    def test_slots_without_a_gradient(self):
        self.refused(2, ["all.npz", "--grad", "d_weights=flat.npy"], "'d_weights'", "none")
        self.refused(2, ["all.npz", "--grad", "--want", "d_q_len"], "'d_q_len'", "none")
        self.refused(2, ["all.npz", "--grad", "d_ouut=flat.npy"], "'d_out'")

    def test_directions(self):
        self.refused(3, ["all.npz", "--grad", "d_q=flat.npy"], "'d_q'", "output")
        self.refused(2, ["all.npz", "--grad", "-o", "d_out=o.npy"], "'d_out'", "input")

    def test_outputs(self):
        self.refused(2, ["all.npz", "--grad", "-o", "o.npy"], "SLOT=o.npy")
        self.refused(2, ["all.npz", "--grad", "-o", "d_sink=o.npy"], "'d_sink'", "'sink'")
        self.refused(2, ["all.npz", "mask=bits.npy", "--grad", "-o", "d_mask=o.npy"], "'d_mask'",
                     "floats")
        self.refused(2, ["all.npz", "--grad", "--dtype", "bf16", "-o", "d_q=o.npy"], "bf16")


class Told(unittest.TestCase):
    def test_describe(self):
        text = attn("describe", "softmax")[1]
        self.assertRegex(text, r"\n   q +input +d B H T D ")
        self.assertRegex(text, r"\n  \[cu_q\] +input +N\+1 ")

    def test_verify_looks_at_gradients(self):
        checks = {line["check"] for line in cli.json_lines(attn("verify", "--json")[1])}
        self.assertGreaterEqual(len([check for check in checks if "gradients" in check]), 3)


class Bench(unittest.TestCase):
    def rows(self, *words):
        code, out, err = attn("bench", *words, "--seconds", "0", "--json")
        self.assertEqual(code, 0, err)
        return cli.json_lines(out)[1:]

    def test_backward(self):
        rows = self.rows("backward", "-t", "2")
        shapes = ["1,8,8,2048,2048,64,backward", "1,8,8,2048,2048,64,causal,backward",
                  "1,1,1,4096,4096,64,backward", "1,8,8,2048,2048,128,backward",
                  "4,8,8,1024,1024,64,backward,bias", "4,8,8,1024,1024,64,backward,d_bias"]
        self.assertEqual([(row["shape"], row["threads"]) for row in rows],
                         [(shape, n) for shape in shapes for n in (1, 2)])
        for one, two in zip(rows[::2], rows[1::2]):
            self.assertIsNone(one["gain"])
            self.assertAlmostEqual(two["gain"], one["seconds"] / two["seconds"], delta=1e-6)
            b, h, _, t, s, d = map(int, one["shape"].split(",")[:6])
            pairs = t * (t + 1) / 2 if "causal" in one["shape"] else t * s
            for row in (one, two):
                self.assertEqual((row["suite"], row["dtype"]), ("backward", "f32"))
                work = 10 * b * h * d * pairs
                self.assertAlmostEqual(row["gflops"] * row["seconds"] * 1e9 / work, 1, delta=1e-6)
                self.assertGreater(row["fraction"], 0)

    def test_rows_of_ones_own(self):
        for words, factor in (("", 4), (",causal", 4), (",backward", 10), (",causal,backward", 10),
                              (",jvp,bias", 12), (",backward,bias", 10), (",backward,d_bias", 10),
                              (",l2", 4), (",backward,additive", 10), (",jvp,l2", 12)):
            shape = f"2,4,2,5,7,8{words}"
            for dtype in ("f32", "f64", "bf16"):
                row, = self.rows("--shape", shape, "-t", "1", "--dtype", dtype)
                self.assertEqual((row["shape"], row["dtype"], row["suite"]),
                                 (shape, dtype, "shape"))
                pairs = sum(i + 3 for i in range(5)) if "causal" in words else 35
                self.assertAlmostEqual(row["gflops"] * row["seconds"] * 1e9,
                                       factor * 8 * pairs * 8, delta=1)

    def test_refused(self):
        for words in ("backwards", "d_bias", "jvp,d_bias", "backward,jvp", "l2,additive", "ta", "x40,x200",
                      "cold,backward", "int3",
                      "backward,", ""):
            code, out, err = attn("bench", "--shape", f"1,2,1,4,4,4,{words}")
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), words)
            self.assertIn("B,H,G,T,S,D", err)

    def test_every_suite_is_known(self):
        text = attn("help", "bench")[1]
        for suite in ("prefill", "causal", "long", "short", "peaked", "backward", "dtype", "decode",
                      "verify", "threads", "small", "jvp", "matmul", "growth"):
            self.assertIn(suite, text)
            self.assertIn("unknown suite 'nonsense'", attn("bench", suite, "nonsense")[2])


if __name__ == "__main__":
    sys.exit(unittest.main())
