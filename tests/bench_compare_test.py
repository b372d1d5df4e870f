#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/compare.py judges whole answers by a reference that loops and differences confirm, blames
who is wrong, and says in one line what it cannot do. Needs NumPy, no other implementation."""

import contextlib
import io
import math
import subprocess
import sys
import types
import unittest
from pathlib import Path
from unittest import mock

import cli_support as cli

BENCH = cli.SOURCE / "bench"
BUILD = Path(cli.ATTN).resolve().parent
sys.path.insert(0, str(BENCH))
try:
    import numpy as np
except ImportError:
    np = None
else:
    import compare
    import compare_case
    import compare_judge
    import compare_peers

SHAPES = ["2,4,2,5,7,3", "2,4,2,5,7,3,causal", "1,2,1,9,4,3,causal", "1,1,1,6,6,1,causal,x40",
          "1,2,2,1,8,2"]


def case_of(shape, dtype="f64"):
    return compare_case.Case({"suite": "test", "shape": shape, "dtype": dtype})


def loops(case, q, k, v):
    """Attention by its definition, row by row."""
    B, H, G, T, S, D = case.sizes
    out = np.zeros(q.shape)
    for b, h, t in np.ndindex(B, H, T):
        g = h // (H // G)
        keys = [s for s in range(S) if not case.causal or s <= t + S - T]
        scores = [q[b, h, t] @ k[b, g, s] / math.sqrt(D) for s in keys]
        e = [math.exp(x - max(scores)) for x in scores]
        for s, x in zip(keys, e):
            out[b, h, t] += x / sum(e) * v[b, g, s]
    return out


def differences(case, step=1e-5):
    """Gradients of the sum of out d_out, by central differences."""
    inputs, found = [case.q, case.k[0], case.v[0]], []
    for x in inputs:
        slopes = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            kept, ends = x[at], []
            for x[at] in (kept + step, kept - step):
                ends.append((loops(case, *inputs) * case.d_out).sum())
            x[at] = kept
            slopes[at] = (ends[0] - ends[1]) / (2 * step)
        found.append(slopes)
    return found


@unittest.skipUnless(np, "no numpy")
class Reference(unittest.TestCase):
    def test_loops(self):
        for shape in SHAPES:
            case = case_of(shape)
            want = loops(case, case.q, case.k[0], case.v[0])
            for block in (1, 3 * case.sizes[4], 1 << 20):
                with mock.patch.object(compare_judge, "BLOCK", block):
                    got = compare_judge.reference(case)[0][0]
                np.testing.assert_allclose(got, want, atol=1e-12, err_msg=f"{shape} {block}")

    def test_gradients(self):
        """Of k and v those of all query heads of a group; rows without keys give none."""
        for shape in ("1,4,2,3,4,2,backward", "2,2,1,5,3,2,causal,backward"):
            case = case_of(shape)
            for got, want in zip(compare_judge.reference(case)[0], differences(case)):
                np.testing.assert_allclose(got, want, atol=1e-8, err_msg=shape)


def number(value, *at):
    def spoil(out):
        out[at] = value
    return spoil


def swap(out):
    out[:, [0, 1]] = out[:, [1, 0]]


# What nobody must get away with, in a tensor 2 4 90 16.
SPOILS = {"nan": number(math.nan, 1, 2, 7, 3), "nan first": number(math.nan, 0, 0, 0, 0),
          "nan last": number(math.nan, -1, -1, -1, -1), "inf": number(math.inf, 1, 1, 9, 0),
          "head": number(0, 0, 1), "row": number(0, 0, 1, 5), "last row": number(0, 1, 3, -1),
          "row of all": number(0, slice(None), slice(None), 5), "number": number(9, 1, 2, 77, 4),
          "all": number(0, ...), "heads swapped": swap}


class Told:
    """A peer with that answer; k and v in turn change nothing."""
    name, missing, isa = "told", None, "none"

    def __init__(self, case=None, spoil=None):
        self.spoil = spoil

    def declines(self, case):
        return None

    def open(self, case, threads):
        self.want = [x.copy() for x in compare_judge.reference(case)[0]]
        if self.spoil:
            self.spoil(self.want[-1])

    def run(self, turn):
        pass

    def answer(self):
        return self.want if len(self.want) > 1 else self.want[0]

    def close(self):
        pass


class Wrong(Told):
    name = "wrong"

    def __init__(self, case=None):
        super().__init__(case, SPOILS["nan"])


@unittest.skipUnless(np, "no numpy")
class Judging(unittest.TestCase):
    def reason(self, shape, dtype, spoil):
        case = case_of(shape, dtype)
        return compare.opened(case, Told(case, spoil), 1, compare_judge.Judge(case))

    def test_right(self):
        for dtype in ("f32", "bf16"):
            self.assertIsNone(self.reason("2,4,4,90,40,16,causal", dtype, None))
        self.assertIsNone(self.reason("2,4,2,30,90,16,backward", "f32", None))

    def test_wrong_anywhere(self):
        for words, dtype in (("", "f32"), ("", "bf16"), (",causal", "f16"), (",half", "bf16"),
                             (",backward", "f32"), (",causal,backward", "f32")):
            for name, spoil in SPOILS.items():
                reason = self.reason("2,4,4,90,90,16" + words, dtype, spoil)
                self.assertRegex(str(reason), " is off by ", f"{words} {dtype} {name}")

    def test_place(self):
        reason = self.reason("2,4,4,90,90,16", "f32", SPOILS["row"])
        self.assertIn("row 5 of head 1 of sequence 0 by 1.0e+00", reason)

    def test_row_without_keys(self):
        reason = self.reason("2,4,4,90,40,16,causal", "f32", number(0.01, 0, 0, 3, 0))
        self.assertIn("row 3 of head 0", reason)

    def test_numpy(self):
        """Groups, folded or not, and their gradients; it says so where rows see no key."""
        for shape in ("1,4,2,20,30,4", "1,4,2,3,30,4,causal", "1,4,2,20,30,4,causal,backward",
                      "1,4,2,3,30,4,backward"):
            case = case_of(shape, "f32")
            judge = compare_judge.Judge(case)
            self.assertIsNone(compare.opened(case, compare_peers.Blas(), 1, judge), shape)
        self.assertIn("no key", compare_peers.Blas().declines(case_of("1,2,2,9,4,3,causal")))


def no_ceilings(*_):
    return types.SimpleNamespace(fma=lambda: 1e9, memory=lambda: 1e9)


@unittest.skipUnless(np, "no numpy")
class Blame(unittest.TestCase):
    """Exit status and words of a run in which attn and its peers are stand-ins."""

    def run_with(self, attn, kinds, *words):
        out, err = io.StringIO(), io.StringIO()
        line = ["compare.py", "--build", str(BUILD), "--shape", "2,4,2,30,30,8", "-t", "1", "--one",
                "--rounds", "1", "--seconds", "0", *words]
        with mock.patch.object(sys, "argv", line), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err), mock.patch.object(compare, "load"), \
                mock.patch.object(compare, "Ceilings", no_ceilings), \
                mock.patch.object(compare_peers, "Attn", attn), \
                mock.patch.object(compare_peers, "PEERS", kinds):
            return compare.main(), out.getvalue(), err.getvalue()

    def test_attn_is_wrong(self):
        code, out, err = self.run_with(Wrong, [Told])
        self.assertEqual((code, out.count("\n"), err.count("\n")), (1, 1, 1), err)
        self.assertIn("attn cannot be judged: out is off by nan", err)

    def test_peer_is_wrong(self):
        code, out, err = self.run_with(Told, [Wrong, Told])
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"told \d+\.\d+ \[.*\n +wrong is left out: out is off by nan")

    def test_json(self):
        code, out, _ = self.run_with(Told, [Wrong, Told], "--json")
        row = cli.json_lines(out)[1]
        self.assertEqual((code, row["judged"], [p["name"] for p in row["peers"]]),
                         (0, "all", ["told"]))
        self.assertEqual([(p["name"], p["wrong"]) for p in row["left_out"]], [("wrong", True)])


# Words, and what the one line must say.
REFUSALS = [
    ("matmul", "10 rows of matmul: no peer has products of matrices"),
    ("scan", "6 rows of scan: no peer has recurrent attention"),
    ("additive", "additive: no peer has mechanisms"), ("nonsense", "nonsense"),
    ("-t abc", "'abc'"), ("-t 0", "'0'"), ("-t 1,", "'1,'"), ("--rounds 0", "'0'"),
    ("--rounds x", "'x'"), ("--seconds -1", "'-1'"), ("--budget nan", "'nan'"),
    ("--shape 1,2,2,8,8,4,bias", "no peer has bias"), ("--shape 1,2", "--shape"),
    ("--shape 1,2,2,8,8,4,page16,int8,cold", "no peer has page16, int8"), ("--what", "--what")]


class Refusals(unittest.TestCase):
    def compare(self, words):
        done = subprocess.run([sys.executable, BENCH / "compare.py", "--build", BUILD,
                               *words.split()], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def test_one_line(self):
        for words, said in REFUSALS:
            code, out, err = self.compare(words)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), f"{words}\n{err}")
            self.assertIn(said, err)

    @unittest.skipUnless(np, "no numpy")
    def test_peers(self):
        code, out, err = self.compare("short --peers numpy,nonsense")
        self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
        self.assertRegex(err, "no peer 'nonsense'; there are torch, .*numpy")

    def test_no_build(self):
        code, out, err = self.compare("short --build /nowhere")
        self.assertEqual((code, out, err.count("\n")), (1, "", 1), err)


if __name__ == "__main__":
    unittest.main()
