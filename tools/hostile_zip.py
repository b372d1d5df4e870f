# SPDX-License-Identifier: MIT
"""The npz part of make_hostile.py: zip directories that lie, and deflate streams that do."""

import struct
import zlib
from dataclasses import dataclass, field

from hostile_bytes import Bits, npy

GOOD = npy("<f4", "(2, 3)", bytes(24))


@dataclass
class Member:
    """A member of a zip file; a dict local or central replaces what that header says."""
    name: bytes = b"a.npy"
    packed: bytes = GOOD
    content: bytes = None
    method: int = 0
    flags: int = 0
    extra: bytes = b""
    local: dict = field(default_factory=dict)
    central: dict = field(default_factory=dict)
    before: bytes = b""
    after: bytes = b""

    def says(self, lies):
        content = self.packed if self.content is None else self.content
        said = dict(name=self.name, method=self.method, flags=self.flags, extra=self.extra,
                    crc=zlib.crc32(content), packed=len(self.packed), size=len(content), offset=0)
        return said | lies

    def head(self, lies, signature):
        s = self.says(lies)
        return s, struct.pack("<HHHHHIIIHH", 20, s["flags"], s["method"], 0, 33, s["crc"],
                              s["packed"], s["size"], len(s["name"]), len(s["extra"]))

    def local_bytes(self):
        s, common = self.head(self.local, 0)
        return (self.before + b"PK\3\4" + common + s["name"] + s["extra"] + self.packed
                + self.after)

    def central_bytes(self, offset):
        s, common = self.head({"offset": offset} | self.central, 0)
        return (b"PK\1\2" + struct.pack("<H", 20) + common
                + struct.pack("<HHHII", 0, 0, 0, 0, s["offset"]) + s["name"] + s["extra"])


def end(count, size, offset, disk=0, comment=0):
    return b"PK\5\6" + struct.pack("<HHHHIIH", disk, 0, count, count, size, offset, comment)


def end64(count, size, offset, at):
    return (b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, offset)
            + b"PK\6\7" + struct.pack("<IQI", 0, at, 1))


def archive(*members, count=None, records=None):
    """records(count, size, offset, at) gives the end records; plain ones by default."""
    data, directory = b"", b""
    for m in members:
        directory += m.central_bytes(len(data) + len(m.before))
        data += m.local_bytes()
    count = len(members) if count is None else count
    make = records or (lambda count, size, offset, at: end(count, size, offset))
    return data + directory + make(count, len(directory), len(data), len(data) + len(directory))


def deflated(packed, content=GOOD, **more):
    return archive(Member(packed=packed, content=content, method=8, **more))


def raw_deflate(data):
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return z.compress(data) + z.flush()


def ends(hostile):
    good = archive(Member())
    # nothing; another kind of file; a file cut before its directory
    hostile("zip_empty.npz", b"")
    hostile("zip_other.npz", b"this is no zip file, but it is long enough to be one")
    hostile("zip_cut.npz", good[:-30])
    # bytes or a comment behind the end record, where a second one could hide; a false comment
    hostile("zip_trailing.npz", good + b"x")
    hostile("zip_comment.npz", good[:-2] + b"\x05\0hello")
    hostile("zip_comment_missing.npz", good[:-2] + b"\x05\0")
    # several disks
    hostile("zip_disks.npz", archive(Member(), records=lambda n, s, o, at: end(n, s, o, disk=1)))
    # counts: more than there is room for, more than the limit, fewer than there are
    hostile("zip_count_more.npz", archive(Member(), count=60000))
    hostile("zip_count_huge.npz", archive(Member(), records=lambda n, s, o, at:
            end64(2**40, s, o, at) + end(0xFFFF, s, o)))
    hostile("zip_count_less.npz", archive(Member(), Member(name=b"b.npy"), count=1))
    # a directory that is elsewhere, or past the end
    hostile("zip_directory_moved.npz", archive(Member(), records=lambda n, s, o, at:
            end(n, s, o - 1)))
    hostile("zip_directory_past_end.npz", archive(Member(), records=lambda n, s, o, at:
            end(n, s, 0xFFFFFF00)))
    # zip64: the record elsewhere, two forms that disagree, sizes that wrap
    hostile("zip64_elsewhere.npz", archive(Member(), records=lambda n, s, o, at:
            end64(n, s, o, at + 8) + end(n, s, o)))
    hostile("zip64_disagrees.npz", archive(Member(), records=lambda n, s, o, at:
            end64(n, s, o, at) + end(n, s, o + 1)))
    hostile("zip64_wraps.npz", archive(Member(), records=lambda n, s, o, at:
            end64(n, s + 2**64 - 1 - at, 2**64 - 1 - s, at) + end(n, 2**32 - 1, 2**32 - 1)))
    # a directory entry that runs past its end, or is none
    hostile("zip_entry_runs.npz", archive(Member()).replace(
        b"\x05\0\0\0\0\0\0\0\0\0", b"\xff\x7f\0\0\0\0\0\0\0\0"))
    hostile("zip_entry_none.npz", archive(Member()).replace(b"PK\1\2", b"PK\1\3"))


def members(hostile):
    def put(name, *list_of_members):
        hostile(name + ".npz", archive(*list_of_members))

    # encrypted, of an unknown method
    put("zip_encrypted", Member(flags=1))
    put("zip_bzip2", Member(method=12))
    # two entries that share one member: the quadratic bomb
    put("zip_shared", Member(), Member(name=b"b.npy", central={"offset": 0}))
    # bytes that belong to no member: before the first, between two, before the directory
    put("zip_before", Member(before=b"hidden"))
    put("zip_between", Member(after=b"hidden"), Member(name=b"b.npy"))
    put("zip_behind", Member(after=b"hidden"))
    # an offset into the directory, a size that reaches into it
    put("zip_offset", Member(central={"offset": 0xFFFFFFF0}))
    put("zip_reaches", Member(local={"packed": 4096, "size": 4096},
                              central={"packed": 4096, "size": 4096}))
    # the two headers tell different stories: name, size, method, checksum
    put("zip_two_names", Member(local={"name": b"b.npy"}))
    put("zip_two_sizes", Member(local={"size": 1}))
    put("zip_two_methods", Member(local={"method": 8}))
    put("zip_two_sums", Member(local={"crc": 1}))
    put("zip_local_none", Member(before=b"PK\3\5" + bytes(26), central={"offset": 0}))
    # stored, with an unpacked size of its own; a wrong checksum
    put("zip_stored_sizes", Member(local={"size": 25}, central={"size": 25}))
    put("zip_sum", Member(local={"crc": 7}, central={"crc": 7}))
    # a data descriptor that is wrong, and one that is missing
    lies = {"crc": 0, "packed": 0, "size": 0}
    put("zip_descriptor", Member(flags=8, local=lies, after=b"PK\7\x08" + bytes(12)))
    put("zip_descriptor_none", Member(flags=8, local=lies))
    # extra fields: past the end, a zip64 field too short, twice
    put("zip_extra", Member(extra=struct.pack("<HH", 9, 40)))
    put("zip64_short", Member(extra=struct.pack("<HHI", 1, 4, 0),
                              central={"size": 0xFFFFFFFF}))
    put("zip64_twice", Member(extra=struct.pack("<HHQHHQ", 1, 8, 1, 1, 8, 1)))
    # names: twice, without .npy, climbing, absolute, with a 0, not UTF-8
    put("zip_name_twice", Member(), Member())
    put("zip_name_text", Member(name=b"a.txt"))
    put("zip_name_climbs", Member(name=b"b/../../a.npy"))
    put("zip_name_absolute", Member(name=b"/etc/a.npy"))
    put("zip_name_nul", Member(name=b"a\0b.npy"))
    put("zip_name_utf8", Member(name=b"\xff.npy"))
    put("zip_name_short", Member(name=b"npy"))
    # a member that claims to unpack to more than deflate can
    hostile("zip_bomb.npz", deflated(raw_deflate(GOOD), local={"size": 2**31 - 1},
                                     central={"size": 2**31 - 1}))
    # good zip, hostile npy inside: a pickle, bytes left over
    put("zip_pickle", Member(packed=npy("|O", "(1,)", b"cos\nsystem\n(S'echo'\ntR.")))
    put("zip_npy_long", Member(packed=GOOD + b"\0"))


def streams(hostile):
    def put(name, bits, **more):
        data = bits if isinstance(bits, bytes) else bits.bytes()
        hostile(f"deflate_{name}.npz", deflated(data, **more))

    def dynamic(lengths, n_literals=257, n_distances=1):
        """A last block with dynamic codes, up to the lengths of the code-length code."""
        order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
        bits = Bits().value(1, 1).value(2, 2).value(n_literals - 257, 5)
        bits.value(n_distances - 1, 5).value(15, 4)
        for symbol in order:
            bits.value(lengths.get(symbol, 0), 3)
        return bits

    packed = raw_deflate(GOOD)
    # input: cut, empty, and with bytes behind it
    put("cut", packed[:-3])
    put("empty", b"")
    put("trailing", packed + b"\0")
    # output: longer and shorter than announced
    put("longer", raw_deflate(GOOD + b"\0"))
    put("shorter", raw_deflate(GOOD[:-1]))
    put("longer_copy", raw_deflate(GOOD + bytes(200)))
    put("longer_stored", Bits().value(1, 1).value(0, 7).value(500, 16).value(
        500 ^ 0xFFFF, 16).bytes(bytes(500)))
    # blocks: a kind that is none, a stored length and its complement that disagree, cut
    put("reserved", Bits().value(1, 1).value(3, 2))
    put("stored_length", Bits().value(1, 1).value(0, 7).value(152, 16).value(152, 16))
    put("stored_cut", Bits().value(1, 1).value(0, 7).value(152, 16).value(152 ^ 0xFFFF, 16))
    # distances and lengths: before the start of the output, symbols that mean nothing
    put("distance", Bits().value(1, 1).value(1, 2).code("0000001").code("00000"))
    put("distance_symbol", Bits().value(1, 1).value(1, 2).code("00110000").code("0000001")
        .code("11110"))
    put("length_symbol", Bits().value(1, 1).value(1, 2).code("11000110"))
    # codes: too many symbols, too few, more symbols than exist, no end of block
    put("oversubscribed", dynamic({0: 1, 1: 1, 2: 1}))
    put("incomplete", dynamic({0: 2, 1: 2}))
    put("no_code", dynamic({}))
    put("symbols", dynamic({0: 1, 1: 1}, n_literals=288))
    put("distances", dynamic({0: 1, 1: 1}, n_distances=32))
    put("no_end", dynamic({0: 1, 1: 1}).code("1" * 2 + "0" * 256))
    # lengths: a repeat of nothing, a repeat past the end
    put("repeat_nothing", dynamic({16: 1, 0: 1}).code("1").value(0, 2))
    put("repeat_past", dynamic({18: 1, 0: 1}).code("1").value(127, 7).code("1").value(127, 7))
    # an unused word of an incomplete distance code
    put("lone_distance", dynamic({0: 2, 1: 2, 18: 1}, n_literals=258)
        .code("0").value(127, 7).code("0").value(107, 7)  # literals 0 to 255 are absent
        .code("11" + "11" + "11")                         # 256, 257 and one distance: 1 bit
        .code("1" + "1").bytes(bytes(4)))                 # 257, and the word nobody has


def good(hostile):
    """Odd but legal: what a strict reader must still accept, and where fuzzing starts."""
    content = npy("<f4", "(2, 3)", struct.pack("<6f", *range(6)))
    n, crc = len(content), zlib.crc32(content)
    wide = struct.pack("<HHQQ", 1, 16, n, n)
    lies = {"packed": 2**32 - 1, "size": 2**32 - 1}
    later = {"crc": 0, "packed": 0, "size": 0}
    member = Member(packed=content)
    hostile("good_stored.npz", archive(member))
    hostile("good_none.npz", archive())
    # zip64 fields although the sizes are small, as NumPy writes them; and a zip64 end record
    hostile("good_zip64.npz", archive(Member(packed=content, extra=wide, local=lies,
                                             central=lies)))
    hostile("good_end64.npz", archive(member, records=lambda n, s, o, at:
            end64(n, s, o, at) + end(0xFFFF, 2**32 - 1, 2**32 - 1)))
    # sizes behind the data, as written into a pipe
    hostile("good_descriptor.npz", archive(Member(
        packed=content, flags=8, local=later, after=b"PK\7\x08" + struct.pack("<III", crc, n, n))))
    hostile("good_descriptor64.npz", archive(Member(
        packed=content, flags=8, local=later | {"extra": struct.pack("<HHQQ", 1, 16, 0, 0)} | lies,
        after=b"PK\7\x08" + struct.pack("<IQQ", crc, n, n))))
    # deflate: dynamic codes, fixed codes, and a stored block followed by an empty one
    hostile("good_dynamic.npz", deflated(raw_deflate(content), content))
    z = zlib.compressobj(9, zlib.DEFLATED, -15, 8, zlib.Z_FIXED)
    hostile("good_fixed.npz", deflated(z.compress(content) + z.flush(), content))
    z = zlib.compressobj(0, zlib.DEFLATED, -15)
    hostile("good_blocks.npz", deflated(z.compress(content) + z.flush(zlib.Z_SYNC_FLUSH)
                                        + z.flush(), content))


def write(hostile):
    good(hostile)
    ends(hostile)
    members(hostile)
    streams(hostile)
