#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every entry of a table has what it stands for, and every number is there once."""

import re
import sys

import tree

# (table, macro, files each entry needs)
FILES = [
    ("src/mech/mechs.def", "MECH", ["src/mech/{0}/{1}.c", "tests/oracle/mech/{1}.c"]),
    ("include/attn/isa.def", "ISA", ["src/kernel/isa/{0}_f32.c", "src/kernel/isa/{0}_f64.c"]),
    ("cli/commands.def", "COMMAND", ["cli/cmd_{0}.c"]),
]
# (table, macro, which argument is the number, whether they stand in its order)
NUMBERS = [
    ("include/attn/status.def", "STATUS", 1, True),
    ("include/attn/dtype.def", "DTYPE", 2, True),
    ("include/attn/isa.def", "ISA", 1, False),
]


def entries(table, macro):
    text = re.sub(r"/\*.*?\*/", "", tree.text(table), flags=re.S)
    found = re.findall(rf"^{macro}\(([^\n]*)\)", text, re.M)
    return [[part.strip() for part in line.split(",")] for line in found]


def missing_files(table, macro, patterns):
    for entry in entries(table, macro):
        for pattern in patterns:
            path = pattern.format(*entry)
            if not (tree.ROOT / path).is_file():
                yield f"{table}: {macro}({', '.join(entry)}) has no {path}"


def bad_numbers(table, macro, place, ordered):
    numbers = [int(entry[place]) for entry in entries(table, macro)]
    if (numbers if ordered else sorted(numbers)) != list(range(len(numbers))):
        yield f"{table}: the numbers are not 0, 1, 2 ..." + (" in order" if ordered else "")


def main():
    problems = [f"{table}: no entry" for table, macro, *_ in FILES + NUMBERS
                if not entries(table, macro)]
    for row in FILES:
        problems += missing_files(*row)
    for row in NUMBERS:
        problems += bad_numbers(*row)
    return tree.report(problems)


if __name__ == "__main__":
    sys.exit(main())
