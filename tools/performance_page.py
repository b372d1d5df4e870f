# SPDX-License-Identifier: MIT
"""docs/performance.md as text, of the rows that tools/make_performance.py measured: the targets,
what came of them, and who was beside them."""

import plot
from compare_rows import SUITES

KINDS = ("bench", "compare", "growth", "avx2")
P64, P128, P32 = "1,8,8,4096,4096,64", "1,8,8,2048,2048,128", "1,32,8,2048,2048,128"
SMALL = "1,8,8,1024,1024,64"
DECODE = ["1,32,8,{},8192,128", "1,32,8,{},65536,128", "8,32,8,{},4096,128"]
HALVES = ("bf16", "f16")


def at(shapes, dtypes=("f32",), words=""):
    return [(shape + words, dtype) for dtype in dtypes for shape in shapes]


def decoding(queries, words, dtypes):
    return at([shape.format(queries) for shape in DECODE], dtypes, words)


# suite, its rows, share of the ceiling: at least and aimed at, times as fast as the best peer
TARGETS = [
    ("prefill", at([P64]), 0.87, 0.92, 1.3),
    ("prefill", at([P128, P32]), 0.88, 0.95, 1.2),
    ("causal", at([P64, P128, P32], words=",causal"), 0.83, 0.90, 1.4),
    ("causal", at([SMALL], words=",causal"), 0.83, 0.90, 1.9),
    ("long", at(["1,4,4,16384,16384,64,causal"]), 0.85, 0.90, 1.2),
    ("short", at(["16,12,12,128,128,64"]), 0.76, 0.86, 1.35),
    ("short", at(["16,12,12,128,128,64,causal"]), 0.60, 0.75, 2.2),
    ("peaked", at([f"{P64},{x}" for x in ("x40", "x200")]), 0.80, 0.92, 1.2),
    ("peaked", at([f"{shape},{x}" for shape in (P128, P32) for x in ("x40", "x200")]),
     0.80, 0.95, 1.2),
    ("peaked", at([f"{shape},causal,{x}" for shape in (P64, P128, P32, SMALL)
                   for x in ("x40", "x200")]), 0.80, 0.90, 1.2),
    ("backward", at(["1,8,8,2048,2048,64,backward"]), 0.85, 0.93, 1.25),
    ("backward", at(["1,8,8,2048,2048,64,causal,backward"]), 0.80, 0.90, 1.5),
    ("16-bit inputs", at([P64, P128, P32], HALVES), 0.85, 0.92, 1.2),
    ("half mode", at([P64], HALVES, ",half"), 1.40, 1.55, 2.0),
    ("half mode", at([P128, P32], HALVES, ",half"), 1.52, 1.7, 2.0),
    ("half mode", at([P64], HALVES, ",causal,half"), 1.2, None, 2.0),
    ("half mode", at([P128, P32], HALVES, ",causal,half"), 1.35, None, 2.0),
    ("decode", decoding(1, ",cold", ("f32",)), 0.85, 0.93, 1.5),
    ("decode", decoding(1, ",cold", HALVES), 0.80, 0.92, 2.0),
]
# of rows that decode from a cache, by its type: at least, aimed at, times the best peer
CACHES = {"f32": (0.85, 0.93, 1.5), "bf16": (0.80, 0.92, 2.0), "f16": (0.80, 0.92, 2.0),
          "i8": (0.72, 0.90, 2.0), "int8": (0.72, 0.90, 2.0)}
THREADS_TARGET, VERIFY_TARGET, AVX2_TARGET = (1.93, 1.99), (1.25, 1.1), 0.05
DIRECT = {"f32": 2.8, "bf16": 2.0, "f16": 2.0}
FOLDED = ("torch-folded", "numpy")  # not called as documented, but as somebody who knows would


def row_of(data, kind, shape, dtype, n):
    return data[kind].get(f"{shape} {dtype} {n}")


def time_cell(row):
    if not row:
        return "-"
    spread = 50 * (row["seconds_high"] - row["seconds_low"]) / row["seconds"]
    return f"{plot.time_text(row['seconds'])} ± {spread:.1f} %"


def share_cell(row, least):
    if not row or row["fraction"] is None:
        return "-"
    text = f"{row['fraction']:.3f}"
    return f"**{text}**" if least and row["fraction"] >= least else text


def best_peer(row, among):
    peers = [p for p in (row or {}).get("peers", []) if among(p["name"])]
    return min(peers, key=lambda p: p["ratio"]["median"]) if peers else None


def peer_cell(row, least=None, among=lambda name: True):
    peer = best_peer(row, among)
    if not peer:
        return "-"
    ratio = peer["ratio"]
    text = f"{ratio['median']:.2f}"
    text = f"**{text}**" if least and ratio["median"] >= least else text
    return f"{text} [{ratio['least']:.2f} {ratio['most']:.2f}] {peer['name']}"


def gain_cell(one, two):
    if not one or not two:
        return "-"
    gain = one["seconds"] / two["seconds"]
    return f"**{gain:.2f}**" if gain >= THREADS_TARGET[0] else f"{gain:.2f}"


def verify_cell(data, shape, dtype, n):
    """The time of eight queries over that of one."""
    eight = row_of(data, "bench", shape, dtype, n)
    one = row_of(data, "bench", one_query(shape), dtype, n)
    if not eight or not one:
        return "-"
    cost = eight["seconds"] / one["seconds"]
    return f"**{cost:.2f}**" if cost <= VERIFY_TARGET[0] else f"{cost:.2f}"


def one_query(shape):
    sizes = shape.split(",")[:6]
    return ",".join([*sizes[:3], "1", *sizes[4:], "cold"])


def any_peer_cell(data, row, dtype, target):
    """Who is fastest on the same sizes in whatever type; measured in the same run, not in turn."""
    if not row:
        return "-"
    found = [(peer["seconds"]["median"], peer["name"], other) for other in ("f32", *HALVES)
             for peer in (row_of(data, "compare", one_query(row["shape"]), other, row["threads"])
                          or {}).get("peers", [])]
    if not found:
        return "-"
    seconds, name, other = min(found)
    ratio = f"{seconds / row['seconds']:.2f}"
    ratio = f"**{ratio}**" if target and seconds >= target * row["seconds"] else ratio
    return f"{ratio} {name}, {other}"


def cells(suite, shape, dtype, times, shares, gain, target, peers, wanted):
    return f"| {' | '.join([suite, shape, dtype, times[0], shares[0], times[1], shares[1], gain])}" \
           f" | {target} | {peers[0]} | {peers[1]} | {wanted} |"


def target_rows(data, counts):
    """Rows of the table of targets, in its order."""
    for suite, rows, least, aim, peer in TARGETS:
        for shape, dtype in rows:
            bench, pairs = ([row_of(data, kind, shape, dtype, n) for n in counts]
                            for kind in ("bench", "compare"))
            if any(bench + pairs):
                yield cells(suite, shape, dtype, [time_cell(r) for r in bench],
                            [share_cell(r, least) for r in bench], gain_cell(*bench),
                            f"{least:.2f}, {aim:.2f}" if aim else f"{least:.2f}",
                            [peer_cell(r, peer) for r in pairs], f"{peer}x")


def cache_rows(data, counts):
    known = {row for _, rows, *_ in TARGETS for row in rows}
    found = {(r["shape"], r["dtype"]) for r in data["bench"].values() if r["suite"] == "decode"}
    for shape, dtype in sorted(found - known, key=lambda r: (r[1], r[0])):
        bench = [row_of(data, "bench", shape, dtype, n) for n in counts]
        least, aim, peer = CACHES.get(dtype, (None, None, None))
        yield cells("decode, cache", shape, dtype, [time_cell(r) for r in bench],
                    [share_cell(r, least) for r in bench], gain_cell(*bench),
                    f"{least:.2f}, {aim:.2f}" if least else "",
                    [any_peer_cell(data, r, dtype, peer) for r in bench],
                    f"{peer}x" if peer else "")


def verify_rows(data, counts):
    for shape, dtype in decoding(8, ",causal,cold", ("f32", *HALVES)):
        bench, pairs = ([row_of(data, kind, shape, dtype, n) for n in counts]
                        for kind in ("bench", "compare"))
        if any(bench + pairs):
            yield cells("verify", shape, dtype, [time_cell(r) for r in bench],
                        [f"{verify_cell(data, shape, dtype, n)} of 1" for n in counts],
                        gain_cell(*bench), f"{VERIFY_TARGET[0]}, {VERIFY_TARGET[1]} of 1",
                        [peer_cell(r) for r in pairs], "")


def targets_table(data, counts):
    ends = (counts[0], counts[-1])
    yield ("| suite | shape | type | 1 thread | share | "
           f"{ends[1]} threads | share | gain | target, aim | best peer, 1 thread | "
           f"{ends[1]} threads | target |\n|---" + "|---" * 11 + "|")
    yield from target_rows(data, ends)
    yield from cache_rows(data, ends)
    yield from verify_rows(data, ends)


def avx2_table(data):
    """By suite: the shares on both tables, and the row that loses most on AVX2."""
    yield "| suite | rows | share | with AVX2 | most lost, points | by |\n|---" + "|---" * 5 + "|"
    for suite in SUITES:
        pairs = [(data["bench"][key], row) for key, row in data["avx2"].items()
                 if row["suite"] == suite and key in data["bench"]]
        if not pairs:
            continue
        lost, worst = max(((a["fraction"] - b["fraction"], b) for a, b in pairs),
                          key=lambda x: x[0])
        shares = [f"{min(x):.3f} to {max(x):.3f}" for x in
                  ([p[i]["fraction"] for p in pairs] for i in (0, 1))]
        points = f"{100 * lost:.1f}"
        yield (f"| {suite} | {len(pairs)} | {shares[0]} | {shares[1]} | "
               f"{f'**{points}**' if lost <= AVX2_TARGET else points} | "
               f"{worst['shape']} {worst['dtype']} |")


def judged(data):
    """What of the answers was compared: of all rows that say so every number."""
    whole = sum(row.get("judged") == "all" for row in data["compare"].values())
    some = "four rows of three heads (of gradients one head)"
    if whole == 0:
        return f"Of each answer {some} were"
    if whole < len(data["compare"]):
        return f"Every number of {whole} answers, and {some} of the older ones, were"
    return "Every number of each answer was"


def absence(data):
    """Who was not timed on which rows, and why."""
    rows = {}
    for row in data["compare"].values():
        for peer in row["left_out"]:
            suites = rows.setdefault((peer["name"], peer["reason"]), set())
            suites.add(f"{row['suite']} {row['dtype']}")
    lines = [f"| {name} | {reason} | all |" for name, reason in sorted(data["absent"].items())]
    lines += [f"| {name} | {reason} | {', '.join(sorted(suites))} |"
              for (name, reason), suites in sorted(rows.items())]
    if lines:
        yield "\n## Who is beside which rows\n"
        yield (f"{judged(data)} compared with double precision before anything was timed (of cold "
               "rows with the first copy of K and V), the half mode with the error that "
               "[numerics](numerics.md) states. Who was not timed:\n")
        yield "\n".join(["| not timed | because | on rows of |\n|---|---|---|", *lines])


def direct_table(data, counts):
    """Decoding beside peers called as their documentation says, and with a trick."""
    yield ("| shape | type | threads | called directly | its best trick |\n|---" +
           "|---" * 4 + "|")
    for shape, dtype in decoding(1, ",cold", ("f32", *HALVES)):
        for n in counts:
            row = row_of(data, "compare", shape, dtype, n)
            if not row:
                continue
            yield (f"| {shape} | {dtype} | {n} | "
                   f"{peer_cell(row, DIRECT[dtype], lambda name: name not in FOLDED)} | "
                   f"{peer_cell(row, 1.5, lambda name: name in FOLDED)} |")


def ceilings_text(data, n):
    rows = [r for r in data["bench"].values() if r["threads"] == n]
    parts = []
    for name, unit, label in (("fma_gflops", "GFLOP/s", "multiply-add"),
                              ("memory_gbytes", "GB/s", "reading from memory"),
                              ("cache_gbytes", "GB/s", "reading from the last cache")):
        found = [r[side][name] for r in rows for side in ("ceiling_before", "ceiling_after")
                 if r[side][name]]
        if found:
            parts.append(f"{label} {min(found):.0f} to {max(found):.0f} {unit}")
    return "; ".join(parts)


def hardware(about):
    return (f"{about['model']} of family {about['family']}, {about['cpus']} CPUs, first cache "
            f"{about['first']}, last cache {about['cache']}")


def origins(data):
    """[(date, commit)] of the rows, and how many each has."""
    found = {}
    for row in (row for kind in KINDS for row in data[kind].values()):
        origin = (row.get("date", data["date"]), row.get("commit", data["machine"]["commit"]))
        found[origin] = found.get(origin, 0) + 1
    return sorted(found.items())


def commits(data):
    """Of all rows, or a list where they are of several."""
    found = origins(data)
    if len({commit for (_, commit), _ in found}) == 1:
        return f"at commit {found[0][0][1]}"
    return "at several commits: " + ", ".join(f"{rows} rows at {commit} on {date}"
                                              for (date, commit), rows in found)


def dates(data):
    found = [date for (date, _), _ in origins(data)]
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def page(data):
    about = data["machine"]
    counts = sorted({r["threads"] for kind in KINDS for r in data[kind].values()})
    yield "# Performance, measured\n"
    yield (f"Measured on {dates(data)}: {hardware(about)}, "
           f"{about['system']}; attn {' '.join(about['attn'])}, kernels "
           f"{about.get('isa', '?')}, {commits(data)}; beside it " +
           ", ".join(f"{name} {v}" for name, v in sorted(data["versions"].items())) +
           ". The whole page comes from one command,\n")
    yield "```text\n$ make performance\n```\n"
    yield ("which keeps what it measured in `docs/performance/measured.json`; "
           "`tools/make_performance.py` writes the page from it. Some of it again, into the page "
           "or just to look:\n")
    yield ('```text\n$ make performance PARTS="--parts bench,compare --suites half,decode"\n'
           "$ build/release/attn bench prefill -t 1\n"
           '$ make bench-compare SUITES="prefill -t 1"\n```\n')
    yield ("Ceilings of the same run, least to largest of those measured around each row "
           "([bench](bench.md) says how):\n")
    for n in counts:
        yield f"- {n} thread{'s' if n > 1 else ''}: {ceilings_text(data, n)}"
    yield "\n## The targets\n"
    yield ("Times are medians of calls ± half of the distance of the quartiles. share: of the f32 "
           "multiply-add ceiling, for cold rows (K and V from memory) of reading from memory, "
           "measured right before and after the row; for verify instead the time of 8 queries over "
           "that of 1. gain: all threads against one. Peers: their time over attn's, the median of "
           "rounds in which both took turns [least most]; bf16 and the half mode also beside peers "
           "that compute in f16. Caches of attn's own have the fastest peer of any type on tensors "
           "of the same sizes, not in turn: no peer here keeps coded caches. A dash: not measured. "
           f"Bold: the target is met; the gain of threads is to be {THREADS_TARGET[0]}, "
           f"{THREADS_TARGET[1]} is aimed at. What bounds the others: [limits](limits.md).\n")
    yield "\n".join(targets_table(data, counts))
    yield "\n## Decoding\n"
    yield ("Peers called directly (targets 2.8 in f32, 2 else), and with the trick that helps them "
           "most: the query heads of a group as rows of one product (target 1.5).\n")
    yield "\n".join(direct_table(data, counts))
    if data["avx2"]:
        yield "\n## With AVX2\n"
        yield (f"The same rows on one thread with kernels of {about['isa']} and of AVX2 "
               "(`ATTN_ISA=avx2`), each as a share of its own ceilings, from least to most. The "
               f"target is to lose no more than {100 * AVX2_TARGET:.0f} points.\n")
        yield "\n".join(avx2_table(data))
    yield from absence(data)
    if data["growth"]:
        yield "\n## How cost grows\n"
        yield "![time per call against T, S, D, B and threads](performance/growth.svg)\n"
        yield ("Drawn by `bench/plot.py` from `attn bench growth --json`. Dashed: as the work "
               "grows from the last point backwards; where the line lies above it a small call "
               "cannot fill the machine.")
