#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attn conformance against operator tests made here: an ONNX file is a few protobuf fields, and
the expected outputs come from the operator's rules as loops. So the rules are tested also where
no published test data exists (windows of opset 25), and a wrong output must be found."""

import itertools
import math
import os
import struct
import sys
import tempfile
import unittest
from pathlib import Path

import cli_support as cli
from cli_support import attn

INF = math.inf
FLOAT, INT64, BOOL = 1, 7, 9


# ---- protobuf --------------------------------------------------------------------------------

def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(array, kind=FLOAT):
    shape, values = array
    code = {FLOAT: "f", INT64: "q", BOOL: "B"}[kind]
    data = struct.pack(f"<{len(values)}{code}", *values)
    return b"".join(field(1, n) for n in shape) + field(2, kind) + field(9, data)


def attribute(name, value):
    number, kind = (3, 2) if isinstance(value, int) else (2, 1)
    return field(1, name) + field(number, value) + field(20, kind)


def model(op, inputs, outputs, opset, **attributes):
    node = b"".join(field(1, name) for name in inputs)
    node += b"".join(field(2, name) for name in outputs) + field(4, op)
    node += b"".join(field(5, attribute(*pair)) for pair in attributes.items())
    graph = field(1, node) + field(2, "test")
    graph += b"".join(field(11, field(1, name)) for name in inputs if name)
    graph += b"".join(field(12, field(1, name)) for name in outputs if name)
    return field(1, 10) + field(7, graph) + field(8, field(1, "") + field(2, opset))


# ---- the rules of Attention as loops -----------------------------------------------------------

def split(array, heads):
    """B L (heads width) as B heads L width."""
    (B, L, wide), values = array
    width = wide // heads
    flat = [values[(b * L + i) * wide + h * width + d] for b in range(B) for h in range(heads)
            for i in range(L) for d in range(width)]
    return (B, heads, L, width), flat


def merge(array):
    (B, H, L, width), values = array
    flat = [values[((b * H + h) * L + i) * width + d] for b in range(B) for i in range(L)
            for h in range(H) for d in range(width)]
    return (B, L, H * width), flat


def join(past, now):
    if past is None:
        return now
    (B, G, P, D), old = past
    L = now[0][2]
    flat = []
    for g in range(B * G):
        flat += old[g * P * D:(g + 1) * P * D] + now[1][g * L * D:(g + 1) * L * D]
    return (B, G, P + L, D), flat


def mask_at(mask, is_bool, b, h, i, j):
    """What the mask adds to a score: right-aligned, shorter last dimension forbids."""
    if mask is None:
        return 0.0
    shape, values = mask
    if j >= shape[-1]:
        return -INF
    at = 0
    for size, index in zip(shape, (b, h, i, j)[4 - len(shape):]):
        at = at * size + (index if size > 1 else 0)
    return (0.0 if values[at] else -INF) if is_bool else values[at]


def attention(q, k, v, mask=None, mask_bool=False, past_k=None, past_v=None, nonpad=None, mode=0,
              softcap=0.0, is_causal=0, scale=None, left_window_size=-1, right_window_size=-1):
    """Y, present_key, present_value, qk_matmul_output; everything rank 4."""
    k, v = join(past_k, k), join(past_v, v)
    T, stages = q[0][2], []

    def score(b, h, i, j, s):
        p = i + (past_k[0][2] if past_k else nonpad[1][b] - T if nonpad else 0)
        capped = softcap * math.tanh(s / softcap) if softcap else s
        total = capped + mask_at(mask, mask_bool, b, h, i, j)
        hidden = ((is_causal and j > p) or (nonpad and j >= nonpad[1][b]) or
                  (left_window_size >= 0 and j < p - left_window_size) or
                  (right_window_size >= 0 and j > p + right_window_size))
        total = -INF if hidden else total
        stages.append((s, capped, total))
        return total

    out, weights, _ = cli.attend(q, k, v, score, scale)
    square = (*q[0][:3], k[0][2])
    qk = weights if mode == 3 else [stage[mode] for stage in stages]
    return (*q[0][:3], v[0][3]), out, k, v, (square, qk)


# ---- tests ---------------------------------------------------------------------------------------

class Onnx(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, op, inputs, outputs, opset=24, **attributes):
        """inputs: (name, array or None, kind); outputs: (name, array or None)."""
        folder = self.root / name / "test_data_set_0"
        folder.mkdir(parents=True)
        names = [[entry[0] if entry[1] else "" for entry in side] for side in (inputs, outputs)]
        (folder.parent / "model.onnx").write_bytes(model(op, *names, opset, **attributes))
        for n, entry in enumerate(entry for entry in inputs if entry[1]):
            (folder / f"input_{n}.pb").write_bytes(tensor(entry[1], entry[2]))
        for n, entry in enumerate(entry for entry in outputs if entry[1]):
            (folder / f"output_{n}.pb").write_bytes(tensor(entry[1]))
        return folder

    def attention_case(self, name, rank=4, heads=(4, 2), T=3, S=5, past=0, nonpad=None,
                       mask=None, mask_bool=False, seed=0, **attributes):
        B, (H, G), D, E = 2, heads, 8, 6
        q, k = cli.normal(seed, B, H, T, D), cli.normal(seed + 1, B, G, S, D)
        v = cli.normal(seed + 2, B, G, S, E)
        past_k = cli.normal(seed + 3, B, G, past, D) if past else None
        past_v = cli.normal(seed + 4, B, G, past, E) if past else None
        if mask and mask_bool:
            mask = mask[0], [int(x > -0.5) for x in mask[1]]
        rules = dict(attributes)
        mode = rules.pop("qk_matmul_output_mode", 0)
        shape, y, present_k, present_v, qk = attention(
            q, k, v, mask, mask_bool, past_k, past_v, nonpad, mode, **rules)
        if rank == 3:
            attributes.update(q_num_heads=H, kv_num_heads=G)
        layout = merge if rank == 3 else lambda array: array
        inputs = [("Q", layout(q), FLOAT), ("K", layout(k), FLOAT), ("V", layout(v), FLOAT),
                  ("attn_mask", mask, BOOL if mask_bool else FLOAT), ("past_key", past_k, FLOAT),
                  ("past_value", past_v, FLOAT), ("nonpad_kv_seqlen", nonpad, INT64)]
        outputs = [("Y", layout((shape, y))), ("present_key", present_k if past else None),
                   ("present_value", present_v if past else None),
                   ("qk_matmul_output", qk if "qk_matmul_output_mode" in attributes else None)]
        return self.write(name, "Attention", inputs, outputs, 25, **attributes)

    def verdicts(self, *more):
        code, out, err = attn("conformance", self.root, "--json", *more)
        *lines, summary = cli.json_lines(out)
        return code, {line["test"]: line["result"] for line in lines}, summary, err

    def test_windows_masks_caches_and_layouts(self):
        n = itertools.count()
        lengths = ((2,), [4, 2])
        masks = [None, cli.normal(90, 5), cli.normal(91, 3, 5), cli.normal(92, 4, 3, 4),
                 cli.normal(93, 2, 1, 3, 3), cli.normal(94, 1, 4, 1, 5)]
        options = [dict(), dict(is_causal=1), dict(left_window_size=1),
                   dict(right_window_size=1, left_window_size=0),
                   dict(is_causal=1, left_window_size=2, softcap=0.75), dict(scale=0.3),
                   dict(scale=-0.5, softcap=1.5), dict(scale=0.0, right_window_size=1)]
        for rank, mask, as_bool in itertools.product((3, 4), masks, (False, True)):
            for more in options:
                i = next(n)
                extra = (dict(), dict(past=3), dict(nonpad=lengths))[i % 3]
                if i % 2:
                    more = dict(more, qk_matmul_output_mode=i // 2 % 4)
                self.attention_case(f"case_{i:03}", rank=rank, mask=mask, mask_bool=as_bool,
                                    seed=i, **extra, **more)
        code, verdicts, summary, err = self.verdicts("--rtol", "1e-5", "--atol", "2e-6")
        bad = [name for name, verdict in verdicts.items() if verdict != "pass"]
        self.assertEqual((bad, err, code), ([], "", 0))
        self.assertEqual(summary["pass"], next(n))

    def test_rotary(self):
        (B, H, L, D), x = cli.normal(5, 2, 2, 3, 6)
        for pairs, dims, rank, given in itertools.product((0, 1), (0, 4), (3, 4), (True, False)):
            R = dims or D
            places = [2, 0, 4, 1, 1, 3] if given else [0, 1, 2, 0, 1, 2]
            angle = lambda p, t: p * 10 ** (-2 * t / R) + 0.1 * p
            y = list(x)
            for b, h, i, t in itertools.product(range(B), range(H), range(L), range(R // 2)):
                a = ((b * H + h) * L + i) * D
                one, two = (a + 2 * t, a + 2 * t + 1) if pairs else (a + t, a + t + R // 2)
                c, s = (f(angle(places[b * L + i], t)) for f in (math.cos, math.sin))
                y[one], y[two] = c * x[one] - s * x[two], s * x[one] + c * x[two]
            rows = list(range(5)) if given else places
            shape = (5, R // 2) if given else (B, L, R // 2)
            cos, sin = ((shape, [f(angle(p, t)) for p in rows for t in range(R // 2)])
                        for f in (math.cos, math.sin))
            layout = merge if rank == 3 else lambda array: array
            full = (B, H, L, D)
            more = dict(num_heads=H) if rank == 3 else {}
            if dims:
                more["rotary_embedding_dim"] = dims
            self.write(f"rotary_{pairs}{dims}{rank}{int(given)}", "RotaryEmbedding",
                       [("X", layout((full, x)), FLOAT), ("cos", cos, FLOAT), ("sin", sin, FLOAT),
                        ("position_ids", ((B, L), places) if given else None, INT64)],
                       [("Y", layout((full, y)))], interleaved=pairs, **more)
        code, verdicts, summary, err = self.verdicts("--rtol", "1e-5", "--atol", "1e-6")
        bad = [name for name, verdict in verdicts.items() if verdict != "pass"]
        self.assertEqual((bad, code, summary["pass"]), ([], 0, 16), err)

    def test_a_wrong_output_is_found(self):
        folder = self.attention_case("wrong")
        self.attention_case("right", seed=7)
        for output in (cli.normal(9, 2, 4, 3, 6), cli.normal(9, 2, 4, 3, 5)):
            (folder / "output_0.pb").write_bytes(tensor(output))
            code, verdicts, summary, _ = self.verdicts()
            self.assertEqual((code, verdicts), (6, {"wrong": "fail", "right": "pass"}))
            self.assertEqual((summary["fail"], summary["pass"]), (1, 1))
        self.assertEqual(attn("conformance", self.root / "right")[0], 0)
        self.assertEqual(attn("conformance", self.root / "right", "--rtol", 0, "--atol", 0)[0], 6)

    def test_unsupported_and_damaged(self):
        self.write("linear", "LinearAttention", [("Q", ((1,), [0.0]), FLOAT)],
                   [("Y", ((1,), [0.0]))])
        one = ((1, 1, 1, 2), [1.0, 2.0])
        for op in ("Attention", "RotaryEmbedding"):  # another domain counts its own opsets
            self.write("other_" + op, op, [(n, one, FLOAT) for n in "QKV"], [("Y", one)], 1)
        code, verdicts, summary, _ = self.verdicts()
        self.assertEqual((code, verdicts), (0, {
            "linear": "unsupported", "other_Attention": "unsupported",
            "other_RotaryEmbedding": "unsupported"}))
        self.write("no_output", "Attention", [(n, one, FLOAT) for n in "QKV"], [("Y", None)])
        self.write("no_cache", "RotaryEmbedding", [("X", one, FLOAT)], [("Y", one)])
        self.write("int_scale", "Attention", [(n, one, FLOAT) for n in "QKV"], [("Y", one)],
                   scale=1)
        folder = self.attention_case("cut")
        data = (folder / "input_1.pb").read_bytes()
        (folder / "input_1.pb").write_bytes(data[:-3])
        (self.attention_case("heads", rank=3, heads=(4, 2)).parent / "model.onnx").write_bytes(
            model("Attention", ["Q", "K", "V"], ["Y"], 24, q_num_heads=5, kv_num_heads=2))
        (self.attention_case("noise").parent / "model.onnx").write_bytes(b"\xff" * 50)
        (self.attention_case("missing") / "input_2.pb").unlink()
        code, verdicts, summary, _ = self.verdicts()
        self.assertEqual((code, summary["fail"]), (6, 7))
        code, _, err = attn("conformance", self.folder.name + "/nowhere")
        self.assertEqual(code, 3)
        self.assertIn("nowhere", err)

    def test_published_cases(self):
        root = Path(os.environ.get("ATTN_ONNX", cli.SOURCE / "tests/data/onnx"))
        if not root.is_dir():
            self.skipTest(f"{root} is not there")
        code, out, err = attn("conformance", root)
        self.assertEqual((code, err), (0, ""), out)


if __name__ == "__main__":
    sys.exit(unittest.main())
