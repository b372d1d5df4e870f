#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cmake/sources.cmake lists every C file of the tree, and nothing else."""

import re
import sys

import tree


def listed():
    text = re.sub(r"#.*", "", tree.text("cmake/sources.cmake"))
    for name, body in re.findall(r"\((?:APPEND )?(\w+)\s+([^()]*)\)", text):
        folder = {"TEST_PROGRAMS": "tests", "TEST_HELPERS": "tests", "FUZZ_TARGETS": "fuzz",
                  "EXAMPLES": "examples"}.get(name)
        for word in body.split():
            yield f"{folder}/{word}.c" if folder else word


def mechanisms():
    """The files that a line of mechs.def stands for."""
    for family, name in re.findall(r"^MECH\((\w+), *(\w+)\)", tree.text("src/mech/mechs.def"),
                                   re.M):
        yield f"src/mech/{family}/{name}.c"
        yield f"tests/oracle/mech/{name}.c"


def main():
    known = {name for name in [*listed(), *mechanisms()]
             if name.endswith((".c", ".py", ".sh")) and "$" not in name}
    rooms = ("src", "cli", "tests", "fuzz", "bench", "examples")
    there = {str(path) for path in tree.files(".c", under=rooms)
             if "consumer" not in path.parts and path.name != "replay.c"}
    problems = [f"{name}: not in cmake/sources.cmake" for name in sorted(there - known)]
    problems += [f"{name}: in cmake/sources.cmake, not in the tree" for name in sorted(known)
                 if not (tree.ROOT / name).is_file()]
    return tree.report(problems)


if __name__ == "__main__":
    sys.exit(main())
