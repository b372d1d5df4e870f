#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/performance.md and its picture, made of what one run on one machine measured.

    tools/make_performance.py                   write them from docs/performance/measured.json
    tools/make_performance.py --check           say what would change
    tools/make_performance.py --measure --build build/release --python build/peers/bin/python
                                                measure first (about twenty minutes on two cores)
    tools/make_performance.py --measure ... --parts bench,compare --suites half,decode -t 1
                                                measure some of it again
    tools/make_performance.py --take A B ...    or take JSON Lines of attn bench and
                                                bench/compare.py from files

`make performance` prepares a build and the peers and measures. Rows are known by shape, type and
threads; a new measurement of a row takes the place of the old one, and what stands is kept after
each command, so that parts can be measured one by one. --prefix names a command that every part is
run through (taskset, nice)."""

import argparse
import datetime
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import tree

sys.path.insert(0, str(tree.ROOT / "bench"))
import plot  # noqa: E402
from performance_page import SUITES, page  # noqa: E402

PAGE = tree.ROOT / "docs" / "performance.md"
DATA = tree.ROOT / "docs" / "performance" / "measured.json"
PICTURE = tree.ROOT / "docs" / "performance" / "growth.svg"
BOTH_ENDS = {"backward"}  # attn bench runs these on one thread and on all


# ---- measuring -------------------------------------------------------------------------------

def bench_commands(args, counts, suites, environment=None):
    for n in counts:
        for suite in suites:
            if suite not in BOTH_ENDS or n == counts[-1]:
                yield (f"{args.build}/attn bench {suite} -t {n} --seconds {args.seconds} --json",
                       environment or {})


def growth_commands(args, counts, suites):
    yield (f"{args.build}/attn bench growth -t {counts[-1]} --seconds {args.seconds / 2} --json",
           {})


def avx2_commands(args, counts, suites):
    """One thread of a machine that has more than AVX2; the half mode needs more."""
    if main_isa(args.build) == "avx2":
        return
    yield from bench_commands(args, counts[:1], [s for s in suites if s != "half"],
                              {"ATTN_ISA": "avx2"})


def compare_commands(args, counts, suites):
    for n in counts:
        for suite in suites:
            yield (f"{args.python} bench/compare.py --build {args.build} {suite} -t {n} --rounds "
                   f"{args.rounds} --seconds {args.seconds / 5} --budget {args.budget} --json", {})


PARTS = {"bench": bench_commands, "growth": growth_commands, "avx2": avx2_commands,
         "compare": compare_commands}


def main_isa(build):
    return "".join(re.findall(r"(\S+) +usable, chosen", output(f"{build}/attn", "info")))


def measured(args):
    """The lines of each command."""
    counts, suites = args.threads.split(","), args.suites.split(",")
    for part in args.parts.split(","):
        for command, environment in PARTS[part](args, counts, suites):
            words = [*shlex.split(args.prefix), *command.split()]
            print(*(f"{k}={v}" for k, v in environment.items()), *words, file=sys.stderr,
                  flush=True)
            done = subprocess.run(words, cwd=tree.ROOT, text=True, stdout=subprocess.PIPE,
                                  env={**os.environ, **environment})
            if done.returncode:
                print(f"make_performance: {done.returncode} from {command}", file=sys.stderr)
            yield done.stdout.splitlines()


def machine(build):
    words = dict(re.findall(r"^(model name|cpu family)\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M))
    first, cache = (read(f"/sys/devices/system/cpu/cpu0/cache/index{i}/size").strip()
                    for i in (0, 3))
    return {"model": words.get("model name", platform.machine()), "cache": cache,
            "family": words.get("cpu family", "?"), "first": first,
            "cpus": len(re.findall(r"^processor\s*:", read("/proc/cpuinfo"), re.M)),
            "system": f"{platform.system()} {platform.release()}", "isa": main_isa(build),
            "attn": output(f"{build}/attn", "version").split()[-1:], "commit": output(
                "git", "-C", str(tree.ROOT), "rev-parse", "--short", "HEAD")}


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, cwd=tree.ROOT).stdout.strip()
    except OSError:
        return ""


def keyed(row):
    return f"{row['shape']} {row['dtype']} {row['threads']}"


def kind_of(data, schema, row):
    if row.get("suite") == "growth":
        return "growth"
    if schema == "attn.bench/1" and row["isa"] == "avx2" != data["machine"]["isa"]:
        return "avx2"
    return {"attn.bench/1": "bench", "attn.compare/1": "compare"}.get(schema)


def taken(data, lines):
    """The lines sorted into data by what they are."""
    for line in lines:
        row = json.loads(line)
        kind = kind_of(data, row.pop("schema"), row)
        if kind:
            data[kind][keyed(row)] = {**rounded(row), "commit": data["machine"]["commit"]}
        elif "versions" in row:
            data["versions"].update({k: v for k, v in row["versions"].items() if v})
            data["absent"] = row["absent"]


def rounded(x):
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    return float(f"{x:.4g}") if isinstance(x, float) else x


def written(data):
    yield PAGE, "\n".join(page(data)) + "\n"
    yield PICTURE, plot.picture(list(data["growth"].values()))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--take", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--parts", default=",".join(PARTS), help=",".join(PARTS))
    parser.add_argument("--suites", default=",".join(SUITES), help="of all parts but growth")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("-t", "--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a row of attn bench")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--budget", type=float, default=4, help="seconds of a row beside peers")
    parser.add_argument("--prefix", default="")
    args = parser.parse_args()
    unknown = [x for x in args.parts.split(",") if x not in PARTS]
    unknown += [x for x in args.suites.split(",") if x not in SUITES]
    return parser.error(f"unknown: {', '.join(unknown)}") if unknown else args


def loaded():
    data = {"bench": {}, "compare": {}, "growth": {}, "avx2": {}, "versions": {}, "absent": {}}
    if DATA.exists():
        data.update(json.loads(DATA.read_text()))
    return data


def gathered(data, args):
    """What was measured or taken, kept after each piece of it."""
    data["machine"] = machine(args.build)
    pieces = measured(args) if args.measure else (
        path.read_text().splitlines() for path in args.take)
    for lines in pieces:
        taken(data, lines)
        data["date"] = datetime.date.today().isoformat()
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(data, indent=0, sort_keys=True) + "\n")


def main():
    args, data = arguments(), loaded()
    if args.measure or args.take:
        gathered(data, args)
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
