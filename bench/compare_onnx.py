# SPDX-License-Identifier: MIT
"""Models of one node for ONNX Runtime, as the bytes of their protocol buffers, so that no package
for writing them is needed. A node names its inputs and outputs as the values behind it do; an empty
name is one that is left out."""

ELEMENT = {"f32": 1, "f16": 10, "f64": 11}
BOOL, INT32, IR_VERSION = 9, 6, 10


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


def model(kind, domain, version, inputs, outputs, attributes):
    """inputs and outputs: (name, element, shape)."""
    node = b"".join(block(1, name) for name, _, _ in inputs)
    node += b"".join(block(2, name) for name, _, _ in outputs)
    node += block(4, kind) + block(7, domain)
    node += b"".join(block(5, integer_attribute(*a)) for a in attributes)
    graph = block(1, node) + block(2, "one")
    graph += b"".join(block(11, value(*v)) for v in inputs if v[0])
    graph += b"".join(block(12, value(*v)) for v in outputs)
    opsets = block(8, block(1, "") + number(2, 23))
    if domain:
        opsets += block(8, block(1, domain) + number(2, version))
    return number(1, IR_VERSION) + block(7, graph) + opsets


def attention(case, masked):
    B, H, G, T, S, D = case.sizes
    element = ELEMENT[case.dtype]
    inputs = [("q", element, (B, H, T, D)), ("k", element, (B, G, S, D)),
              ("v", element, (B, G, S, D)), ("mask", BOOL, (T, S))]
    return model("Attention", "", 23, inputs if masked else inputs[:3],
                 [("out", element, (B, H, T, D))],
                 [("is_causal", int(case.causal and not masked))])


def multi_head(case):
    B, H, _, T, S, D = case.sizes
    element = ELEMENT[case.dtype]
    rows, keys = (B, T, H * D), (B, S, H * D)
    return model("MultiHeadAttention", "com.microsoft", 1,
                 [("q", element, rows), ("k", element, keys), ("v", element, keys)],
                 [("out", element, rows)],
                 [("num_heads", H), ("unidirectional", int(case.causal))])


def grouped(case):
    """The new tokens come as q, new_k and new_v; k and v are the cache, which they join."""
    B, H, G, T, S, D = case.sizes
    element = ELEMENT[case.dtype]
    new, cache = (B, T, G * D), (B, G, S, D)
    return model("GroupQueryAttention", "com.microsoft", 1,
                 [("q", element, (B, T, H * D)), ("new_k", element, new), ("new_v", element, new),
                  ("k", element, cache), ("v", element, cache), ("last", INT32, (B,)),
                  ("total", INT32, (1,))],
                 [("out", element, (B, T, H * D)), ("all_k", element, cache),
                  ("all_v", element, cache)],
                 [("num_heads", H), ("kv_num_heads", G)])
