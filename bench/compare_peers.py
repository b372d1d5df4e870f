# SPDX-License-Identifier: MIT
"""The implementations that bench/compare.py runs beside each other. Each is a class with a name:

    missing         None, or why it cannot be run at all
    declines(case)  None, or why it does not answer a row; "" where it is not made for such rows
    open(case, n)   its data for n threads, made of the arrays of the case without changing them
    run(turn)       one call, with copy number turn of k and v
    answer()        what run left: out as B H T D in f64, or [d_q, d_k, d_v] of a backward row"""

import copy
import ctypes

import numpy as np

import compare_onnx
from compare_case import blank, widen

try:
    import torch
    import torch.nn.functional as functional
except ImportError as error:
    torch, TORCH_MISSING = None, str(error)
try:
    import onnxruntime
except ImportError as error:
    onnxruntime, ONNX_MISSING = None, str(error)

MOST_SCORES = 1 << 26  # of one head, that a plain version may hold as a matrix
MOST_SCORES_IN_ALL = 1 << 28
FOLDED_ROWS = 64  # a group's queries as rows of one head only help while they are few


class Attn:
    name = "attn"
    missing = None

    def __init__(self, library):
        self.library = library

    def declines(self, case):
        return None

    def open(self, case, threads):
        message = ctypes.create_string_buffer(200)
        sizes = (ctypes.c_int64 * 6)(*case.sizes)
        self.case = case
        self.handle = self.library.compare_open(threads, sizes, ",".join(case.words).encode(),
                                                case.dtype.encode(), message, len(message))
        if not self.handle:
            raise RuntimeError(message.value.decode())
        self.isa = self.library.compare_isa(self.handle).decode()
        self.out = blank(case.q)
        self.set("q", case.q)
        self.set("out", self.out)
        self.set("k", case.k[0])
        self.set("v", case.v[0])
        self.gradients = []
        if case.backward:
            self.lse = np.empty(case.sizes[:2] + case.sizes[3:4], np.float32)
            self.gradients = [blank(x) for x in (case.q, case.k[0], case.v[0])]
            for name, x in zip(("lse", "d_out", "d_q", "d_k", "d_v"),
                               (self.lse, case.d_out, *self.gradients)):
                self.set(name, x)
            self.call(0)

    def set(self, name, array):
        assert array.flags.c_contiguous
        assert self.library.compare_set(self.handle, name.encode(), array.ctypes.data) == 0

    def call(self, backward):
        status = self.library.compare_run(self.handle, backward)
        if status:
            raise RuntimeError(f"attn: status {status}")

    def run(self, turn):
        if self.case.cold:
            self.set("k", self.case.k[turn])
            self.set("v", self.case.v[turn])
        self.call(int(self.case.backward))

    def answer(self):
        dtype = self.case.dtype
        if self.case.backward:
            return [widen(x, dtype) for x in self.gradients]
        return widen(self.out, dtype)

    def close(self):
        self.library.compare_close(self.handle)


def seen(case):
    """Which keys a row sees where that is no plain triangle: T S of bool, or None."""
    T, S = case.sizes[3:5]
    if not case.causal or T == S:
        return None
    return np.arange(S)[None, :] <= np.arange(T)[:, None] + S - T


class Torch:
    """scaled_dot_product_attention as its documentation calls it."""
    name = "torch"
    missing = None if torch else f"PyTorch is absent ({TORCH_MISSING})"

    def declines(self, case):
        return None

    def tensor(self, array, dtype):
        t = torch.from_numpy(array)
        return t.view(torch.bfloat16) if dtype == "bf16" else t

    def open(self, case, threads):
        torch.set_num_threads(threads)
        self.case = case
        self.q = self.tensor(case.q, case.dtype)
        self.k = [self.tensor(k, case.dtype) for k in case.k]
        self.v = [self.tensor(v, case.dtype) for v in case.v]
        mask = seen(case)
        self.options = {"attn_mask": None if mask is None else torch.from_numpy(mask),
                        "is_causal": case.causal and mask is None,
                        "enable_gqa": case.sizes[1] != case.sizes[2]}
        if case.backward:
            leaves = [x.clone().requires_grad_() for x in (self.q, self.k[0], self.v[0])]
            self.leaves, self.d_out = leaves, self.tensor(case.d_out, case.dtype)
            self.graph = functional.scaled_dot_product_attention(*leaves, **self.options)

    def run(self, turn):
        if self.case.backward:
            self.out = torch.autograd.grad(self.graph, self.leaves, self.d_out,
                                           retain_graph=True)
            return
        with torch.no_grad():
            self.out = functional.scaled_dot_product_attention(
                self.q, self.k[turn], self.v[turn], **self.options)

    def answer(self):
        if self.case.backward:
            return [x.double().numpy() for x in self.out]
        return self.out.double().numpy().reshape(self.case.q.shape)

    def close(self):
        self.__dict__.clear()


class TorchFolded(Torch):
    """The trick for few queries: the query heads of a group as rows of one head, so that K and V
    are read once for all of them."""
    name = "torch-folded"

    def declines(self, case):
        _, H, G, T, _, _ = case.sizes
        if case.backward or H == G or T * (H // G) > FOLDED_ROWS:
            return ""
        return None

    def open(self, case, threads):
        super().open(case, threads)
        B, H, G, T, _, D = case.sizes
        self.q = self.q.view(B, G, H // G * T, D)
        mask = self.options["attn_mask"]
        self.options = {"attn_mask": None if mask is None else mask.repeat(H // G, 1)}


class Onnx:
    """ONNX Runtime: the standard operator Attention (opset 23)."""
    name = "onnxruntime"
    missing = None if onnxruntime else f"ONNX Runtime is absent ({ONNX_MISSING})"
    all_scores = True  # it makes them before it goes on

    def declines(self, case):
        B, H, _, T, S, _ = case.sizes
        if case.backward:
            return "no gradients"
        if case.dtype not in ("f32", "f16"):
            return f"no {case.dtype} on CPUs" + ("; timed in f16" if case.dtype == "bf16" else "")
        if self.all_scores and B * H * T * S > MOST_SCORES_IN_ALL:
            return "would hold all scores, more than 1 GiB"
        return None

    def model(self, case):
        return compare_onnx.attention(case, masked=seen(case) is not None)

    def fixed(self, case):
        """Inputs that are the same in each turn, by name."""
        mask = seen(case)
        return {"q": case.q, **({} if mask is None else {"mask": mask})}

    def each(self, case, turn):
        """Inputs of a turn, and the outputs that take their place."""
        return {"k": case.k[turn], "v": case.v[turn]}, {}

    def open(self, case, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.case = case
        self.session = onnxruntime.InferenceSession(self.model(case), options,
                                                    providers=["CPUExecutionProvider"])
        fixed = {name: value(x) for name, x in self.fixed(case).items()}
        self.out, self.bound = value(np.zeros_like(fixed["q"].numpy())), []
        for turn in range(case.copies):
            inputs, outputs = self.each(case, turn)
            inputs = {name: value(x) for name, x in inputs.items()}
            binding = self.session.io_binding()
            for name, x in {**fixed, **inputs}.items():
                binding.bind_ortvalue_input(name, x)
            binding.bind_ortvalue_output("out", self.out)
            for name, place in outputs.items():
                binding.bind_ortvalue_output(name, inputs[place])
            self.bound.append(binding)

    def run(self, turn):
        self.session.run_with_iobinding(self.bound[turn])

    def answer(self):
        return self.out.numpy().astype(np.float64)

    def close(self):
        self.__dict__.clear()


def tokens_first(array):
    """B H T D as B T (H D)."""
    B, H, T, D = array.shape
    return np.ascontiguousarray(array.transpose(0, 2, 1, 3)).reshape(B, T, H * D)


class OnnxHeads(Onnx):
    """ONNX Runtime's own MultiHeadAttention, whose tensors are B T (H D)."""
    name = "onnxruntime-mha"

    def declines(self, case):
        _, H, G, T, S, _ = case.sizes
        self.all_scores = case.causal
        if H != G or seen(case) is not None:
            return ""
        return super().declines(case)

    def model(self, case):
        return compare_onnx.multi_head(case)

    def fixed(self, case):
        return {"q": tokens_first(case.q)}

    def each(self, case, turn):
        return {"k": tokens_first(case.k[turn]), "v": tokens_first(case.v[turn])}, {}

    def answer(self):
        B, H, T, D = self.case.q.shape
        out = self.out.numpy().reshape(B, T, H, D).transpose(0, 2, 1, 3)
        return out.astype(np.float64)


class OnnxGrouped(OnnxHeads):
    """ONNX Runtime's own GroupQueryAttention, what its decoders call: a cache in place, which the
    new tokens join. They are the last ones of the cache, so that it stays as it was."""
    name = "onnxruntime-gqa"

    def declines(self, case):
        B, H, G, T, S, _ = case.sizes
        self.all_scores = False
        if H == G or not (case.causal or T == 1) or (T == S) or (T > 1 and B > 1):
            return ""
        return Onnx.declines(self, case)

    def model(self, case):
        return compare_onnx.grouped(case)

    def fixed(self, case):
        B, S = case.sizes[0], case.sizes[4]
        return {"q": tokens_first(case.q), "last": np.full(B, S - 1, np.int32),
                "total": np.full(1, S, np.int32)}

    def each(self, case, turn):
        k, v, T = case.k[turn], case.v[turn], case.sizes[3]
        return ({"k": k, "v": v, "new_k": tokens_first(k[:, :, -T:]),
                 "new_v": tokens_first(v[:, :, -T:])}, {"all_k": "k", "all_v": "v"})


def rounded(kind):
    """That class on rows of bf16 in f16, the only half that ONNX Runtime has on CPUs."""
    class Rounded(kind):
        name = f"{kind.name}-f16"

        def declines(self, case):
            if case.dtype != "bf16":
                return ""
            plain = copy.copy(case)
            plain.dtype = "f16"
            return super().declines(plain)

        def open(self, case, threads):
            super().open(case.in_f16(), threads)
    return Rounded


class Blas:
    """Matrix products and a softmax, head by head, as one writes it without a library; the heads
    of a group are rows of one product where queries are few."""
    name = "numpy"
    missing = None

    def declines(self, case):
        if case.dtype not in ("f32", "f64"):
            return "BLAS has no 16-bit products"
        if case.sizes[3] * case.sizes[4] > MOST_SCORES:
            return "would hold all scores of a head"
        if case.causal and case.sizes[3] > case.sizes[4]:
            return "its softmax has no answer for rows that see no key"
        return None

    def open(self, case, threads):
        B, H, G, T, S, D = case.sizes
        self.case, self.out = case, blank(case.q)
        self.hidden = None
        if case.causal:
            self.hidden = np.arange(S)[None, :] > np.arange(T)[:, None] + S - T
        self.rows = 1 if case.backward or T * (H // G) > FOLDED_ROWS else H // G
        if self.rows > 1 and self.hidden is not None:
            self.hidden = np.tile(self.hidden, (self.rows, 1))

    def weights(self, q, k):
        s = q @ k.T
        s *= q.dtype.type(1 / np.sqrt(self.case.sizes[5]))
        if self.hidden is not None:
            s[self.hidden] = -np.inf
        s -= s.max(axis=1, keepdims=True)
        np.exp(s, out=s)
        return s

    def run(self, turn):
        case = self.case
        B, H, G, T, _, D = case.sizes
        parts = H // self.rows
        q = case.q.reshape(B, parts, self.rows * T, D)
        if case.backward:
            self.out = [np.zeros_like(x) for x in (case.q, case.k[0], case.v[0])]
        for b in range(B):
            for h in range(parts):
                g = h // (parts // G)
                k, v = case.k[turn][b, g], case.v[turn][b, g]
                s = self.weights(q[b, h], k)
                sums = s.sum(axis=1, keepdims=True)
                if case.backward:
                    s /= sums
                    self.back(b, h, g, s, k, v)
                else:
                    self.out.reshape(q.shape)[b, h] = s @ v / sums

    def back(self, b, h, g, p, k, v):
        q, d_out = self.case.q[b, h], self.case.d_out[b, h]
        dp = d_out @ v.T
        dp -= (p * dp).sum(axis=1, keepdims=True)
        dp *= p
        dp *= q.dtype.type(1 / np.sqrt(self.case.sizes[5]))
        self.out[0][b, h] = dp @ k
        self.out[1][b, g] += dp.T @ q
        self.out[2][b, g] += p.T @ d_out

    def answer(self):
        if self.case.backward:
            return [x.astype(np.float64) for x in self.out]
        return self.out.astype(np.float64)

    def close(self):
        self.__dict__.clear()


class OneDnn:
    """oneDNN's fused attention is a C++ graph without a Python module of its own."""
    name = "onednn"
    missing = None

    def __init__(self):
        try:
            import onednn  # noqa: F401
            OneDnn.missing = "the module onednn here offers no fused attention"
        except ImportError as error:
            OneDnn.missing = f"oneDNN is absent ({error})"

    def declines(self, case):
        return OneDnn.missing


PEERS = [Torch, TorchFolded, Onnx, OnnxHeads, OnnxGrouped, rounded(Onnx), rounded(OnnxHeads),
         rounded(OnnxGrouped), OneDnn, Blas]
