# SPDX-License-Identifier: MIT
"""A row of the bench with its data, for bench/compare.py: tensors that all implementations read in
place, and how far answers may lie off the right one (compare_judge.py has that)."""

import copy

import numpy as np

EPSILON = {"f64": 2.0**-53, "f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
STORED = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": np.uint16}
HALF_ERROR = 2.0**-10  # docs/numerics.md, section 17
COLD_BYTES = 1 << 30
PERIOD = 1048573  # a prime: numbers repeat behind it, or a gibibyte of them would take too long


def narrow(x, dtype):
    """f32 to the stored type; bf16 as its upper half, rounded to nearest even."""
    if dtype != "bf16":
        return np.ascontiguousarray(x, dtype=STORED[dtype])
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widen(x, dtype, to=np.float64):
    if dtype != "bf16":
        return np.asarray(x, dtype=to)
    return (x.astype(np.uint32) << 16).view(np.float32).astype(to)


def blank(like):
    """The same array, all bits set: no number, in any of the types."""
    array = np.empty_like(like)
    array.view(np.uint8).fill(0xFF)
    return array


def normal(shape, dtype, seed, factor=1.0):
    count = int(np.prod(shape))
    part = narrow(np.random.default_rng(seed).standard_normal(min(count, PERIOD), np.float32) *
                  np.float32(factor), dtype)
    return np.resize(part, count).reshape(shape)


class Case:
    """sizes, words and tensors of one row; k[n] and v[n] are the copies that take turns."""

    def __init__(self, row):
        parts = row["shape"].split(",")
        self.row = row
        self.suite, self.shape, self.dtype = row["suite"], row["shape"], row["dtype"]
        self.sizes = tuple(int(part) for part in parts[:6])
        self.words = set(parts[6:])
        self.causal, self.backward = "causal" in self.words, "backward" in self.words
        self.cold, self.half = "cold" in self.words, "half" in self.words
        factor = 40.0 if "x40" in self.words else 200.0 if "x200" in self.words else 1.0
        B, H, G, T, S, D = self.sizes
        one = 2 * B * G * S * D * np.dtype(STORED[self.dtype]).itemsize
        self.copies = -(-COLD_BYTES // one) if self.cold else 1
        self.bytes = one
        self.q = normal((B, H, T, D), self.dtype, 1, factor)
        self.k = normal((self.copies, B, G, S, D), self.dtype, 2)
        self.v = normal((self.copies, B, G, S, D), self.dtype, 3)
        self.d_out = normal((B, H, T, D), self.dtype, 4) if self.backward else None
        self.other = {}

    def in_f16(self):
        """The same row with q, k and v rounded to f16, for who has no other halves."""
        if "f16" not in self.other:
            case = copy.copy(self)
            case.dtype = "f16"
            case.q, case.k, case.v = (self.rounded_to_f16(x) for x in (self.q, self.k, self.v))
            self.other["f16"] = case
        return self.other["f16"]

    def rounded_to_f16(self, x):
        out = np.empty(x.shape, np.float16)
        for to, part in zip(out, x):
            to[...] = widen(part, self.dtype, np.float32)
        return out

    def flops(self):
        B, H, _, T, S, D = self.sizes
        pairs = T * S if not self.causal else sum(min(max(i + 1 + S - T, 0), S) for i in range(T))
        return 2 * B * H * D * pairs * (5 if self.backward else 2)

    def tolerance(self, largest):
        """Relative, of the root of the mean square: a few roundings of the output, and what f32
        does to sums of S terms and to the largest score."""
        return (4 * EPSILON[self.dtype] +
                4 * EPSILON["f32"] * (np.sqrt(self.sizes[4]) + largest))

    def half_tolerance(self):
        """That of precision = half, as tests/test_half.c holds it to, and one rounding."""
        return HALF_ERROR + EPSILON[self.dtype] + 4 * EPSILON["f32"] * np.sqrt(self.sizes[4])
