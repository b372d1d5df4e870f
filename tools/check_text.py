#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The text of every source file: an SPDX line at the top, no tab, no blank at a line's end, a
newline at the end of the file, no TODO without an issue's number; intrinsics under src/kernel
only."""

import re
import sys
from pathlib import Path

import tree

SUFFIXES = (".c", ".h", ".def", ".py", ".sh", ".cmake", ".in", ".js")
TOP = ["CMakeLists.txt", "Makefile", "attn.map", ".clang-format", ".clang-tidy", ".gitignore",
       ".editorconfig", ".ci/run"]
RULES = [
    (re.compile(r"\bTODO\b(?!.*#\d)|\bFIXME\b|\bXXX\b(?!\))"), "unfinished", None),
    (re.compile(r"[ \t]+$"), "blank at the end of the line", None),
    (re.compile(r"\t"), "tab", "Makefile"),
    (re.compile(r"#\s*include\s*<(\w*intrin|arm_neon|arm_sve|cpuid)\.h>"),
     "intrinsics belong under src/kernel", "src/kernel"),
]


def lines_of(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        for rule, problem, home in RULES:
            if rule.search(line) and not (home and home in str(path)):
                yield f"{path}:{number}: {problem}"


def check(path):
    text = tree.text(path)
    if "SPDX-License-Identifier: MIT" not in "\n".join(text.splitlines()[:3]):
        yield f"{path}: no SPDX line"
    if not text.endswith("\n"):
        yield f"{path}: no newline at the end"
    if path.name != Path(__file__).name:
        yield from lines_of(path, text)


def main():
    paths = tree.files(*SUFFIXES) + [Path(name) for name in TOP]
    return tree.report([problem for path in paths for problem in check(path)])


if __name__ == "__main__":
    sys.exit(main())
