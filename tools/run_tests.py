#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs test programs and counts what they say.

    run_tests.py [--list FILE]... [--run NAME COMMAND]... [--match GLOB,...] [--skip GLOB,...]
                 [--first GLOB,...] [--wrap COMMAND] [--timeout SECONDS] [--jobs N]

FILE is the tests.list a build directory holds: one "name<TAB>command" a line. A program speaks
TAP (cmocka does, asked by CMOCKA_MESSAGE_OUTPUT) or unittest, or it only exits 0 (passed), 77
(skipped) or otherwise (failed). A crash, a hang and a broken plan count as a failure too. With
--wrap only native programs run, each behind COMMAND (an emulator, valgrind). N programs run at
once, 1 if not said: those of --first before the others, in its order, so that a long one does not
run alone at the end. What they say comes in the order they were started.

Programs see ATTN_BIN (the attn command of that build), ATTN_LIBRARY (its libattn.so), ATTN_BUILD
and ATTN_SOURCE. The last line is "N passed, N failed" and ", N skipped" if any.
"""

import argparse
import fnmatch
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def fail(self, note):
        self.failed += 1
        self.notes.append(note)

    def text(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def count_tap(lines):
    """One result from TAP lines, or None when there is no plan."""
    result, planned = Result(), 0
    for line in lines:
        if plan := re.match(r"1\.\.(\d+)\b", line):
            planned += int(plan[1])
        elif point := re.match(r"(not )?ok\b(.*)", line):
            if re.search(r"#\s*skip", point[2], re.I): # cmocka writes "not ok 2 # SKIP name"
                result.skipped += 1
            elif point[1]:
                result.failed += 1
            else:
                result.passed += 1
    seen = result.passed + result.failed + result.skipped
    if planned == 0:
        return None
    if seen != planned:
        result.fail(f"{planned} results were announced, {seen} came")
    return result


def count_unittest(text):
    ran = re.search(r"^Ran (\d+) tests? in", text, re.M)
    if not ran:
        return None
    result = Result()
    for word, field in (("failures", "failed"), ("errors", "failed"), ("skipped", "skipped")):
        for n in re.findall(rf"^(?:OK|FAILED) .*\b{word}=(\d+)", text, re.M):
            setattr(result, field, getattr(result, field) + int(n))
    result.passed = max(0, int(ran[1]) - result.failed - result.skipped)
    return result


def count_status(code):
    result = Result()
    result.passed, result.skipped = int(code == 0), int(code == 77)
    return result


def run(command, env, timeout):
    """Exit code (None after a hang) and output, both streams in one."""
    process = subprocess.Popen(command, env=env, cwd=SOURCE, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output.decode(errors="replace")


def judge(code, output, timeout):
    result = count_tap(output.splitlines()) or count_unittest(output) or count_status(code)
    if code is None:
        result.fail(f"still running after {timeout} s")
    elif code < 0:
        result.fail(f"died of {signal.Signals(-code).name}")
    elif code not in (0, 77) and not result.failed:
        result.fail(f"exit status {code}")
    return result


def read_list(path, wrap):
    for line in Path(path).read_text().splitlines():
        name, command = line.split("\t")
        words = shlex.split(command)
        if wrap and words[0].startswith("python"):
            continue
        yield name, shlex.split(wrap) + words, Path(path).resolve().parent


def environment(build):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", ATTN_SOURCE=str(SOURCE))
    if build:
        env.update(ATTN_BUILD=str(build), ATTN_BIN=str(build / "attn"),
                   ATTN_LIBRARY=str(build / "libattn.so"))
    return env


def matches(name, globs):
    return any(fnmatch.fnmatch(name, glob) for glob in globs.split(","))


def first(name, globs):
    """A sorting key: the place of the first glob that fits."""
    globs = globs.split(",")
    return next((i for i, glob in enumerate(globs) if fnmatch.fnmatch(name, glob)), len(globs))


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="append", default=[])
    parser.add_argument("--run", action="append", nargs=2, default=[])
    parser.add_argument("--match", default="*")
    parser.add_argument("--skip", default="")
    parser.add_argument("--first", default="")
    parser.add_argument("--wrap", default="")
    parser.add_argument("--timeout", type=float, default=1200)
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args()


def perform(job, timeout):
    """The result of one program, and the lines to show for it."""
    name, command, build = job
    begin = time.monotonic()
    code, output = run(command, environment(build), timeout)
    result = judge(code, output, timeout)
    lines = [f"{name:<24} {time.monotonic() - begin:7.1f} s   {result.text()}"]
    if result.failed:
        lines += [f"  $ {shlex.join(command)}", output.rstrip()]
        lines += [f"  {name}: {note}" for note in result.notes]
    return result, lines


def main():
    args = parse()
    jobs = [job for path in args.list for job in read_list(path, args.wrap)]
    jobs = [job for job in jobs if matches(job[0], args.match) and not matches(job[0], args.skip)]
    jobs += [(name, shlex.split(command), None) for name, command in args.run]
    jobs.sort(key=lambda job: first(job[0], args.first))
    total = Result()
    with ThreadPoolExecutor(args.jobs) as pool:
        for result, lines in pool.map(lambda job: perform(job, args.timeout), jobs):
            print("\n".join(lines), flush=True)
            total.add(result)
    if not jobs:
        total.fail("nothing to run")
    print(total.text())
    return total.failed != 0


if __name__ == "__main__":
    sys.exit(main())
