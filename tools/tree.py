# SPDX-License-Identifier: MIT
"""The files of the project, for the checks: no git needed, build folders left out."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("include", "src", "cli", "tests", "fuzz", "bench", "examples", "tools", "cmake", "python",
         "web", ".ci")


def files(*suffixes, under=ROOMS):
    """Paths relative to ROOT with one of the suffixes, sorted."""
    found = []
    for room in under:
        found += [p.relative_to(ROOT) for p in (ROOT / room).rglob("*")
                  if p.is_file() and p.suffix in suffixes and "__pycache__" not in p.parts]
    return sorted(found)


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def report(problems):
    """Prints the problems; the exit status of a check."""
    for problem in problems:
        print(problem)
    return 1 if problems else 0
