# SPDX-License-Identifier: MIT
"""What the black-box tests of the command share: running it, npy, npz and safetensors files by
hand, and attention by loops. Python 3 alone."""

import json
import math
import os
import random
import struct
import subprocess
import zipfile
from pathlib import Path

SOURCE = Path(os.environ.get("ATTN_SOURCE", Path(__file__).resolve().parent.parent))
ATTN = os.environ.get("ATTN_BIN", str(SOURCE / "build/release/attn"))


def attn(*words, env=None, cwd=None, **more):
    """Exit code, standard output and standard error."""
    done = subprocess.run([ATTN, *map(str, words)], capture_output=True, cwd=cwd, timeout=120,
                          env={**os.environ, **(env or {})}, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


# ---- arrays are (shape, flat list) -------------------------------------------------------------

def normal(seed, *shape):
    source = random.Random(seed)
    return shape, [source.gauss(0, 1) for _ in range(math.prod(shape))]


def npy(array, code="f", descr="<f4"):
    shape, values = array
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
            struct.pack(f"<{len(values)}{code}", *values))


def npz(path, **arrays):
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(name + ".npy", npy(array))


def safetensors(path, **arrays):
    header, data = {}, b""
    for name, (shape, values) in arrays.items():
        begin = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_npy(data):
    length = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + length], {})  # written by the program under test, in our own folder
    count = math.prod(header["shape"])
    code = {"<f4": "f", "<f8": "d"}[header["descr"]]
    assert not header["fortran_order"], header
    return header["shape"], list(struct.unpack(f"<{count}{code}", data[10 + length:]))


def read_npz(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name[:-4]: read_npy(archive.read(name)) for name in archive.namelist()}


def read_safetensors(path):
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    result = {}
    for name, entry in header.items():
        if name != "__metadata__":
            piece = body[slice(*entry["data_offsets"])]
            values = struct.unpack(f"<{len(piece) // 4}f", piece)
            result[name] = tuple(entry["shape"]), list(values)
    return result


# ---- attention by loops ------------------------------------------------------------------------

def attend(q, k, v, score=lambda b, h, i, j, s: s, scale=None):
    """q B H T D, k B G S D, v B G S E; score changes the score of a pair. The outputs B H T E and
    the weights and scores B H T S, as flat lists."""
    (B, H, T, D), (_, G, S, _), E = q[0], k[0], v[0][3]
    scale = 1 / math.sqrt(D) if scale is None else scale
    out, weights, scores = [], [], []
    for b in range(B):
        for h in range(H):
            head = b * G + h // (H // G)
            for i in range(T):
                at = ((b * H + h) * T + i) * D
                row = []
                for j in range(S):
                    to = (head * S + j) * D
                    dot = sum(x * y for x, y in zip(q[1][at:at + D], k[1][to:to + D]))
                    row.append(score(b, h, i, j, dot * scale))
                most = max(row, default=-math.inf)
                w = [math.exp(s - most) if most > -math.inf else 0.0 for s in row]
                total = sum(w) or 1.0
                w = [x / total for x in w]
                out += [sum(w[j] * v[1][(head * S + j) * E + e] for j in range(S))
                        for e in range(E)]
                weights += w
                scores += row
    return out, weights, scores
