#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every mechanism from the command line: listed by family, described, its example run as it stands,
computed and differentiated from its table alone."""

import shlex
import unittest

import cli_support as cli
from cli_support import attn

# Outputs that need more than the required inputs, though their sizes do not.
NEED_MORE = {"capsule": {"loss"}, "crossmodal": {"back", "back_weights"}}
LISTED = cli.json_lines(attn("list", "--json")[1])


class Gallery(unittest.TestCase):
    def check_each(self, check):
        for line in LISTED:
            with self.subTest(mechanism=line["name"]):
                check(line, cli.json_lines(attn("describe", line["name"], "--json")[1])[0])

    def test_list(self):
        code, text, _ = attn("list")
        self.assertEqual(code, 0)
        shown = [row.split()[0] for row in text.splitlines() if row.startswith("  ")]
        names = [line["name"] for line in LISTED]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([name for name in shown if name in names], names)
        for line in LISTED:
            self.assertRegex(line["class"], r"^n( |\^|$)", line["name"])

    def describe(self, line, table):
        code, text, _ = attn("describe", line["name"])
        self.assertEqual(code, 0)
        for part in (table["about"], table["formula"], table["source"], table["branch"]):
            self.assertIn(part, text)
        for alias in table["aliases"]:
            self.assertIn(f"{line['name']} - ", attn("describe", alias)[1])

    def test_describe(self):
        self.check_each(self.describe)

    def example(self, _, table):
        code, out, err = attn(*shlex.split(table["example"]))
        self.assertEqual((code, err), (0, ""))
        self.assertNotEqual(out, "")

    def test_examples(self):
        self.check_each(self.example)

    def compute(self, line, table):
        known = set("".join(s["shape"] for s in table["slots"]
                            if s["kind"] != "output" and not s["optional"]))
        known |= {p["letter"] for p in table["params"] if p["letter"]}
        wanted = [s["name"] for s in table["slots"] if s["kind"] == "output"
                  and s["name"] not in NEED_MORE.get(line["name"], ())
                  and set(s["shape"]) <= known | set(" 0123456789+")]
        code, out, err = attn("compute", line["name"], "--random", table["sizes"], "--json",
                              "--want", ",".join(wanted))
        self.assertEqual((code, err), (0, ""))
        shown = [o["name"] for o in cli.json_lines(out)[0]["outputs"]]
        self.assertEqual(set(shown), set(wanted))
        required = [s["name"] for s in table["slots"] if s["kind"] == "output"
                    and not s["optional"]]
        self.assertLessEqual(set(required), set(wanted))

    def test_compute(self):
        self.check_each(self.compute)

    def gradients(self, line, table):
        slots = table["slots"]
        wanted = [f"d_{s['name']}" for s in slots if s["gradient"] and s["kind"] != "output"
                  and not s["optional"] and s["holds"] == "reals"]
        given = [s for s in slots if s["gradient"] and s["kind"] == "output"
                 and not s["optional"]]
        if not wanted or not given:
            return
        code, out, err = attn("compute", line["name"], "--random", table["sizes"], "--grad",
                              "--json")
        self.assertEqual((code, err), (0, ""))
        shown = [o["name"] for o in cli.json_lines(out)[0]["outputs"]]
        self.assertEqual([n for n in wanted if n not in shown], [])

    def test_aliases_set_what_they_say(self):
        sizes = ["--random", "B=1,T=4,M=2,A=2,P=2,O=2", "--json"]
        outputs = [cli.json_lines(attn("compute", *words, *sizes)[1])[0]["outputs"]
                   for words in (("masked",), ("self", "-s", "causal=true"), ("self",),
                                 ("masked", "-s", "causal=false"))]
        self.assertEqual(outputs[0], outputs[1])
        self.assertEqual(outputs[2], outputs[3])
        self.assertNotEqual(outputs[0], outputs[2])

    def test_gradients(self):
        self.check_each(self.gradients)


if __name__ == "__main__":
    unittest.main()
