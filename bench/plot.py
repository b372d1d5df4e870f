#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How cost grows, as one SVG: reads the JSON Lines of `attn bench growth --json` and draws time per
call against T = S, against S of one token, against D, against B, and the gain of more threads. Both
axes are logarithmic, so a straight line is a power; the thin line of each panel is the power that
the work grows by. Readable on light and on dark ground.

    attn bench growth --json | bench/plot.py > growth.svg"""

import json
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 190, 52, 46, 74
COLORS = ["#2f6fdd", "#d9730d", "#2a9d5c", "#b14fc5"]
STYLE = """text { font: 11px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 12px }
.axis { stroke: #888; fill: none } .grid { stroke: #8884; fill: none }
.work { stroke: #888; stroke-dasharray: 3 3; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }"""


def sizes(row):
    return dict(zip("BHGTSD", map(int, row["shape"].split(",")[:6])))


def fits(row, **wanted):
    return all(sizes(row)[letter] == n for letter, n in wanted.items())


def cold(row):
    return "cold" in row["shape"]


# title, letter of the x axis, the power of the work, which rows
PANELS = [
    ("T = S queries and keys, 8 heads, D = 64", "T", 2,
     lambda r: fits(r, B=1, D=64) and not cold(r)),
    ("S keys, one token, 32 heads on 8, D = 128", "S", 1, cold),
    ("width D, 8 heads, T = S = 2048", "D", 1, lambda r: fits(r, B=1, T=2048) and not cold(r)),
    ("batch B, 8 heads, T = S = 512, D = 64", "B", 1,
     lambda r: fits(r, T=512, D=64) and not cold(r)),
]


def time_text(seconds):
    for unit, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.999 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def size_text(n):
    """Powers of two from 1024 on in k, so that eight of them stand beside each other."""
    return f"{n >> 10}k" if n >= 1024 and n % 1024 == 0 else str(n)


def decades(values):
    """Powers of ten around them, two at least."""
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    return [10.0**d for d in range(low, high + 1)]


class Panel:
    """One pair of logarithmic axes at (x, y) of the picture."""

    def __init__(self, at, title, xs, ticks, y_text):
        self.x, self.y = at
        self.low_x, self.high_x = min(xs), max(max(xs), 1.01 * min(xs))
        self.low_y, self.high_y = ticks[0], ticks[-1]
        self.lines = [f'<text class="title" x="{self.x}" y="{self.y - 12}">{title}</text>']
        for tick in ticks:
            y = self.at(self.low_x, tick)[1]
            self.lines.append(f'<path class="grid" d="M{self.x} {y:.1f}h{WIDTH}"/>'
                              f'<text x="{self.x - 5}" y="{y + 4:.1f}" text-anchor="end">'
                              f'{y_text(tick)}</text>')
        for n in sorted(set(xs)):
            x = self.at(n, self.low_y)[0]
            self.lines.append(f'<path class="grid" d="M{x:.1f} {self.y}v{HEIGHT + 4}"/>'
                              f'<text x="{x:.1f}" y="{self.y + HEIGHT + 18}" '
                              f'text-anchor="middle">{size_text(n)}</text>')
        self.lines.append(f'<path class="axis" d="M{self.x} {self.y}v{HEIGHT}h{WIDTH}"/>')

    def at(self, x, y):
        def share(value, low, high):
            return math.log(value / low) / math.log(high / low)
        return (self.x + WIDTH * share(x, self.low_x, self.high_x),
                self.y + HEIGHT * (1 - share(y, self.low_y, self.high_y)))

    def path(self, points):
        return "M" + "L".join("{:.1f} {:.1f}".format(*self.at(x, y)) for x, y in points)

    def line(self, points, color, marks):
        self.lines.append(f'<path d="{self.path(points)}" stroke="{color}" stroke-width="1.8" '
                          f'fill="none"/>')
        for (x, y), mark in zip(points, marks):
            cx, cy = self.at(x, y)
            self.lines.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3" fill="{color}">'
                              f'<title>{mark}</title></circle>')

    def power(self, points, power):
        """Through the last point, as far as the panel goes."""
        (x, y), first = points[-1], points[0][0]
        start = y * (first / x)**power
        if start < self.low_y:
            first, start = x * (self.low_y / y)**(1 / power), self.low_y
        self.lines.append(f'<path class="work" d="{self.path([(first, start), (x, y)])}"/>')


def growth_panel(at, rows, title, letter, power, chosen):
    rows = sorted((r for r in rows if chosen(r)), key=lambda r: sizes(r)[letter])
    if not rows:
        return []
    panel = Panel(at, title, [sizes(r)[letter] for r in rows],
                  decades([r["seconds"] for r in rows]), time_text)
    for color, n in zip(COLORS, sorted({r["threads"] for r in rows})):
        mine = [r for r in rows if r["threads"] == n]
        points = [(sizes(r)[letter], r["seconds"]) for r in mine]
        panel.power(points, power)
        panel.line(points, color, [f"{n} threads, {r['shape']}: {time_text(r['seconds'])}, "
                                   f"{100 * r['fraction']:.0f} % of the ceiling" for r in mine])
    return panel.lines


def key(at, style, *texts):
    """A line of a legend and what it means."""
    x, y = at
    return [f'<path {style} d="M{x} {y}h30"/>',
            *(f'<text x="{x + 38}" y="{y + 4 + 16 * i}">{text}</text>'
              for i, text in enumerate(texts))]


def threads_panel(at, legend, rows):
    """The gain of the largest row of each kind, told in a legend beside it."""
    most = max(r["threads"] for r in rows)
    shapes = [max((r for r in rows if kind(r)), key=lambda r: sizes(r)[letter])["shape"]
              for _, letter, _, kind in PANELS if any(map(kind, rows))]
    counts = sorted({r["threads"] for r in rows})
    panel = Panel(at, "threads: times as fast as one", counts, counts, lambda y: f"{y}x")
    panel.lines.append(f'<path class="work" d="{panel.path([(1, 1), (most, most)])}"/>')
    for i, (color, shape) in enumerate(zip(COLORS, shapes)):
        mine = sorted((r for r in rows if r["shape"] == shape), key=lambda r: r["threads"])
        points = [(r["threads"], r["gain"] or 1) for r in mine]
        panel.line(points, color, [f"{shape}: {y:.2f} with {x}" for x, y in points])
        panel.lines += key((legend[0], legend[1] + 20 * i), f'stroke="{color}" stroke-width="1.8"',
                           f"{shape}: {points[-1][1]:.2f}x")
    return panel.lines


def picture(rows):
    places = [(LEFT + (WIDTH + GAP) * (i % 3), TOP + (HEIGHT + GAP) * (i // 3)) for i in range(6)]
    lines = []
    for at, panel in zip(places, PANELS):
        lines += growth_panel(at, rows, *panel)
    x, y = places[5]
    counts = sorted({r["threads"] for r in rows})
    for i, n in enumerate(counts):
        lines += key((x, y + 10 + 20 * i), f'stroke="{COLORS[i % 4]}" stroke-width="1.8"',
                     f"{n} thread{'s' if n > 1 else ''}, time per call")
    y += 20 + 20 * len(counts)
    lines += key((x, y), 'class="work"', "as the work grows, from the last",
                 "point backwards; threads: as their", "number does")
    if counts[-1] > 1:
        lines += threads_panel(places[4], (x, y + 64), rows)
    width, height = 3 * (WIDTH + GAP) + 10, 2 * (HEIGHT + GAP) + 10
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
                      f'height="{height}" viewBox="0 0 {width} {height}" role="img">',
                      "<title>time per call against T, S, D, B and threads</title>",
                      f"<style>{STYLE}</style>", *lines, "</svg>", ""])


def growth_rows(lines):
    """Of JSON Lines; a line that is none ends the program."""
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else {}
            if row.get("suite") == "growth" and "seconds" in row:
                yield row
        except (ValueError, AttributeError):
            sys.exit(f"plot: line {number} is no row of attn bench growth --json")


def main():
    rows = list(growth_rows(sys.stdin))
    if not rows:
        sys.exit("plot: no rows of growth; attn bench growth --json writes them")
    sys.stdout.write(picture(rows))


if __name__ == "__main__":
    main()
