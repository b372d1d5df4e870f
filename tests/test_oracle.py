#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The oracle is judged by a second one: softmax attention over whole matrices, in numpy.

oracle_dump prints random cases over every option with the answers of tests/oracle. Here they are
worked out anew, another way where there is one: rotations as complex products, T5 buckets by
exact integers, masks as matrices. Needs numpy; without it the tests skip.
"""

import os
import subprocess
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    np = None

CASES = int(os.environ.get("ATTN_CASES", "400"))
SEED = int(os.environ.get("ATTN_SEED", "4242"), 0)


def find_dump():
    build = os.environ.get("ATTN_BUILD", ".")
    return Path(os.environ.get("ATTN_ORACLE_DUMP", Path(build) / "tests" / "oracle_dump"))


def parse(lines):
    """Yields one dict a case: spec names to numbers, t and r names to arrays."""
    case = None
    for line in lines:
        head, _, rest = line.partition(" ")
        if head == "case":
            case = {"seed_of_case": int(rest), "spec": {}, "t": {}, "r": {}}
        elif head == "spec":
            name, text = rest.split()
            case["spec"][name] = float(text) if "." in text or "e" in text else int(text)
        elif head in ("tensor", "result"):
            about, _, values = rest.partition(":")
            name, dtype, *shape = about.split()
            kind = int if dtype[0] in "iu" and name != "mask" else float
            array = np.array([kind(float(x)) for x in values.split()], kind)
            case["t" if head == "tensor" else "r"][name] = array.reshape([int(n) for n in shape])
            case.setdefault("dtype", {})[name] = dtype
        else:
            yield case


def philox(counter, key):
    """counter: four uint64 arrays of 32-bit words."""
    mask = np.uint64(0xFFFFFFFF)
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        x, y = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = ((y >> np.uint64(32)) ^ b ^ np.uint64(k0), y & mask,
                      (x >> np.uint64(32)) ^ d ^ np.uint64(k1), x & mask)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def log_bucket(a, n, limit):
    """Bucket of distance a among n: the largest step k with (limit/exact)^k <= (a/exact)^steps,
    decided with whole numbers."""
    exact = n // 2
    if a < exact:
        return a
    steps, k = n - exact, 0
    while k < steps - 1 and limit ** (k + 1) * exact ** steps <= a ** steps * exact ** (k + 1):
        k += 1
    return exact + k


def bucket(rel, n, limit, causal):
    if causal:
        return log_bucket(max(-rel, 0), n, limit)
    return (n // 2 if rel > 0 else 0) + log_bucket(abs(rel), n // 2, limit)


class Case:
    """One case, resolved."""

    def __init__(self, data):
        self.spec, self.t, self.r, self.dtype = data["spec"], data["t"], data["r"], data["dtype"]
        for name in ("q", "k", "v"):
            x = self.t[name]
            if x.ndim == 3:
                x = x[:, None]
            self.t[name] = x.reshape((1,) * (4 - x.ndim) + x.shape)
        self.q_packed, self.k_packed = "cu_q" in self.t, "cu_k" in self.t
        cu = self.t.get("cu_q")
        self.n = len(cu) - 1 if cu is not None else self.t["q"].shape[0]
        self.heads = self.t["q"].shape[1]

    def rows(self, side, b):
        """(batch, first row, count) of sequence b."""
        x = self.t["q" if side == "q" else "k"]
        if f"cu_{side}" in self.t:
            cu = self.t[f"cu_{side}"]
            return 0, int(cu[b]), int(cu[b + 1] - cu[b])
        start = int(self.t[f"{side}_start"][b]) if f"{side}_start" in self.t else 0
        length = int(self.t[f"{side}_len"][b]) if f"{side}_len" in self.t else x.shape[2] - start
        return b, start, length

    def offset(self, b, t, s):
        align = self.spec["align"]
        if align == 2:
            return s - t
        if align == 3:
            return int(self.t["offset"][b]) if "offset" in self.t else self.spec["offset"]
        return 0

    def pick(self, name, b, h, i, j):
        """The part of an operand "B H T S" for rows i and keys j."""
        x = self.t[name]
        x = x.reshape((1,) * (4 - x.ndim) + x.shape)
        x = x[b if x.shape[0] > 1 else 0, h if x.shape[1] > 1 else 0]
        x = x[i if x.shape[0] > 1 else np.zeros_like(i)]
        return x[:, j if x.shape[1] > 1 else np.zeros_like(j)]

    def per_head(self, name, b, h):
        x = self.t[name]
        x = x.reshape((1,) * (2 - x.ndim) + x.shape)
        return x[b if x.shape[0] > 1 else 0, h if x.shape[1] > 1 else 0]

    def scale(self):
        given, width = self.spec["scale"], self.t["q"].shape[3]
        if given == 0:
            return 1 / np.sqrt(width) if width and self.spec["score"] != 2 else 1.0
        return 0.0 if abs(given) < 1e-300 else given


def turn(case, x, positions):
    """Rotates the rows of x as complex numbers."""
    spec, width = case.spec, x.shape[1]
    if spec["rope"] == 0 or width < 2:
        return x
    dims = spec["dims"] or width
    half = dims // 2
    if "rope_cos" in case.t:
        unit = case.t["rope_cos"][positions] + 1j * case.t["rope_sin"][positions]
    else:
        base = spec["base"] or 10000.0
        unit = np.exp(1j * positions[:, None] * base ** (-np.arange(half) / half))
    first = slice(0, half) if spec["rope"] == 1 else slice(0, dims, 2)
    second = slice(half, dims) if spec["rope"] == 1 else slice(1, dims, 2)
    z = (x[:, first] + 1j * x[:, second]) * unit
    y = x.copy()
    y[:, first], y[:, second] = z.real, z.imag
    return y


def relative(case, h, p, j):
    spec, table = case.spec, case.t["rel_table"]
    rel = j[None, :] - p[:, None]
    n = table.shape[1]
    if spec["rel"] == 1:
        limit = spec["max_distance"] or 128
        index = np.array([[bucket(int(r), n, limit, spec["causal_buckets"]) for r in row]
                          for row in rel]).reshape(rel.shape).astype(int)
    elif spec["rel"] == 2:
        width, height = spec["width"], spec["height"]
        dy = p[:, None] // width - j[None, :] // width + height - 1
        dx = p[:, None] % width - j[None, :] % width + width - 1
        index = dy * (2 * width - 1) + dx
    else:
        index = np.clip(rel, -(n // 2), n // 2) + n // 2
    return table[h if table.shape[0] > 1 else 0][index]


def centers(case, b, h, row):
    """Where the queries of these rows look."""
    x = case.t["center"]
    x = x.reshape((1,) * (3 - x.ndim) + x.shape)
    x = x[b if x.shape[0] > 1 else 0, h if x.shape[1] > 1 else 0]
    return x[row if x.shape[0] > 1 else np.zeros_like(row)]


def pairs(case, h, q, k):
    """Queries and keys by themselves: products, distances, tanh."""
    if case.spec["score"] == 0:
        return q @ k.T
    if case.spec["score"] == 1:
        return -((q[:, None] - k[None, :]) ** 2).sum(axis=2)
    w = case.t.get("score_w", np.ones(q.shape[1]))
    if w.ndim == 2:
        w = w[h if w.shape[0] > 1 else 0]
    return np.tanh(q[:, None] + k[None, :]) @ w


def allowed(case, b, h, i, j, p, row, key):
    """The mask of the whole matrix."""
    spec, t = case.spec, case.t
    ok = np.ones((len(i), len(j)), bool)
    pp, jj = p[:, None], j[None, :]
    if spec["causal"]:
        prefix = int(t["prefix"][b]) if "prefix" in t else spec["prefix"]
        ok &= (jj <= pp) | (jj < prefix)
    if spec["window"] and spec["left"] >= 0:
        ok &= jj >= pp - spec["left"]
    if spec["window"] and spec["right"] >= 0:
        ok &= jj <= pp + spec["right"]
    if spec["chunk"]:
        ok &= pp // spec["chunk"] == jj // spec["chunk"]
    if spec["center_width"]:
        center = centers(case, b, h, row)[:, None]
        ok &= np.abs(jj - center) <= spec["center_width"]
    full = np.zeros_like(ok)
    if "block_mask" in t:
        kind = case.pick("block_mask", b, h, row // spec["block_q"], key // spec["block_k"])
        ok &= kind != 0
        full = np.broadcast_to(kind == 1, ok.shape)
    if "mask" in t and case.dtype["mask"] in ("bool", "u8"):
        ok &= full | (case.pick("mask", b, h, row, key) != 0)
    return ok


def tile(case, b, h, i, j, s, ok):
    """What support/callback.c does to scores."""
    band = i[:, None] // case.spec["period"] % 3
    mix = 3 * i[:, None] + 5 * j[None, :] + h + 2 * b
    changed = s * 0.5 + 0.25 * (mix % 7)
    ok = ok & (band != 1) & ((band == 0) | (mix % 11 != 0))
    return np.where(band == 2, changed, s), ok


def scores(case, b, h, q, k, where):
    """Scores at the stage asked for, scores for the softmax, what is allowed."""
    i, j, p, row, key = where
    spec, t = case.spec, case.t
    s = pairs(case, h, q, k)
    clip = lambda n: np.clip(j[None, :] - p[:, None], -(n // 2), n // 2) + n // 2
    if "rel_k" in t:
        s = s + np.take_along_axis(q @ t["rel_k"][h].T, clip(t["rel_k"].shape[1]), axis=1)
    s = s * case.scale()
    stages = [s]
    ok = allowed(case, b, h, i, j, p, row, key)

    def add(s, ok, name):
        x = np.broadcast_to(case.pick(name, b, h, row, key), s.shape)
        return np.where(np.isneginf(x), s, s + x), ok & ~np.isneginf(x)

    if "bias_pre" in t:
        s, ok = add(s, ok, "bias_pre")
    if spec["softcap"]:
        s = spec["softcap"] * np.tanh(s / spec["softcap"])
    stages.append(s)
    if "bias" in t:
        s, ok = add(s, ok, "bias")
    if "mask" in t and case.dtype["mask"] not in ("bool", "u8"):
        s, ok = add(s, ok, "mask")
    if "alibi" in t:
        s = s - case.per_head("alibi", b, h) * np.abs(p[:, None] - j[None, :])
    if spec["rel"]:
        s = s + relative(case, h, p, j)
    if spec["center_sigma"]:
        far = j[None, :] - centers(case, b, h, row)[:, None]
        s = s - far ** 2 / (2 * spec["center_sigma"] ** 2)
    if spec["tile"]:
        s, ok = tile(case, b, h, i, j, s, ok)
    return stages, s, ok


def keep(case, b, h, i, j):
    """Factors of dropout."""
    p, seed = case.spec["dropout"], case.spec["seed"]
    if p == 0:
        return np.ones((len(i), len(j)))
    word = lambda x: np.broadcast_to(np.asarray(x, np.uint64), (len(i), len(j))).copy()
    out = philox((word(j[None, :] // 4), word(i[:, None]), word(h), word(b)),
                 (seed & 0xFFFFFFFF, seed >> 32))
    drawn = np.choose(np.broadcast_to(j % 4, (len(i), len(j))), out)
    return np.where(drawn < np.uint64(int(np.floor(p * 2.0 ** 32))), 0, 1 / (1 - p))


def head(case, b, h, got):
    """Works out one sequence and head; compares with the rows of the oracle's answer."""
    t, spec = case.t, case.spec
    qb, q0, nq = case.rows("q", b)
    kb, k0, nk = case.rows("k", b)
    groups = t["k"].shape[1]
    g = h % groups if spec["tiled"] else h // (case.heads // groups)
    i, j = np.arange(nq), np.arange(nk)
    p = i + case.offset(b, nq, nk)
    row, key = i + (0 if case.q_packed else q0), j + (0 if case.k_packed else k0)
    entry = lambda x, at: x[at if x.shape[0] > 1 else 0]
    own = lambda name, at, first, n, other: entry(t[name], at)[first:first + n] if name in t else other
    q = turn(case, t["q"][qb, h, q0:q0 + nq], own("q_pos", qb, q0, nq, p))
    k = turn(case, entry(t["k"], kb)[g, k0:k0 + nk], own("k_pos", kb, k0, nk, j))
    v = entry(t["v"], kb)[g, k0:k0 + nk]
    stages, s, ok = scores(case, b, h, q, k, (i, j, p, row, key))
    if "q_seg" in t:
        ok = ok & (entry(t["q_seg"], qb)[q0:q0 + nq, None] == entry(t["k_seg"], kb)[None, k0:k0 + nk])
    s = np.where(ok, s, -np.inf)
    stages.append(s)
    extra = [case.per_head("sink", b, h)] if "sink" in t else []
    extra += [0.0] if spec["softmax1"] else []
    every = np.concatenate([s, np.tile(np.array(extra), (nq, 1))], axis=1) if extra else s
    with np.errstate(all="ignore"):
        top = np.max(every, axis=1, initial=-np.inf, keepdims=True)
        top = np.where(np.isneginf(top), 0, top)
        total = np.sum(np.exp(every - top), axis=1, keepdims=True)
        lse = np.log(total) + top
        w = np.where(ok, np.exp(s - top) / np.where(total == 0, 1, total), 0)
    kept = w * keep(case, b, h, i, j)
    out = kept @ v
    if "rel_v" in t:
        n = t["rel_v"].shape[1]
        clip = np.clip(j[None, :] - p[:, None], -(n // 2), n // 2) + n // 2
        out = out + np.einsum("ij,ije->ie", kept, t["rel_v"][h][clip])
    return (qb, q0, nq, row, key), out, lse[:, 0], w, stages[spec["stage"]]


@unittest.skipIf(np is None, "numpy is missing")
class OracleTest(unittest.TestCase):
    def near(self, case, what, got, want, bound):
        same = (got == want) | (np.abs(got - want) <= bound)
        if not np.all(same):
            self.fail(f"case {case}: {what} differs by up to {np.nanmax(np.abs(got - want))}")

    def check(self, data):
        case, seed, r = Case(data), data["seed_of_case"], data["r"]
        seen = np.zeros(r["lse"].shape[:3], bool)
        # An angle is only as exact as a double of its size.
        far = max((np.max(np.abs(case.t[x]), initial=0) for x in ("q_pos", "k_pos") if x in case.t),
                  default=0)
        unit = 2.0 ** -52 * (1 + far)
        for b in range(case.n):
            for h in range(case.heads):
                (qb, q0, nq, row, key), out, lse, w, staged = head(case, b, h, r)
                rows = slice(q0, q0 + nq)
                seen[qb, h, rows] = True
                bound = unit * (50 + 50 * r["kappa"][qb, h, rows, 0]) * 1e2
                with np.errstate(invalid="ignore"):
                    self.near(seed, "out", r["out"][qb, h, rows], out,
                              bound[:, None] * r["mass"][qb, h, rows] + 1e-300)
                    self.near(seed, "lse", r["lse"][qb, h, rows, 0], lse,
                              bound + unit * 50 * np.abs(lse))
                    self.near(seed, "weights", r["weights"][b, h][np.ix_(row, key)], w,
                              bound[:, None] * w + 1e-300)
                    self.near(seed, "scores", r["scores"][b, h][np.ix_(row, key)], staged,
                              unit * 1e4 * (1 + np.abs(staged) + np.max(np.abs(
                                  np.where(np.isfinite(staged), staged, 0)), initial=0)))
        self.assertTrue(np.all(r["out"][~seen] == 0), f"case {seed}: out beyond the sequences")
        self.assertTrue(np.all(np.isneginf(r["lse"][~seen])), f"case {seed}: lse beyond them")

    def test_against_numpy(self):
        dump = find_dump()
        self.assertTrue(dump.exists(), f"{dump} is missing")
        text = subprocess.run([dump, str(SEED), str(CASES)], check=True, capture_output=True,
                              text=True).stdout
        count = 0
        for data in parse(text.splitlines()):
            self.check(data)
            count += 1
        self.assertEqual(count, CASES)

    def test_buckets_of_t5(self):
        self.assertEqual([bucket(r, 32, 128, False) for r in (-200, -8, -1, 0, 1, 8, 20, 128)],
                         [15, 8, 1, 0, 17, 24, 26, 31])
        self.assertEqual([bucket(r, 32, 128, True) for r in (-20, 5)], [17, 0])

    def test_philox_known_answers(self):
        """The published vectors: all zeros, all ones, digits of pi."""
        words = lambda xs: tuple(np.array([x], np.uint64) for x in xs)
        known = [((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
                 ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2,
                  (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
                 ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
                  (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1))]
        for counter, key, want in known:
            self.assertEqual([int(x[0]) for x in philox(words(counter), key)], list(want))


if __name__ == "__main__":
    unittest.main()
