#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_all.py BUILD: every check of the tree and of a finished build, as TAP."""

import subprocess
import sys
from pathlib import Path

import tree

# (name, command); {0} is the build directory
CHECKS = [
    ("layers", "check_layers.py"),
    ("tables", "check_tables.py"),
    ("sources", "check_sources.py"),
    ("text", "check_text.py"),
    ("format", "check_format.sh"),
    ("function sizes", "function_sizes.py"),
    ("headers alone", "check_headers.sh"),
    ("symbols", "check_symbols.sh {0}"),
    ("calls", "check_calls.sh {0}"),
]


def run(command, build):
    script, *rest = command.format(build).split()
    return subprocess.run([tree.ROOT / "tools" / script, *rest], cwd=tree.ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main():
    build = Path(sys.argv[1]).resolve()
    print(f"1..{len(CHECKS)}")
    failed = 0
    for number, (name, command) in enumerate(CHECKS, 1):
        done = run(command, build)
        failed += done.returncode != 0
        print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
        print(f"{'not ' if done.returncode else ''}ok {number} - {name}", flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
