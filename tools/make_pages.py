#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/mechanisms.md and docs/mechanisms/: a page for every mechanism, made of its table (`attn
describe`), the story at the head of its file, and a picture of what it does to one example.

    tools/make_pages.py build/release/attn            write them
    tools/make_pages.py build/release/attn --check    say what would change
    tools/make_pages.py build/release/attn --measure  measure the costs anew (minutes)

The example is a sentence of eight tokens, 3 1 4 1 5 9 2 6, in which one word stands twice. Whatever
is as long as the data holds a vector for each token, weights are near to the identity, flags are
true, settings are those of the mechanism's example. The picture shows the output called weights,
gate, gates or pattern where there is one, else the first."""

import argparse
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import tree

PAGES = tree.ROOT / "docs" / "mechanisms"
COSTS = PAGES / "costs.json"
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
LENGTHS = [256, 1024, 4096, 16384]


def attn(binary, *words):
    done = subprocess.run([binary, *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"attn {' '.join(words)}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- the example -------------------------------------------------------------------------------

def sizes_of(mech):
    sizes = {letter: 4 for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    sizes.update((k, int(v)) for k, v in (p.split("=") for p in mech["sizes"].split(",")))
    sizes["B"] = 1
    if mech["grows"] in ("T", "S", "TS", "ST"):
        sizes.update({letter: len(TOKENS) for letter in mech["grows"]})
    return sizes


def dims_of(shape, sizes):
    for factor, letter, add, number in re.findall(r"(\d*)([A-Z])(?:\+(\d+))?|(\d+)", shape):
        yield int(number) if number else int(factor or 1) * sizes[letter] + int(add or 0)


def element(slot, sizes, shape, index):
    """Vectors by token along what is as long as the data, near-identities for weights."""
    if slot["kind"] == "weight":
        same = len(index) > 1 and index[-1] == index[-2] % shape[-1]
        return float(same) + 0.3 * math.cos(1 + 2.3 * sum((k + 1) * i for k, i in enumerate(index)))
    token = TOKENS[(index[-2] if len(index) > 1 else index[-1]) % len(TOKENS)]
    head = sum(index[1:-2])
    return 1.5 * math.cos(0.9 * token * (index[-1] + 1) + index[-1] + 0.7 * head)


def array_of(slot, sizes):
    shape = list(dims_of(slot["shape"], sizes))
    values, index = [], [0] * len(shape)
    below = next(dims_of(slot["below"], sizes)) if slot.get("below") else 4
    for _ in range(math.prod(shape)):
        if slot["holds"] == "ids":
            values.append(TOKENS[sum(index) % len(TOKENS)] % max(below, 1))
        else:
            values.append(1 if slot["holds"] == "flags" else element(slot, sizes, shape, index))
        for d in reversed(range(len(shape))):
            index[d] += 1
            if index[d] < shape[d]:
                break
            index[d] = 0
    return shape, values


def npy(slot, shape, values):
    import struct
    code, descr = {"ids": ("q", "<i8"), "flags": ("?", "|b1")}.get(slot["holds"], ("f", "<f4"))
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
            struct.pack(f"<{len(values)}{code}", *values))


def compute(binary, mech):
    """The output that the picture shows: its name, shape and numbers."""
    sizes = sizes_of(mech)
    outputs = [s["name"] for s in mech["slots"] if s["kind"] == "output"]
    shown = next((n for n in ("weights", "gate", "gates", "pattern") if n in outputs), outputs[0])
    settings = re.findall(r"(-s) (\S+)", mech["example"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for slot in mech["slots"]:
                if slot["kind"] != "output" and not slot["optional"]:
                    archive.writestr(slot["name"] + ".npy", npy(slot, *array_of(slot, sizes)))
        done = attn(binary, "compute", mech["name"], *itertools.chain(*settings), str(path),
                    "--want", shown, "--json")[0]
    found = next(o for o in done["outputs"] if o["name"] == shown)
    return shown, found["shape"], found["data"]


# ---- the picture -------------------------------------------------------------------------------

def picture(shape, values):
    """The last two dimensions (the first of all others) as squares: blue above 0, red below."""
    rows, columns = ([1, 1] + shape)[-2:]
    cell = max(4, min(28, 224 // max(rows, columns, 1)))
    most = max((abs(v) for v in values[:rows * columns] if v is not None), default=0) or 1
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * cell + 2}" '
             f'height="{rows * cell + 2}" role="img">']
    for at, value in enumerate(values[:rows * columns]):
        share = abs(value or 0) / most
        light, dark = (255, 32 if (value or 0) >= 0 else 190)
        red, blue = (dark, 150) if (value or 0) >= 0 else (190, 40)
        color = [round(light + (c - light) * share) for c in (red, 80, blue)]
        lines.append(f'<rect x="{at % columns * cell + 1}" y="{at // columns * cell + 1}" '
                     f'width="{cell}" height="{cell}" fill="#{bytes(color).hex()}" '
                     f'stroke="#ddd" stroke-width="0.5"/>')
    return "\n".join([*lines, "</svg>", ""])


# ---- pages -------------------------------------------------------------------------------------

def story_of(mech):
    """The head comment of its file as Markdown: indented lines are formulas."""
    text = tree.text(f"src/mech/{mech['family']}/{mech['name']}.c")
    lines = [re.sub(r"^ \* ?", "", line) for line in text[:text.index("*/")].splitlines()[1:]]
    out, formula = [], False
    for line in lines:
        if line.startswith("   ") and not formula:
            out.append("```")
        if formula and not line.startswith("   ") and line.strip():
            while out and not out[-1].strip():
                out.pop()
            out += ["```", ""]
        if line.strip():
            formula = line.startswith("   ")
        out.append(line.rstrip())
    return "\n".join(out + ["```"] * formula).strip()


def cell(text):
    return text.replace("|", "\\|")


def page_of(mech, shown):
    name = mech["name"]
    yield f"# {name}\n\n{mech['about'][0].upper() + mech['about'][1:]}.\n"
    yield f"    {mech['formula']}\n"
    yield f"![{shown} of the example]({name}.svg)\n"
    yield "| | |\n|---|---|"
    yield f"| family | {mech['family']} ({mech['branch']}) |\n| cost | {cell(mech['cost'])} |"
    yield f"| source | {cell(mech['source'])} |"
    if mech["aliases"]:
        yield f"| also called | {', '.join(mech['aliases'])} |"
    yield f"\n{story_of(mech)}\n\n## Slots\n"
    yield "| name | kind | shape | gradient | what it is |\n|---|---|---|---|---|"
    for s in mech["slots"]:
        kind = s["kind"] + (", optional" if s["optional"] else "")
        kind += "" if s["holds"] == "reals" else f", {s['holds']}"
        kind += f" below {s['below']}" if s.get("below") else ""
        yield f"| `{s['name']}` | {kind} | `{s['shape']}` | {'yes' if s['gradient'] else ''} | {cell(s['about'])} |"
    if mech["params"]:
        yield "\n## Parameters\n\n| name | type | default | what it is |\n|---|---|---|---|"
        for p in mech["params"]:
            yield f"| `{p['name']}` | {cell(p['type'])} | {p['default']} | {cell(p['about'])} |"
    yield f"\nTraits: {', '.join(mech['traits']) or 'none'}.\n\n```sh\nattn {mech['example']}\n```"


def cost_cell(cost):
    if cost is None:
        return "-"
    seconds, mib = cost["seconds"], cost["bytes"] / 2**20
    time = f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms" \
        if seconds < 1 else f"{seconds:.3g} s"
    return f"{time}, {mib:.3g} MiB"


def index_of(listed, mechs, costs):
    yield "# The gallery\n"
    yield ("Every mechanism by family, with what one call cost as the data grew along the letters of "
           "its table that are the length (pictures: as many pixels), its other sizes small as in the "
           "table: time of the fastest of the calls in a tenth of a second, two threads, and the most "
           "memory the library held meanwhile. A dash: longer than 20 seconds or 4 GB, judged by "
           "the length before. The numbers come from `attn bench gallery -t 2 --json`, kept in "
           "`docs/mechanisms/costs.json`; this page and those it leads to from `tools/make_pages.py`.\n")
    family = None
    for line in listed:
        if line["family"] != family:
            family = line["family"]
            yield f"\n## {family}: {line['branch']}\n"
            yield "| mechanism | source | class | streams | " + " | ".join(
                f"n = {n}" for n in LENGTHS) + " |\n|---" + "|---" * (3 + len(LENGTHS)) + "|"
        name = line["name"]
        cells = [cost_cell(costs.get(name, {}).get(str(n))) for n in LENGTHS]
        yield (f"| [{name}](mechanisms/{name}.md) | {cell(line['source'])} | {line['class']} | "
               f"{'yes' if line['streams'] else ''} | {' | '.join(cells)} |")
        for alias in mechs[name]["aliases"]:
            yield f"| {alias} | | | | alias of {name} |" + " |" * (len(LENGTHS) - 1)


def measured(binary):
    costs = {}
    for line in attn(binary, "bench", "gallery", "-t", "2", "--json"):
        if line["schema"].startswith("attn.bench.gallery"):
            costs.setdefault(line["name"], {})[str(line["n"])] = {
                "seconds": float(f"{line['seconds']:.4g}"), "bytes": int(line["bytes"])}
    return costs


def files_of(binary, costs):
    listed = attn(binary, "list", "--json")
    mechs = {m["name"]: attn(binary, "describe", m["name"], "--json")[0] for m in listed}
    yield PAGES.parent / "mechanisms.md", "\n".join(index_of(listed, mechs, costs)) + "\n"
    for name, mech in mechs.items():
        shown, shape, values = compute(binary, mech)
        yield PAGES / f"{name}.svg", picture(shape, values)
        yield PAGES / f"{name}.md", "\n".join(page_of(mech, shown)) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("attn")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--measure", action="store_true")
    args = parser.parse_args()
    PAGES.mkdir(exist_ok=True)
    if args.measure:
        COSTS.write_text(json.dumps(measured(args.attn), indent=1) + "\n")
    costs = json.loads(COSTS.read_text()) if COSTS.exists() else {}
    files = dict(files_of(args.attn, costs))
    there = {p for p in PAGES.iterdir() if p.suffix in (".md", ".svg")}
    old = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    stale = sorted(there - set(files))
    if args.check:
        return tree.report([f"{p.relative_to(tree.ROOT)}: not as tools/make_pages.py writes it"
                            for p in [*old, *stale]])
    for path in old:
        path.write_text(files[path])
    for path in stale:
        path.unlink()
    print(f"{len(files)} files, {len(old)} written, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
