# SPDX-License-Identifier: MIT
"""Builds bytes of npy, safetensors and protobuf without checking anything, for make_hostile.py."""

import struct


def npy_raw(header, data, version=1, pad=64):
    text = header.encode("utf-8")
    start = 10 if version == 1 else 12
    text += b" " * (-(start + len(text) + 1) % pad) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npy(descr, shape, data, version=1, pad=64):
    return npy_raw(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}", data,
                   version, pad)


def safetensors(header, data):
    text = header if isinstance(header, bytes) else header.encode("utf-8")
    return struct.pack("<Q", len(text)) + text + data


def tensor(name, dtype, shape, begin, end):
    return f'"{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{end}]}}'


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


class Bits:
    """Deflate's order: values from the lowest bit, code words from the highest."""

    def __init__(self):
        self.bits = []

    def value(self, value, n):
        self.bits += [value >> i & 1 for i in range(n)]
        return self

    def code(self, word):
        self.bits += [int(bit) for bit in word]
        return self

    def bytes(self, tail=b""):
        bits = self.bits + [0] * (-len(self.bits) % 8)
        octets = [bits[i:i + 8] for i in range(0, len(bits), 8)]
        return bytes(sum(bit << i for i, bit in enumerate(octet)) for octet in octets) + tail
