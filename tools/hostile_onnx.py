# SPDX-License-Identifier: MIT
"""The protobuf part of make_hostile.py: tensors (.pb) and models (.onnx)."""

import struct

from hostile_bytes import block, number, varint

RAW, FLOATS, INT32S, STRINGS, INT64S, NAME = 9, 4, 5, 6, 7, 8
FLOAT, INT8, BOOL, INT64, COMPLEX = 1, 3, 9, 7, 14


def tensor(dims, kind, *fields):
    return b"".join([number(1, d) for d in dims] + [number(2, kind), *fields])


def tensors(hostile):
    def put(name, data):
        hostile(f"pb_{name}.pb", data)

    raw = block(RAW, bytes(24))
    # the wire: an eleven-byte number, one of more than 64 bits, field 0, groups, a kind that is
    # none, a length past the end, a number cut in two
    put("varint_11", varint(2 << 3) + b"\x80" * 10 + b"\x01")
    put("varint_65_bits", varint(2 << 3) + b"\xff" * 9 + b"\x02")
    put("field_0", b"\x00\x01")
    put("group", varint(99 << 3 | 3) + varint(99 << 3 | 4))
    put("wire_7", varint(99 << 3 | 7) + bytes(8))
    put("length_past_end", tensor([6], FLOAT) + varint(RAW << 3 | 2) + varint(2**63) + bytes(24))
    put("cut", tensor([6], FLOAT) + b"\x80")
    put("fixed_cut", tensor([1], FLOAT) + varint(FLOATS << 3 | 5) + bytes(3))
    put("wrong_wire", number(NAME, 7) + tensor([6], FLOAT, raw))
    # nothing at all; types that are strings, complex, unknown, negative
    put("empty", b"")
    put("strings", tensor([1], 8, block(STRINGS, b"x")))
    put("complex", tensor([3], COMPLEX, raw))
    put("type_unknown", tensor([6], 1000, raw))
    put("type_negative", tensor([6], -1, raw))
    # data that is elsewhere: another file, named or only said; a segment of a larger tensor
    put("external", tensor([6], FLOAT, block(13, block(1, b"location") + block(2, b"/etc/passwd"))))
    put("location", tensor([6], FLOAT, number(14, 1)))
    put("segment", tensor([6], FLOAT, block(3, number(1, 0)), raw))
    # sizes: too few bytes, too many, negative, too large, wrapping, rank 9
    put("raw_short", tensor([2, 3], FLOAT, block(RAW, bytes(23))))
    put("raw_long", tensor([2, 3], FLOAT, block(RAW, bytes(25))))
    put("raw_missing", tensor([2, 3], FLOAT))
    put("dim_negative", tensor([-6], FLOAT, raw))
    put("dim_huge", tensor([2**47 + 1], FLOAT, raw))
    put("product_wraps", tensor([2**32, 2**32], FLOAT, raw))
    put("rank_9", tensor([1] * 8 + [6], FLOAT, raw))
    put("rank_9_packed", block(1, b"\x01" * 8 + b"\x06") + tensor([], FLOAT, raw))
    # typed elements: too few, too many, a size the file cannot hold, a broken row of floats
    put("typed_few", tensor([7], FLOAT, block(FLOATS, bytes(24))))
    put("typed_many", tensor([5], FLOAT, block(FLOATS, bytes(24))))
    put("typed_huge", tensor([2**40], INT64, block(INT64S, b"\x01")))
    put("typed_odd", tensor([6], FLOAT, block(FLOATS, bytes(23))))
    # the elements in two places, or in the field of another type
    put("raw_and_typed", tensor([6], FLOAT, raw, block(FLOATS, bytes(24))))
    put("two_fields", tensor([6], FLOAT, block(FLOATS, bytes(24)), block(INT32S, b"\0")))
    put("other_field", tensor([1], FLOAT, block(INT32S, b"\0")))
    # elements that do not fit their type
    put("int8_range", tensor([1], INT8, number(INT32S, 128)))
    put("bool_2", tensor([1], BOOL, number(INT32S, 2)))
    # fields that may stand once standing twice; a name that is not UTF-8
    put("name_twice", tensor([6], FLOAT, raw, block(NAME, b"a"), block(NAME, b"b")))
    put("raw_twice", tensor([6], FLOAT, raw, raw))
    put("name_utf8", tensor([6], FLOAT, raw, block(NAME, b"\xff")))


def models(hostile):
    op = block(4, b"Attention")
    names = block(1, b"Q") + block(2, b"Y")
    opset = block(8, block(1, b"") + number(2, 24))

    def attribute(name, *fields):
        return block(5, block(1, name) + b"".join(fields))

    def model(nodes, *rest, imports=opset):
        graph = b"".join(block(1, node) for node in nodes) + b"".join(rest)
        return number(1, 11) + block(7, graph) + imports

    def put(name, data):
        hostile(f"onnx_{name}.onnx", data)

    node = names + op
    good = model([node])
    # nothing; a model cut short; no graph or two
    put("empty", b"")
    put("cut", good[:-3])
    put("two_graphs", good + block(7, block(1, node)))
    # more or fewer nodes than the one
    put("no_node", model([]))
    put("two_nodes", model([node, node]))
    # weights, sparse weights and functions that would change what the node means
    put("weights", model([node], block(5, number(1, 1))))
    put("sparse_weights", model([node], block(15, b"")))
    put("function", good + block(25, b""))
    # operators: unnamed, named twice
    put("no_operator", model([names]))
    put("two_operators", model([node + op]))
    # attributes: twice, unnamed, of the wrong wire type, too many; and too many inputs
    put("attribute_twice", model([node + attribute(b"s", number(3, 1)) * 2]))
    put("attribute_unnamed", model([node + attribute(b"", number(3, 1))]))
    put("attribute_wire", model([node + attribute(b"s", number(2, 1))]))
    put("attributes_many", model([node + b"".join(attribute(b"a%d" % i) for i in range(257))]))
    put("inputs_many", model([node + block(1, b"x") * 257]))
    # opsets: none for this domain, two, without a version, hundreds
    put("no_opset", model([node], imports=block(8, block(1, b"other") + number(2, 1))))
    put("two_opsets", good + block(8, block(1, b"ai.onnx") + number(2, 23)))
    put("opset_zero", model([node], imports=block(8, b"")))
    put("opsets_many", good + block(8, block(1, b"x") + number(2, 1)) * 100)
    # a name that is not UTF-8, a float cut short
    put("name_utf8", model([block(1, b"\xc3(") + op]))
    put("float_cut", model([node + block(5, block(1, b"s") + varint(2 << 3 | 5)
                                         + struct.pack("<H", 0))]))


def good(hostile):
    """Odd but legal: every field that may hold elements, packed or one by one."""
    floats = struct.pack("<6f", *range(6))
    opset = block(8, number(2, 23))
    hostile("good_raw.pb", tensor([2, 3], FLOAT, block(NAME, b"a"), block(RAW, floats)))
    hostile("good_floats.pb", block(1, varint(2) + varint(3)) + number(2, FLOAT)
            + block(FLOATS, floats[:8]) + b"".join(
                varint(FLOATS << 3 | 5) + floats[i:i + 4] for i in range(8, 24, 4)))
    hostile("good_int8.pb", tensor([3], INT8, number(INT32S, -1), block(INT32S, varint(-128)
                                                                        + varint(127))))
    hostile("good_bf16.pb", tensor([2], 16, block(INT32S, varint(0x3F80) + varint(0xC000))))
    hostile("good_bool.pb", tensor([2], BOOL, block(INT32S, b"\1\0")))
    hostile("good_int64.pb", tensor([2], INT64, block(INT64S, varint(-(2**63)) + varint(5))))
    hostile("good_double.pb", tensor([], 11, block(10, struct.pack("<d", 0.5)), number(14, 0)))
    hostile("good_uint64.pb", tensor([1], 13, number(11, 2**64 - 1), block(12, b"a story")))
    hostile("good_zero.pb", tensor([0, 4], FLOAT))
    attributes = b"".join(
        block(5, block(1, name) + rest) for name, rest in (
            (b"scale", varint(2 << 3 | 5) + struct.pack("<f", 0.5) + number(20, 1)),
            (b"causal", number(3, -2) + number(20, 2)),
            (b"mode", block(4, b"text") + number(20, 3)),
            (b"bare", number(3, 7))))
    node = b"".join(block(1, name) for name in (b"Q", b"", b"V")) + block(2, b"Y")
    node += block(3, b"n") + block(4, b"Attention") + attributes
    hostile("good_model.onnx", number(1, 11) + block(2, b"maker") + opset
            + block(8, block(1, b"ai.onnx.ml") + number(2, 5))
            + block(7, block(1, node) + block(2, b"graph") + block(11, block(1, b"Q"))))


def write(hostile):
    good(hostile)
    tensors(hostile)
    models(hostile)
