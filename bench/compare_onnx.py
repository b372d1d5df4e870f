# SPDX-License-Identifier: MIT
"""Models of one node for ONNX Runtime, as the bytes of their protocol buffers, so that no package
for writing them is needed: q, k, v (and mask) go in, out comes out."""

ELEMENT = {"f32": 1, "f16": 10, "f64": 11}
BOOL, IR_VERSION = 9, 10


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def number(field, n):
    return varint(field << 3) + varint(n)


def block(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def value(name, element, shape):
    """ValueInfoProto: name, type.tensor_type {elem_type, shape {dim {dim_value}}}."""
    dims = b"".join(block(1, number(1, n)) for n in shape)
    tensor = number(1, element) + block(2, dims)
    return block(1, name) + block(2, block(1, tensor))


def integer_attribute(name, n):
    return block(1, name) + number(3, n) + number(20, 2)


def model(kind, domain, version, values, attributes):
    """values: (name, element, shape) of the inputs, and of out as the last."""
    node = b"".join(block(1, name) for name, _, _ in values[:-1]) + block(2, "out")
    node += block(4, kind) + block(7, domain)
    node += b"".join(block(5, integer_attribute(*a)) for a in attributes)
    graph = block(1, node) + block(2, "one")
    graph += b"".join(block(11, value(*v)) for v in values[:-1]) + block(12, value(*values[-1]))
    opsets = block(8, block(1, "") + number(2, 23))
    if domain:
        opsets += block(8, block(1, domain) + number(2, version))
    return number(1, IR_VERSION) + block(7, graph) + opsets


def attention(case, masked):
    B, H, G, T, S, D = case.sizes
    element = ELEMENT[case.dtype]
    values = [("q", element, (B, H, T, D)), ("k", element, (B, G, S, D)),
              ("v", element, (B, G, S, D)), ("mask", BOOL, (T, S)),
              ("out", element, (B, H, T, D))]
    if not masked:
        del values[3]
    return model("Attention", "", 23, values, [("is_causal", int(case.causal and not masked))])


def multi_head(case):
    B, H, _, T, S, D = case.sizes
    element = ELEMENT[case.dtype]
    rows, keys = (B, T, H * D), (B, S, H * D)
    values = [("q", element, rows), ("k", element, keys), ("v", element, keys),
              ("out", element, rows)]
    return model("MultiHeadAttention", "com.microsoft", 1, values, [("num_heads", H)])
