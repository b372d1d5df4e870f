#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attn measure from the outside: rows of weights in files, links as text, what it refuses; and
the alignment error rate on people's links, where those are at hand, against sets in Python."""

import json
import math
import tempfile
import unittest
from pathlib import Path

import cli_support as cli
from cli_support import attn

DATA = cli.SOURCE.parent / "shared" / "data" / "align"


def links(line, base):
    sure, possible = set(), set()
    for word in line.split():
        mark = "-" if "-" in word else "p"
        pair = tuple(int(x) - base for x in word.split(mark))
        possible.add(pair)
        if mark == "-":
            sure.add(pair)
    return sure, possible


def aer(found, gold, found_base, gold_base):
    hits = total = 0
    for left, right in zip(found.read_text().splitlines(), gold.read_text().splitlines()):
        _, a = links(left, found_base)
        sure, possible = links(right, gold_base)
        hits += len(a & sure) + len(a & possible)
        total += len(a) + len(sure)
    return 1 - hits / total


class Measure(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.at = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, data):
        path = self.at / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def test_rows(self):
        w = self.write("w.npy", cli.npy(((2, 4), [.25, .25, .25, .25, 1, 0, 0, 0])))
        code, out, _ = attn("measure", "entropy", w, "--json")
        self.assertEqual(code, 0)
        got = json.loads(out)
        self.assertAlmostEqual(got["rows"][0], math.log(4), 6)
        self.assertEqual(got["rows"][1], 0)
        code, out, _ = attn("measure", "support", w)
        self.assertEqual((code, out), (0, "4\n1\nmean 2.5 of 2 rows\n"))
        region = self.write("r.npy", cli.npy(((4,), [1, 1, 0, 0])))
        code, out, _ = attn("measure", "correctness", w, region)
        self.assertEqual((code, out.splitlines()[:2]), (0, ["0.5", "1"]))

    def test_links(self):
        found = self.write("found", "0-0 1-1\n0-0\n\n")
        gold = self.write("gold", "1-1 2p2\n1-2\n\n")
        code, out, _ = attn("measure", "aer", found, gold, "--gold-base", 1, "--json")
        self.assertEqual(code, 0)
        self.assertAlmostEqual(json.loads(out)["aer"], 1 - 3 / 5)

    def test_refusals(self):
        w = self.write("w.npy", cli.npy(((2,), [1, 0])))
        bad = self.write("bad", "0-0 1:1\n")
        short = self.write("short", "0-0\n")
        longer = self.write("longer", "0-0\n1-1\n")
        for code, words, said in [(2, ["entropi", w], "entropy"), (2, ["entropy", w, w], "one file"),
                                  (2, ["spearman", w], "two files"), (3, ["entropy", "nope.npy"], "nope"),
                                  (3, ["aer", bad, short], "line 1"), (2, ["aer", short], "GOLD"),
                                  (3, ["aer", short, longer], "ends"), (3, ["aer", "nope", short], "nope"),
                                  (3, ["aer", short, short, "--gold-base", "1"], "line 1")]:
            got, out, err = attn("measure", *words)
            self.assertEqual((got, out, err.count("\n")), (code, "", 1), words)
            self.assertIn(said, err)

    @unittest.skipUnless(DATA.is_dir(), "no gold alignments beside this checkout (shared/data/align)")
    def test_people(self):
        found, gold = DATA / "enfr.awesome-align.out", DATA / "enfr.gold"
        code, out, _ = attn("measure", "aer", found, gold, "--gold-base", 1, "--json")
        self.assertEqual(code, 0)
        self.assertAlmostEqual(json.loads(out)["aer"], aer(found, gold, 0, 1), 8)


if __name__ == "__main__":
    unittest.main()
