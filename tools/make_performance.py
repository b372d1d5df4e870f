#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/performance.md and its picture, made of what one run on one machine measured.

    tools/make_performance.py                   write them from docs/performance/measured.json
    tools/make_performance.py --check           say what would change
    tools/make_performance.py --measure --build build/release --python build/peers/bin/python
                                                measure first (about half an hour on two cores)
    tools/make_performance.py --measure ... --parts bench,compare --suites half,decode -t 1
                                                measure some of it again
    tools/make_performance.py --take A B ...    or take JSON Lines of attn bench and
                                                bench/compare.py from files

`make performance` prepares a build and the peers and measures. Rows are known by shape, type and
threads; a new measurement of a row takes the place of the old one, and what stands is kept after
each command, so that parts can be measured one by one: on the machine that measured.json names,
since a page is of one machine. Another one has to measure all, which begins anew. Each row keeps
its commit and date. Of a command that fails nothing is taken, and the exit status is 1; where
nothing was measured nothing is written. --prefix names a command that every part is run through
(taskset, nice)."""

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
from performance_page import KINDS, SUITES, hardware, page  # noqa: E402

PAGE = tree.ROOT / "docs" / "performance.md"
DATA = tree.ROOT / "docs" / "performance" / "measured.json"
PICTURE = tree.ROOT / "docs" / "performance" / "growth.svg"
SAME = ("model", "family", "cpus", "first", "cache")  # of a machine, whatever else it says
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


def commands(args):
    for part in args.parts.split(","):
        yield from PARTS[part](args, args.threads.split(","), args.suites.split(","))


def measured(args):
    """The lines of each command; None of one that failed."""
    for command, environment in commands(args):
        words = [*shlex.split(args.prefix), *command.split()]
        print(*(f"{k}={v}" for k, v in environment.items()), *words, file=sys.stderr, flush=True)
        try:
            done = subprocess.run(words, cwd=tree.ROOT, text=True, stdout=subprocess.PIPE,
                                  env={**os.environ, **environment})
            failure = f"exit status {done.returncode}" if done.returncode else None
        except OSError as error:
            failure = error.strerror
        if failure:
            say(f"{failure} of {shlex.join(words)}: nothing of it is taken")
        yield None if failure else done.stdout.splitlines()


def read_again(paths):
    """The lines of each file; None of one that cannot be read."""
    for path in paths:
        try:
            yield path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            say(f"{path}: {error}")
            yield None


def say(text):
    print(f"make_performance: {text}", file=sys.stderr)


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
    """The lines sorted into data by what they are; how many rows they held."""
    today, rows = datetime.date.today().isoformat(), 0
    for line in lines:
        row = json.loads(line)
        kind = kind_of(data, row.pop("schema"), row)
        if kind:
            data[kind][keyed(row)] = {**rounded(row), "commit": data["machine"]["commit"],
                                      "date": today}
            rows += 1
        elif "versions" in row:
            data["versions"].update({k: v for k, v in row["versions"].items() if v})
            data["absent"] = row["absent"]
    if rows:
        data["date"] = today
    return rows


def rounded(x):
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    return float(f"{x:.4g}") if isinstance(x, float) else x


def written(data):
    yield PAGE, "\n".join(page(data)) + "\n"
    if data["growth"]:
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


def empty():
    return {**{kind: {} for kind in KINDS}, "versions": {}, "absent": {}}


def loaded():
    """What was kept; every row with its commit and date, as rows of old have none."""
    data = empty()
    if DATA.exists():
        data.update(json.loads(DATA.read_text()))
    for kind in KINDS:
        for row in data[kind].values():
            row.setdefault("commit", data["machine"]["commit"])
            row.setdefault("date", data["date"])
    return data


def identity(about):
    return [about.get(key) for key in SAME]


def partial(args, data):
    """Whether rows would be left of those that are kept."""
    threads = {str(row["threads"]) for kind in KINDS for row in data[kind].values()}
    return bool(args.take or set(PARTS) - set(args.parts.split(",")) or
                set(SUITES) - set(args.suites.split(",")) or
                threads - set(args.threads.split(",")))


def begun(data, args):
    """data with this machine, or without rows where another one's must go; None is a refusal."""
    here, there = machine(args.build), data.get("machine", {})
    if there and identity(there) != identity(here):
        if partial(args, data):
            say(f"{DATA.name} is of {hardware(there)}; this is {hardware(here)}: "
                "some rows of one among those of the other would say nothing, so measure all")
            return None
        data = empty()
    return {**data, "machine": here}


def gathered(data, args):
    """Measures or takes, and keeps after each piece; how many rows there were and what failed."""
    rows = failures = 0
    for lines in measured(args) if args.measure else read_again(args.take):
        try:
            found = taken(data, lines or [])
        except (ValueError, KeyError, TypeError) as error:
            say(f"no rows of attn bench or bench/compare.py: {error}")
            lines, found = None, 0
        failures += lines is None
        rows += found
        if found:
            DATA.parent.mkdir(exist_ok=True)
            DATA.write_text(json.dumps(data, indent=0, sort_keys=True) + "\n")
    return rows, failures


def renewed(data, args):
    """Exit status of measuring, and the data to write the page of; None: nothing is written."""
    data = begun(data, args)
    if data is None:
        return 2, None
    rows, failures = gathered(data, args)
    if not rows:
        say("nothing was measured, so nothing is written")
        return 1, None
    return int(failures > 0), data


def main():
    args, data, status = arguments(), loaded(), 0
    if args.measure or args.take:
        status, data = renewed(data, args)
    elif "machine" not in data:
        say(f"no {DATA.name}; --measure makes it")
        return 1
    return finish(args, data, status) if data else status


def finish(args, data, status):
    files = dict(written(data))
    old = [path for path, text in files.items() if read(path) != text]
    if args.check:
        return tree.report([f"{path.relative_to(tree.ROOT)}: not as tools/make_performance.py "
                            "writes it" for path in old])
    for path in old:
        path.write_text(files[path])
    return status


if __name__ == "__main__":
    sys.exit(main())
