#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run_tidy.py BUILD: clang-tidy 14 over every file BUILD compiles, two at a time."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree


def tidy(build, file):
    return subprocess.run(["clang-tidy-14", "--quiet", "-p", build, file], cwd=tree.ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def main():
    build = sys.argv[1]
    commands = json.loads((Path(build) / "compile_commands.json").read_text())
    names = sorted({command["file"] for command in commands})
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: tidy(build, name), names))
    for result in results:
        print(result.stdout, end="")
    failed = sum(result.returncode != 0 for result in results)
    print(f"{len(names) - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
