#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may include whom: the arrows of DESIGN section 2.

A room is entered through src/<room>/<room>.h. A public header belongs to a room too, and the
rooms that stand above it, directly or not, may include it. Commands, examples and benchmarks see
public headers only, and fuzz targets the models of the tests too; a test sees those, the door of
one room and the oracles; an oracle sees nothing that could share a mistake with the library."""

import pathlib
import re
import sys

import tree

ARROWS = {
    "base": set(),
    "kernel": {"base"},
    "engine": {"base", "kernel"},
    "io": {"base"},
    "tape": {"base", "kernel", "engine"},
    "mech": {"base", "tape"},
    "nn": {"base", "kernel", "engine", "tape", "mech"},
    "explain": {"base", "engine"},
    "dist": {"base", "engine"},
    "cuda": {"base", "engine"},
}
PUBLIC = {"base.h": "base", "ctx.h": "base", "status.def": "base", "dtype.def": "base",
          "isa.def": "base", "measure.def": "explain", "attention.h": "engine",
          "recurrent.h": "engine", "io.h": "io", "mech.h": "mech",
          "cache.h": "engine", "tape.h": "tape", "nn.h": "nn", "explain.h": "explain",
          "dist.h": "dist"}


def below(room):
    """The rooms under a room, itself included."""
    found, new = set(), {room}
    while new:
        found |= new
        new = set().union(*(ARROWS[r] for r in new)) - found
    return found


def includes(path):
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        if match := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
            yield number, match[1]


def is_local(path, name):
    """A header of the same room, named from the file or from the room."""
    room = tree.ROOT.joinpath(*path.parts[: 2 if path.parts[0] == "src" else 1])
    targets = [(start / name).resolve() for start in (tree.ROOT / path.parent, room)]
    return any(target.is_file() and target.is_relative_to(room) for target in targets)


def src_problem(path, name):
    room, first, rest = path.parts[1], *name.partition("/")[::2]
    if room not in ARROWS:
        return f"src/{room} is not a room of the house"
    if first == "attn":
        owner = PUBLIC.get(rest)
        return None if owner in below(room) else "that header is of a room it may not know"
    if first == room or is_local(path, name):
        return None
    if first not in ARROWS[room]:
        return f"{room} may not know {first or name}"
    return None if rest == f"{first}.h" else f"the door of {first} is {first}/{first}.h"


def test_problem(path, name, doors):
    first, _, rest = name.partition("/")
    if first in ("attn", "oracle") or name == "attn.h" or is_local(path, name):
        return None
    if "oracle" in path.parts:
        return "an oracle shares nothing with the library"
    doors.add(first)
    return None if len(doors) == 1 else "a test enters one room"


def user_problem(path, name):
    public = name == "attn.h" or name.startswith("attn/")
    if path.parts[0] == "fuzz" and is_local(pathlib.Path("tests") / path.name, name):
        return None
    return None if public or is_local(path, name) else "only include/ is for users"


def check(path):
    doors = set()
    for number, name in includes(path):
        if path.parts[0] == "src":
            problem = src_problem(path, name)
        elif path.parts[0] == "tests" and "consumer" not in path.parts:
            problem = test_problem(path, name, doors)
        else:
            problem = user_problem(path, name)
        if problem:
            yield f'{path}:{number}: "{name}": {problem}'


def main():
    rooms = ("src", "cli", "tests", "fuzz", "bench", "examples")
    paths = tree.files(".c", ".h", ".def", under=rooms)
    return tree.report([problem for path in paths for problem in check(path)])


if __name__ == "__main__":
    sys.exit(main())
