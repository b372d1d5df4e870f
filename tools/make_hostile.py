#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/hostile: one small file for each way to attack a reader, each with one fault.

    make_hostile.py [DIRECTORY]

The bytes are the same on every run. What the library must answer to each file stands in
tests/test_io_hostile.c, which also complains about a file it does not know.
"""

import struct
import sys
from pathlib import Path

import hostile_onnx
import hostile_zip
from hostile_bytes import npy, npy_raw, safetensors, tensor

files = {}


def hostile(name, data):
    assert name not in files
    files[name] = data


# ---- npy ---------------------------------------------------------------------------------------

def npy_files():
    f4 = bytes(24)
    good = npy("<f4", "(2, 3)", f4)
    # nothing at all, and not even the magic
    hostile("empty.npy", b"")
    hostile("magic_cut.npy", good[:5])
    # another kind of file
    hostile("magic_wrong.npy", b"\x93NUMPX" + good[6:])
    # versions that do not exist
    hostile("version_9.npy", good[:6] + b"\x09" + good[7:])
    hostile("version_1_1.npy", good[:7] + b"\x01" + good[8:])
    # 12 bytes that ask for 4 GB of header (libnpy#44)
    hostile("header_4gb.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff")
    # a header that runs past the end of the file
    hostile("header_past_end.npy", good[:8] + b"\xff\x7f" + good[10:])
    # a header longer than any dict needs
    hostile("header_long.npy", npy("<f4", "(2, 3)", f4, version=2, pad=66000))
    # a pickle that runs a command when loaded (CVE-2019-6446)
    hostile("pickle.npy", npy("|O", "(1,)", b"cos\nsystem\n(S'echo hostile'\ntR."))
    # records, strings, dates, complex numbers, raw bytes, Python lists as types
    hostile("record.npy", npy_raw("{'descr': [('a', '<f4')], 'fortran_order': False, "
                                  "'shape': (6,), }", f4))
    hostile("unicode.npy", npy("<U6", "(1,)", f4))
    hostile("date.npy", npy("<M8[ns]", "(3,)", f4))
    hostile("complex.npy", npy("<c8", "(3,)", f4))
    hostile("bf16.npy", npy("<V2", "(12,)", f4))
    hostile("void.npy", npy("|V24", "(1,)", f4))
    # byte orders that depend on the machine, or are none
    hostile("order_native.npy", npy("=f4", "(2, 3)", f4))
    hostile("order_none.npy", npy("|f4", "(2, 3)", f4))
    hostile("descr_empty.npy", npy("", "(2, 3)", f4))
    hostile("descr_number.npy", npy_raw("{'descr': 4, 'fortran_order': False, "
                                        "'shape': (6,), }", f4))
    # keys: twice, unknown, missing
    hostile("key_twice.npy", npy_raw("{'descr': '<f4', 'shape': (6,), 'shape': (60,), "
                                     "'fortran_order': False, }", f4))
    hostile("key_unknown.npy", npy_raw("{'descr': '<f4', 'fortran_order': False, "
                                       "'shape': (6,), 'x': 1, }", f4))
    hostile("key_missing.npy", npy_raw("{'descr': '<f4', 'shape': (6,), }", f4))
    # expressions and calls, for readers that evaluate
    hostile("expression.npy", npy("<f4", "(2*3,)", f4))
    hostile("call.npy", npy_raw("__import__('os').system('echo hostile')", f4))
    hostile("order_word.npy", npy_raw("{'descr': '<f4', 'fortran_order': 0, "
                                      "'shape': (6,), }", f4))
    # text that is no ASCII, holds a 0, an escape, or never ends
    hostile("not_ascii.npy", npy_raw("{'descr': '<f4', 'f\u00f6rtran_order': False, "
                                     "'shape': (6,), }", f4, version=3))
    hostile("nul.npy", npy_raw("{'descr': '<f4\0', 'fortran_order': False, "
                               "'shape': (6,), }", f4))
    hostile("escape.npy", npy_raw("{'descr': '\\x3cf4', 'fortran_order': False, "
                                  "'shape': (6,), }", f4))
    hostile("quote_open.npy", npy_raw("{'descr': '<f4", f4))
    hostile("after_dict.npy", npy_raw("{'descr': '<f4', 'fortran_order': False, "
                                      "'shape': (6,), } or {}", f4))
    hostile("comma_missing.npy", npy_raw("{'descr': '<f4' 'fortran_order': False, "
                                         "'shape': (6,), }", f4))
    # shapes that are no tuple of plain numbers
    hostile("shape_nested.npy", npy("<f4", "((6,),)", f4))
    hostile("shape_int.npy", npy("<f4", "(6)", f4))
    hostile("shape_zero_first.npy", npy("<f4", "(06,)", f4))
    hostile("shape_plus.npy", npy("<f4", "(+6,)", f4))
    hostile("shape_hex.npy", npy("<f4", "(0x6,)", f4))
    hostile("shape_float.npy", npy("<f4", "(6.0,)", f4))
    hostile("shape_commas.npy", npy("<f4", "(2,,3)", f4))
    # dimensions: negative, too large, wrapping to 1 in 64 bits
    hostile("dim_negative.npy", npy("<f4", "(-6,)", f4))
    hostile("dim_huge.npy", npy("<f4", f"({2**47 + 1},)", f4))
    hostile("dim_wraps.npy", npy("<f4", f"({2**64 + 6},)", f4))
    # products that wrap: of counts, of bytes, and hidden behind a zero
    hostile("product_wraps.npy", npy("<f4", f"({2**32}, {2**32})", f4))
    hostile("bytes_wrap.npy", npy("<f8", f"({2**31}, {2**30})", f4))
    hostile("zero_hides_product.npy", npy("<f4", f"({2**40}, {2**40}, 0)", b""))
    # more dimensions than a fixed array holds (CVE-2021-33430 had 33)
    hostile("rank_9.npy", npy("<f4", "(1, 1, 1, 1, 1, 1, 1, 2, 3)", f4))
    hostile("rank_200.npy", npy("<f4", "(" + "1," * 200 + ")", f4))
    # data that is short, or goes on
    hostile("data_short.npy", good[:-1])
    hostile("data_long.npy", good + b"\0")
    # a bool that is neither
    hostile("bool_2.npy", npy("|b1", "(3,)", b"\0\1\2"))


# ---- safetensors -------------------------------------------------------------------------------

def safetensors_files():
    one = tensor("a", "F32", "2,3", 0, 24)
    data = bytes(24)
    good = safetensors("{" + one + "}", data)

    def header(name, text, payload=data):
        hostile(name + ".safetensors", safetensors(text, payload))

    def raw(name, payload):
        hostile(name + ".safetensors", payload)

    # lengths: no room for one, past the end, over the cap, negative when signed, nothing
    raw("st_empty", b"")
    raw("st_7_bytes", good[:7])
    raw("st_header_past_end", (10**6).to_bytes(8, "little") + good[8:])
    raw("st_header_over_cap", (2**24 + 1).to_bytes(8, "little") + good[8:])
    raw("st_header_negative", b"\xff" * 8 + good[8:])
    raw("st_header_zero", bytes(8) + data)
    # text that is no JSON object, or not only one
    header("st_array", "[" + "{" + one + "}" + "]")
    header("st_space_first", " {" + one + "}")
    header("st_bom", "\ufeff{" + one + "}")
    header("st_text_after", "{" + one + "} x")
    header("st_two_objects", "{" + one + "}{}")
    header("st_cut", "{" + one)
    header("st_comma_last", "{" + one + ",}")
    header("st_comma_missing", "{" + one + " " + tensor("b", "F32", "0", 24, 24) + "}")
    header("st_comment", "{/* */" + one + "}")
    header("st_nan", '{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,24]}}')
    header("st_zero_first", '{"a":{"dtype":"F32","shape":[06],"data_offsets":[0,24]}}')
    header("st_key_number", '{1:{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}')
    # nesting to exhaust a stack
    header("st_deep", '{"a":' + "[" * 10000 + "]" * 10000 + "}")
    # strings: not UTF-8, overlong, a lone surrogate, a false escape, a raw control character
    raw("st_utf8", safetensors(b'{"\xff":1}', b""))
    raw("st_utf8_overlong", safetensors(b'{"\xc0\xaf":1}', b""))
    header("st_surrogate", '{"\\ud800":1}')
    header("st_escape", '{"\\x41":1}')
    header("st_control", '{"a\nb":1}')
    # names that stand twice, once hidden by an escape; and keys of one tensor
    header("st_name_twice", "{" + one + "," + tensor("a", "F32", "0", 24, 24) + "}")
    header("st_name_twice_escaped", "{" + one + "," + tensor("\\u0061", "F32", "0", 24, 24) + "}")
    header("st_field_twice", '{"a":{"dtype":"F32","dtype":"F32","shape":[6],'
                             '"data_offsets":[0,24]}}')
    header("st_metadata_twice", '{"__metadata__":{},"__metadata__":{}}', b"")
    header("st_metadata_key_twice", '{"__metadata__":{"a":"1","\\u0061":"2"}}', b"")
    # metadata that is not strings to strings
    header("st_metadata_number", '{"__metadata__":{"a":1}}', b"")
    header("st_metadata_deep", '{"__metadata__":{"a":{"b":"c"}}}', b"")
    header("st_metadata_list", '{"__metadata__":[]}', b"")
    # fields: unknown, missing, of the wrong kind
    header("st_field_unknown", '{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24],"x":1}}')
    header("st_field_missing", '{"a":{"dtype":"F32","shape":[6]}}')
    header("st_tensor_list", '{"a":[]}')
    header("st_dtype_number", '{"a":{"dtype":32,"shape":[6],"data_offsets":[0,24]}}')
    # element types: unknown, small floats, complex, in lower case
    header("st_dtype_unknown", "{" + tensor("a", "F31", "6", 0, 24) + "}")
    header("st_dtype_f8", "{" + tensor("a", "F8_E4M3", "24", 0, 24) + "}")
    header("st_dtype_c64", "{" + tensor("a", "C64", "3", 0, 24) + "}")
    header("st_dtype_case", "{" + tensor("a", "f32", "6", 0, 24) + "}")
    header("st_dtype_long", "{" + tensor("a", "F32" + "F" * 100, "6", 0, 24) + "}")
    # shapes: negative, float, exponent, too large, beyond 64 bits, product wraps, rank 9
    header("st_dim_negative", "{" + tensor("a", "F32", "-6", 0, 24) + "}")
    header("st_dim_float", "{" + tensor("a", "F32", "6.0", 0, 24) + "}")
    header("st_dim_exponent", "{" + tensor("a", "F32", "6e0", 0, 24) + "}")
    header("st_dim_huge", "{" + tensor("a", "F32", 2**47 + 1, 0, 24) + "}")
    header("st_dim_wraps", "{" + tensor("a", "F32", 2**64 + 6, 0, 24) + "}")
    header("st_product_wraps", "{" + tensor("a", "F32", f"{2**32},{2**32}", 0, 0) + "}", b"")
    header("st_bytes_wrap", "{" + tensor("a", "F64", f"{2**31},{2**30}", 0, 0) + "}", b"")
    header("st_rank_9", "{" + tensor("a", "F32", "1,1,1,1,1,1,1,2,3", 0, 24) + "}")
    # offsets: reversed, not from 0, a hole, overlap, past the end, short of it, wrong size
    header("st_offset_reversed", "{" + tensor("a", "F32", "6", 24, 0) + "}")
    header("st_offset_first", "{" + tensor("a", "F32", "5", 4, 24) + "}")
    header("st_offset_hole", "{" + tensor("a", "F32", "2", 0, 8) + ","
           + tensor("b", "F32", "3", 12, 24) + "}")
    header("st_offset_overlap", "{" + tensor("a", "F32", "4", 0, 16) + ","
           + tensor("b", "F32", "3", 12, 24) + "}")
    header("st_offset_same", "{" + one + "," + tensor("b", "F32", "6", 0, 24) + "}")
    header("st_offset_past_end", "{" + tensor("a", "F32", "7", 0, 28) + "}")
    header("st_offset_short", "{" + tensor("a", "F32", "5", 0, 20) + "}")
    header("st_offset_size", "{" + tensor("a", "F32", "5", 0, 24) + "}")
    header("st_offset_huge", "{" + tensor("a", "F32", "6", 2**63 - 24, 2**63 - 1) + "}")
    header("st_offset_wraps", "{" + tensor("a", "F32", "6", 2**64, 2**64 + 24) + "}")
    header("st_offset_negative", "{" + tensor("a", "F32", "6", -24, 0) + "}")
    header("st_offset_three", '{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24,24]}}')
    header("st_offset_one", '{"a":{"dtype":"F32","shape":[6],"data_offsets":[24]}}')
    # names: a 0 that cuts it short for C, a control character, far too long
    header("st_name_nul", "{" + tensor("a\\u0000b", "F32", "6", 0, 24) + "}")
    header("st_name_control", "{" + tensor("a\\u001bb", "F32", "6", 0, 24) + "}")
    header("st_name_long", "{" + tensor("a" * 5000, "F32", "6", 0, 24) + "}")
    # a bool that is neither
    header("st_bool_2", "{" + tensor("a", "BOOL", "3", 0, 3) + "}", b"\0\1\2")


def good_files():
    """Odd but legal: what a strict reader must still accept, and where fuzzing starts."""
    data = struct.pack("<6f", *range(6))
    big = struct.pack(">6f", *range(6))
    hostile("good_versions_2.npy", npy("<f4", "(2, 3)", data, version=2))
    hostile("good_versions_3.npy", npy("<f4", "(2, 3)", data, version=3))
    hostile("good_big_endian.npy", npy(">f4", "(2, 3)", big))
    hostile("good_fortran.npy", npy_raw("{'descr': '<f4', 'fortran_order': True, "
                                        "'shape': (3, 2), }", data))
    hostile("good_order.npy", npy_raw('{"shape":(2,3),"descr":"<f4","fortran_order":False}', data))
    hostile("good_unpadded.npy", npy_raw("{'descr': '<f4', 'fortran_order': False, "
                                         "'shape': (2, 3,)}", data, pad=1))
    hostile("good_scalar.npy", npy("<f8", "()", bytes(8)))
    hostile("good_zero.npy", npy("<f8", f"(0, {2**47})", b""))
    hostile("good_plain.safetensors", safetensors(
        '{"__metadata__":{"format":"pt","":"\\n"},' + tensor("b", "F32", "2,3", 1, 25) + ","
        + tensor("a", "U8", "1", 0, 1) + "," + tensor("none", "F64", "0,4", 25, 25) + "}   ",
        b"\7" + data))
    hostile("good_escapes.safetensors", safetensors(
        "{ " + tensor("\\u00e4\\ud83d\\ude42\\/\\\"", "I16", "",
                                               0, 2) + "\n}", b"\1\0"))
    hostile("good_nothing.safetensors", safetensors("{}", b""))


def main():
    target = Path(sys.argv[1] if len(sys.argv) > 1 else
                  Path(__file__).resolve().parent.parent / "tests" / "hostile")
    good_files()
    npy_files()
    safetensors_files()
    hostile_zip.write(hostile)
    hostile_onnx.write(hostile)
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (target / name).write_bytes(data)
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main()
