#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long the C functions are: count, median, p90, max, and the lines of every file.

The format makes functions easy to find: the brace that opens one stands alone in column 0, and
so does the one that closes it. The size is what stands between. Fails above 60 lines (kernel
bodies 80), above a p90 of 40 in the library and the command, and above 400 lines a file."""

import re
import sys

import tree

LIMIT, BODY_LIMIT, FILE_LIMIT, P90_LIMIT = 60, 80, 400, 40


def functions(path, lines):
    """Yields (name, size)."""
    begin = None
    for i, line in enumerate(lines):
        if line == "{":
            begin = i
        elif line == "}" and begin is not None:
            yield name_above(lines, begin), i - begin - 1
            begin = None


def name_above(lines, brace):
    for line in reversed(lines[:brace]):
        if line[:1].isalpha() and (match := re.search(r"(\w+|K\(\w+\))\(", line)):
            return match[1]
    return "?"


def limit_of(path):
    return BODY_LIMIT if str(path).startswith("src/kernel/body/") else LIMIT


def describe(title, sizes):
    n = len(sizes)
    median, p90 = sizes[n // 2], sizes[min(n - 1, n * 9 // 10)]
    print(f"{title}: {n} functions, median {median}, p90 {p90}, max {sizes[-1]} lines")
    return p90


def main():
    problems = []
    groups = {"library and command": [], "tests": []}
    for path in tree.files(".c", ".h", under=("include", "src", "cli", "tests", "fuzz", "bench",
                                              "examples")):
        lines = tree.text(path).splitlines()
        if len(lines) > FILE_LIMIT:
            problems.append(f"{path}: {len(lines)} lines (limit {FILE_LIMIT})")
        found = list(functions(path, lines))
        problems += [f"{path}: {name} has {size} lines (limit {limit_of(path)})"
                     for name, size in found if size > limit_of(path)]
        ours = path.parts[0] in ("include", "src", "cli")
        groups["library and command" if ours else "tests"] += [size for _, size in found]
    for title, sizes in groups.items():
        p90 = describe(title, sorted(sizes)) if sizes else 0
        if title != "tests" and p90 > P90_LIMIT:
            problems.append(f"{title}: p90 is above {P90_LIMIT}")
    return tree.report(problems)


if __name__ == "__main__":
    sys.exit(main())
