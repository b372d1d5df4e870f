#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files between attn and others: what NumPy, zipfile and safetensors write is read here, and what
is written here is read there, bit for bit. The program io_copy stands between. Needs NumPy; the
safetensors package is used when it is there."""

import io
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("1..0 # SKIP numpy is not installed")
    sys.exit(77)

try:
    import safetensors.numpy as st
except ImportError:
    st = None

COPY = Path(os.environ.get("ATTN_BUILD", "build")) / "tests" / "io_copy"
DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]
SHAPES = [(), (1,), (0,), (7,), (3, 4), (2, 0, 3), (2, 3, 4), (1, 2, 1, 3), (2,) * 8]


def sample(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape, dtype=np.int64))
    if dtype == "b1":
        return rng.integers(0, 2, size).astype("b1").reshape(shape)
    # any bits at all, NaN payloads included
    return np.frombuffer(rng.bytes(size * int(dtype[1])), "<" + dtype).reshape(shape)


def everything():
    return {f"{d}{'x'.join(map(str, s))}": sample(d, s, i)
            for i, (d, s) in enumerate((d, s) for d in DTYPES for s in SHAPES)}


class Roundtrip(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return str(Path(self.folder.name) / name)

    def copy(self, out, *inputs):
        run = subprocess.run([COPY, out, *inputs], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return out

    def same(self, got, want):
        """Equal names, types (but for byte order), shapes and bits."""
        self.assertEqual(sorted(got), sorted(want))
        for name, x in want.items():
            y = got[name]
            little = x.astype(x.dtype.newbyteorder("<"))
            self.assertEqual((y.dtype, y.shape), (little.dtype, x.shape), name)
            self.assertEqual(y.tobytes(), little.tobytes(), name)

    def through(self, inputs, want):
        """inputs, a file of another writer, comes back through npz."""
        with np.load(self.copy(self.path("out.npz"), inputs), allow_pickle=False) as got:
            self.same(dict(got), want)

    def test_npz(self):
        for save in (np.savez, np.savez_compressed):
            save(self.path("in.npz"), **everything())
            self.through(self.path("in.npz"), everything())

    def test_npz_into_a_pipe(self):
        class Pipe(io.BytesIO):
            def seekable(self):
                return False

            def seek(self, *_):
                raise OSError

            def tell(self):
                raise OSError

        for save in (np.savez, np.savez_compressed):
            pipe = Pipe()
            save(pipe, **everything())
            Path(self.path("in.npz")).write_bytes(pipe.getvalue())
            self.through(self.path("in.npz"), everything())

    def test_npz_large_and_compressed(self):
        rng = np.random.default_rng(5)
        arrays = {"zeros": np.zeros((300, 1000), "f4"), "noise": rng.random((200, 300)),
                  "steps": np.repeat(np.arange(400), 500), "text": np.frombuffer(
                      b"the quick brown fox " * 9000, "u1")}
        np.savez_compressed(self.path("in.npz"), **arrays)
        self.through(self.path("in.npz"), arrays)
        for level in range(10):
            with zipfile.ZipFile(self.path("in.npz"), "w", zipfile.ZIP_DEFLATED,
                                 compresslevel=level) as z:
                for name, x in arrays.items():
                    with z.open(name + ".npy", "w", force_zip64=level % 2) as f:
                        np.lib.format.write_array(f, x)
            self.through(self.path("in.npz"), arrays)

    def test_npy_orders(self):
        for i, dtype in enumerate(DTYPES):
            for order in "<>":
                x = sample(dtype, (3, 4, 5), i).astype(np.dtype(dtype).newbyteorder(order))
                for view in (x, np.asfortranarray(x), x.T, x[::2, ::-1]):
                    np.save(self.path("in.npy"), view)
                    self.through(self.path("in.npy"), {"in.npy": view})

    def test_npy_versions(self):
        x = sample("f4", (3, 5))
        for version in ((1, 0), (2, 0), (3, 0)):
            with open(self.path("in.npy"), "wb") as f:
                np.lib.format.write_array(f, x, version)
            self.through(self.path("in.npy"), {"in.npy": x})

    def test_npy_written_here(self):
        for name, x in everything().items():
            np.save(self.path("in.npy"), x)
            self.copy(self.path("out.npy"), self.path("in.npy"))
            got = np.load(self.path("out.npy"), allow_pickle=False)
            self.same({name: got}, {name: x})
            # NumPy and attn agree on every byte of a plain file
            self.assertEqual(Path(self.path("in.npy")).read_bytes(),
                             Path(self.path("out.npy")).read_bytes())

    def test_zip_written_here_is_sound(self):
        np.savez(self.path("in.npz"), **everything())
        with zipfile.ZipFile(self.copy(self.path("out.npz"), self.path("in.npz"))) as z:
            self.assertIsNone(z.testzip())
            self.assertEqual(len(z.namelist()), len(everything()))

    def test_names(self):
        names = ["a", "b.c", "ä€🙂", "with space", "dir/name", "x" * 300]
        arrays = {name: sample("f4", (i,), i) for i, name in enumerate(names)}
        np.savez(self.path("in.npz"), **arrays)
        self.copy(self.path("mid.safetensors"), self.path("in.npz"))
        self.through(self.path("mid.safetensors"), arrays)

    def test_safetensors_layout(self):
        """What we write, read by a few lines that follow the format's description."""
        np.savez(self.path("in.npz"), **everything())
        data = Path(self.copy(self.path("out.safetensors"), self.path("in.npz"))).read_bytes()
        import json
        n, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + n])
        kinds = {"F": "f", "I": "i", "U": "u", "B": "b"}
        got = {}
        for name, t in header.items():
            begin, end = t["data_offsets"]
            bits = 8 if t["dtype"] == "BOOL" else int(t["dtype"][1:])
            self.assertEqual((8 + n + begin) % (bits // 8), 0)
            dtype = "<" + kinds[t["dtype"][0]] + str(bits // 8)
            got[name] = np.frombuffer(data[8 + n + begin:8 + n + end], dtype).reshape(t["shape"])
        self.same(got, everything())

    @unittest.skipIf(st is None, "safetensors is not installed")
    def test_safetensors_package(self):
        arrays = {name: x for name, x in everything().items()}
        st.save_file(arrays, self.path("in.safetensors"), metadata={"format": "np"})
        self.through(self.path("in.safetensors"), arrays)
        self.copy(self.path("out.safetensors"), self.path("in.safetensors"))
        self.same(st.load_file(self.path("out.safetensors")), arrays)


if __name__ == "__main__":
    unittest.main()
