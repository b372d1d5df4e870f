#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/performance.md and its picture, made of what one run on one machine measured.

    tools/make_performance.py                   write them from docs/performance/measured.json
    tools/make_performance.py --check           say what would change
    tools/make_performance.py --measure --build build/release --python build/peers/bin/python
                                                measure first (a quarter of an hour on two cores)
    tools/make_performance.py --take A B ...    or take JSON Lines of attn bench and
                                                bench/compare.py from files

`make performance` prepares a build and the peers and measures. Rows are known by shape, type and
threads; a new measurement of a row takes the place of the old one, so that parts can be measured
again. --prefix names a command that every part is run through (taskset, nice)."""

import argparse
import datetime
import json
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import tree

sys.path.insert(0, str(tree.ROOT / "bench"))
import plot  # noqa: E402

PAGE = tree.ROOT / "docs" / "performance.md"
DATA = tree.ROOT / "docs" / "performance" / "measured.json"
PICTURE = tree.ROOT / "docs" / "performance" / "growth.svg"
SUITES = ["prefill", "causal", "long", "short", "peaked", "backward", "dtype", "decode", "verify"]

P64, P128, P32 = "1,8,8,4096,4096,64", "1,8,8,2048,2048,128", "1,32,8,2048,2048,128"
DECODE = ["1,32,8,{},8192,128", "1,32,8,{},65536,128", "8,32,8,{},4096,128"]


def at(shapes, dtypes=("f32",), words=""):
    return [(shape + words, dtype) for dtype in dtypes for shape in shapes]


def decoding(queries, words, dtypes):
    return at([shape.format(queries) for shape in DECODE], dtypes, words)


# suite, its rows, share of the ceiling: at least and aimed at, times as fast as the best peer
TARGETS = [
    ("prefill", at([P64]), 0.87, 0.92, 1.3),
    ("prefill", at([P128, P32]), 0.88, 0.95, 1.2),
    ("causal", at([P64, P128, P32], words=",causal"), 0.83, 0.90, 1.4),
    ("causal", at(["1,8,8,1024,1024,64,causal"]), 0.83, 0.90, 1.9),
    ("long", at(["1,4,4,16384,16384,64,causal"]), 0.85, 0.90, 1.2),
    ("short", at(["16,12,12,128,128,64"]), 0.76, 0.86, 1.35),
    ("short", at(["16,12,12,128,128,64,causal"]), 0.60, 0.75, 2.2),
    ("peaked", at([f"{shape},{x}" for shape in (P64, P128, P32) for x in ("x40", "x200")]),
     0.80, 0.92, 1.2),
    ("peaked", at([f"{shape},causal,{x}" for shape in (P64, P128, P32, "1,8,8,1024,1024,64")
                   for x in ("x40", "x200")]), 0.80, 0.90, 1.2),
    ("backward", at(["1,8,8,2048,2048,64,backward"]), 0.85, 0.93, 1.25),
    ("backward", at(["1,8,8,2048,2048,64,causal,backward"]), 0.80, 0.90, 1.5),
    ("16-bit inputs", at([P64, P128, P32], ("bf16", "f16")), 0.85, 0.92, 1.2),
    ("decode", decoding(1, ",cold", ("f32",)), 0.85, 0.93, 1.5),
    ("decode", decoding(1, ",cold", ("bf16", "f16")), 0.80, 0.92, 2.0),
    ("verify", decoding(8, ",causal,cold", ("f32", "bf16", "f16")), None, None, None),
]
THREADS_TARGET, VERIFY_TARGET = (1.93, 1.99), (1.25, 1.1)
FOLDED = ("torch-folded", "numpy")  # not called as documented, but as somebody who knows would


# ---- measuring -------------------------------------------------------------------------------

def commands(args):
    """What is run, each part so short that the machine may be kept still for it."""
    binary, compare = f"{args.build}/attn", "bench/compare.py"
    for n in args.threads.split(","):
        for suite in SUITES:
            yield f"{binary} bench {suite} -t {n} --seconds {args.seconds} --json"
    yield f"{binary} bench growth -t {args.threads.split(',')[-1]} --seconds " \
          f"{args.seconds / 2} --json"
    for n in args.threads.split(","):
        for suite in SUITES:
            yield (f"{args.python} {compare} --build {args.build} {suite} -t {n} "
                   f"--rounds {args.rounds} --seconds {args.seconds / 5} --json")


def measured(args):
    for command in commands(args):
        words = [*shlex.split(args.prefix), *command.split()]
        print(" ".join(words), file=sys.stderr, flush=True)
        done = subprocess.run(words, cwd=tree.ROOT, text=True, stdout=subprocess.PIPE)
        if done.returncode:
            print(f"make_performance: {done.returncode} from {command}", file=sys.stderr)
        yield from done.stdout.splitlines()


def machine(build):
    words = dict(re.findall(r"^(model name|flags)\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M))
    cache = read("/sys/devices/system/cpu/cpu0/cache/index3/size").strip()
    return {"model": words.get("model name", platform.machine()), "cache": cache,
            "cpus": len(re.findall(r"^processor\s*:", read("/proc/cpuinfo"), re.M)),
            "system": f"{platform.system()} {platform.release()}",
            "attn": output(f"{build}/attn", "version").split()[-1:], "commit": output(
                "git", "-C", str(tree.ROOT), "rev-parse", "--short", "HEAD")}


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def keyed(row):
    return f"{row['shape']} {row['dtype']} {row['threads']}"


def taken(data, lines):
    """The lines sorted into data by what they are."""
    kinds = {"attn.bench/1": "bench", "attn.compare/1": "compare"}
    for line in lines:
        row = json.loads(line)
        kind = kinds.get(row.pop("schema"))
        if row.get("suite") == "growth":
            kind = "growth"
        if kind:
            data[kind][keyed(row)] = rounded(row)
        elif "versions" in row:
            data["versions"].update({k: v for k, v in row["versions"].items() if v})
    return data


def rounded(x):
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    return float(f"{x:.4g}") if isinstance(x, float) else x


# ---- the page --------------------------------------------------------------------------------

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


def targets_table(data, counts):
    one, most = counts[0], counts[-1]
    yield ("| suite | shape | type | 1 thread | share | "
           f"{most} threads | share | gain | target, aim | best peer, 1 thread | {most} threads | "
           "target |\n|---" + "|---" * 11 + "|")
    for suite, rows, least, aim, peer in TARGETS:
        for shape, dtype in rows:
            bench = [row_of(data, "bench", shape, dtype, n) for n in (one, most)]
            pairs = [row_of(data, "compare", shape, dtype, n) for n in (one, most)]
            if not any(bench + pairs):
                continue
            target = f"{least:.2f}, {aim:.2f}" if least else ""
            yield (f"| {suite} | {shape} | {dtype} | {time_cell(bench[0])} | "
                   f"{share_cell(bench[0], least)} | {time_cell(bench[1])} | "
                   f"{share_cell(bench[1], least)} | {gain_cell(*bench)} | {target} | "
                   f"{peer_cell(pairs[0], peer)} | {peer_cell(pairs[1], peer)} | "
                   f"{f'{peer}x' if peer else ''} |")


def direct_table(data, counts):
    """Decoding beside peers called as their documentation says, and what eight queries cost."""
    yield ("| shape | type | threads | called directly | its best trick | 8 queries / 1 |\n|---" +
           "|---" * 5 + "|")
    for eight, (shape, dtype) in zip(decoding(8, ",causal,cold", ("f32", "bf16", "f16")),
                                     decoding(1, ",cold", ("f32", "bf16", "f16"))):
        for n in counts:
            row = row_of(data, "compare", shape, dtype, n)
            many, few = row_of(data, "bench", *eight, n), row_of(data, "bench", shape, dtype, n)
            if not row and not (many and few):
                continue
            cost = f"{many['seconds'] / few['seconds']:.2f}" if many and few else "-"
            if many and few and many["seconds"] <= VERIFY_TARGET[0] * few["seconds"]:
                cost = f"**{cost}**"
            yield (f"| {shape} | {dtype} | {n} | "
                   f"{peer_cell(row, 2.8, lambda name: name not in FOLDED)} | "
                   f"{peer_cell(row, 1.5, lambda name: name in FOLDED)} | {cost} |")


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


def page(data):
    about = data["machine"]
    counts = sorted({r["threads"] for r in data["bench"].values()})
    yield "# Performance, measured\n"
    yield (f"Measured on {data['date']}: {about['model']}, {about['cpus']} CPUs, last cache "
           f"{about['cache']}, {about['system']}; attn {' '.join(about['attn'])} at commit "
           f"{about['commit']}; beside it " +
           ", ".join(f"{name} {v}" for name, v in sorted(data["versions"].items())) +
           ". The whole page comes from one command,\n")
    yield "```text\n$ make performance\n```\n"
    yield ("which keeps what it measured in `docs/performance/measured.json`; "
           "`tools/make_performance.py` writes the page from it. One part of it again:\n")
    yield ("```text\n$ build/release/attn bench prefill -t 1\n"
           '$ make bench-compare SUITES="prefill -t 1"\n```\n')
    yield ("Ceilings of the same run, least to largest of those measured around each row "
           "([bench](bench.md) says how):\n")
    for n in counts:
        yield f"- {n} thread{'s' if n > 1 else ''}: {ceilings_text(data, n)}"
    yield "\n## The targets\n"
    yield ("Times are medians of calls ± half of the distance of the quartiles. share: of the f32 "
           "multiply-add ceiling, for cold rows (K and V from memory) of reading from memory, "
           "measured right before and after the row. gain: all threads against one. Peers: their "
           "time over attn's, the median of rounds in which both took turns [least most]; a dash "
           "where no peer was measured. Bold: the target is met; the gain of threads is to be "
           f"{THREADS_TARGET[0]}, {THREADS_TARGET[1]} is aimed at.\n")
    yield "\n".join(targets_table(data, counts))
    yield "\n## Decoding\n"
    yield ("Peers called directly (targets 2.8 in f32, 2 else), and with the trick that helps them "
           "most: the query heads of a group as rows of one product (target 1.5). The last column "
           f"is the time of 8 queries over that of 1: {VERIFY_TARGET[0]} at most, {VERIFY_TARGET[1]} is aimed at.\n")
    yield "\n".join(direct_table(data, counts))
    yield "\n## How cost grows\n"
    yield "![time per call against T, S, D, B and threads](performance/growth.svg)\n"
    yield ("Drawn by `bench/plot.py` from `attn bench growth --json`. Dashed: as the work grows "
           "from the last point backwards; where the line lies above it a small call cannot fill "
           "the machine.")


def written(data):
    yield PAGE, "\n".join(page(data)) + "\n"
    yield PICTURE, plot.picture(list(data["growth"].values()))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--take", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a row of attn bench")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--prefix", default="")
    return parser.parse_args()


def main():
    args = arguments()
    data = {"bench": {}, "compare": {}, "growth": {}, "versions": {}}
    if DATA.exists():
        data.update(json.loads(DATA.read_text()))
    if args.measure or args.take:
        lines = measured(args) if args.measure else (
            line for path in args.take for line in path.read_text().splitlines())
        taken(data, lines)
        data["date"] = datetime.date.today().isoformat()
        data["machine"] = machine(args.build)
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(data, indent=0, sort_keys=True) + "\n")
    files = dict(written(data))
    old = [path for path, text in files.items() if read(path) != text]
    if args.check:
        return tree.report([f"{path.relative_to(tree.ROOT)}: not as tools/make_performance.py "
                            "writes it" for path in old])
    for path in old:
        path.write_text(files[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
