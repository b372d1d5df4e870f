# SPDX-License-Identifier: MIT
"""Whether an answer is right, for bench/compare.py: every number of it beside attention in double
precision, made here of products of matrices by NumPy and of nothing that is judged.

    out[t] = sum over s of p[t, s] v[s],  p = the softmax of q k / sqrt(D) over the keys t sees

A row that sees no key is zeros. The query heads of a group share k and v, so gradients of those are
sums over the group. Errors are roots of mean squares, of a head against that of its numbers, and of
each row against its own or an eighth of the head's: one row that is wrong among thousands, or a
number that is none, makes the answer wrong."""

import numpy as np

from compare_case import widen

BLOCK = 1 << 20  # scores that are held at once
ROW_SLACK = 4  # how much more a single row may be off than its head
ROW_FLOOR = 1 / 8


def blocks(case):
    """Rows from one to before another, and how many keys the last of them sees."""
    T, S = case.sizes[3:5]
    step = max(1, BLOCK // S)
    for begin in range(0, T, step):
        end = min(T, begin + step)
        yield begin, end, max(0, end + S - T) if case.causal else S


def hide(scores, first):
    """-inf where the first row sees so many keys, and each row one more than the one before."""
    part = scores[:, max(first, 0):]
    last = np.arange(len(scores))[:, None] + min(first, 0)
    np.copyto(part, -np.inf, where=np.arange(part.shape[1])[None, :] >= last)


def weights(case, q, k, begin):
    """p of the rows q, the first of which is row begin; and their largest score."""
    T, S, D = case.sizes[3:]
    scores = (q / np.sqrt(D)) @ k.T
    largest = max(scores.max(initial=0.0), -scores.min(initial=0.0))
    if case.causal:
        hide(scores, begin + S - T + 1)
    top = scores.max(axis=1, keepdims=True, initial=-np.inf)
    scores -= np.where(np.isfinite(top), top, 0)
    np.exp(scores, out=scores)
    sums = scores.sum(axis=1, keepdims=True)
    scores /= np.where(sums > 0, sums, 1)
    return scores, largest


def add_gradients(case, at, rows, p, q, k, v, want):
    """What those rows of a head give to d_q, d_k and d_v."""
    b, g, h = at
    d_out = widen(case.d_out[b, h, rows], case.dtype)
    ds = d_out @ v.T
    ds -= (p * ds).sum(axis=1, keepdims=True)
    ds *= p
    ds /= np.sqrt(case.sizes[5])
    want[0][b, h, rows] = ds @ k
    want[1][b, g, :len(k)] += ds.T @ q
    want[2][b, g, :len(k)] += p.T @ d_out


def fill_head(case, at, k, v, want):
    """One query head of the answer; its largest score."""
    b, _, h = at
    q, largest = widen(case.q[b, h], case.dtype), 0.0
    for begin, end, n in blocks(case):
        rows = slice(begin, end)
        p, most = weights(case, q[rows], k[:n], begin)
        if case.backward:
            add_gradients(case, at, rows, p, q[rows], k[:n], v[:n], want)
        else:
            want[0][b, h, rows] = p @ v[:n]
        largest = max(largest, most)
    return largest


def reference(case):
    """[out] or [d_q, d_k, d_v] of the first copy of k and v, and the largest score."""
    B, H, G = case.sizes[:3]
    like = (case.q, case.k[0], case.v[0]) if case.backward else (case.q,)
    want, largest = [np.zeros(x.shape) for x in like], 0.0
    for b in range(B):
        for g in range(G):
            k, v = (widen(x[0, b, g], case.dtype) for x in (case.k, case.v))
            for h in range(g * (H // G), (g + 1) * (H // G)):
                largest = max(largest, fill_head(case, (b, g, h), k, v, want))
    return want, float(largest)


def ratio(gap, size):
    """The root of gap over size, where nothing off nothing is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where((gap == 0) & (size == 0), 0, gap / size))


def off(got, want):
    """Of B H T D: relative errors of the heads, B H, and of their rows, B H T."""
    with np.errstate(over="ignore", invalid="ignore"):
        gap = ((got - want) ** 2).mean(axis=-1)
        size = (want ** 2).mean(axis=-1)
        head = size.mean(axis=-1)
        least = head[..., None] * ROW_FLOOR ** 2
        return ratio(gap.mean(axis=-1), head), ratio(gap, np.maximum(size, least))


class Judge:
    """Of all answers to one row of the bench."""

    def __init__(self, case):
        self.case = case
        self.want, self.largest = reference(case)
        self.names = ("d_q", "d_k", "d_v") if case.backward else ("out",)

    def allowed(self, name):
        """How far the head of a peer of that name may lie off."""
        if self.case.half and name == "attn":
            return self.case.half_tolerance()
        return self.case.tolerance(self.largest) * (4 if self.case.backward else 1)

    def problem(self, peer):
        """What is wrong with the answer that a run with turn 0 left, or None; its error."""
        answer, allowed, most = peer.answer(), self.allowed(peer.name), 0.0
        for name, got, want in zip(self.names, answer if self.case.backward else [answer],
                                   self.want):
            if got.shape != want.shape:
                return f"{name} is {got.shape}, not {want.shape}", None
            heads, rows = off(got, want)
            if not (heads.max() <= allowed and rows.max() <= ROW_SLACK * allowed):
                return told(name, heads, rows, allowed), None
            most = max(most, float(heads.max()))
        return None, most


def told(name, heads, rows, allowed):
    """The worst row, and the error of the worst head."""
    b, h, t = np.unravel_index(np.argmax(rows), rows.shape)
    return (f"{name} is off by {heads.max():.1e}, allowed {allowed:.1e}; row {t} of head {h} of "
            f"sequence {b} by {rows.max():.1e}, allowed {ROW_SLACK * allowed:.1e}")
