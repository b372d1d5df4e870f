#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every mechanism from the command line: listed by family, described, its example run as it stands,
computed and differentiated from its table alone."""

import shlex
import unittest

import cli_support as cli
from cli_support import attn

LISTED = cli.json_lines(attn("list", "--json")[1])


class Gallery(unittest.TestCase):
    def each(self):
        for line in LISTED:
            with self.subTest(mechanism=line["name"]):
                yield line, cli.json_lines(attn("describe", line["name"], "--json")[1])[0]

    def test_list(self):
        code, text, _ = attn("list")
        self.assertEqual(code, 0)
        shown = [row.split()[0] for row in text.splitlines() if row.startswith("  ")]
        names = [line["name"] for line in LISTED]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([name for name in shown if name in names], names)
        for line in LISTED:
            self.assertRegex(line["class"], r"^n( |\^|$)", line["name"])

    def test_describe(self):
        for line, table in self.each():
            code, text, _ = attn("describe", line["name"])
            self.assertEqual(code, 0)
            for part in (table["about"], table["formula"], table["source"], table["branch"]):
                self.assertIn(part, text)
            for alias in table["aliases"]:
                self.assertIn(f"{line['name']} - ", attn("describe", alias)[1])

    def test_examples(self):
        for _, table in self.each():
            code, out, err = attn(*shlex.split(table["example"]))
            self.assertEqual((code, err), (0, ""))
            self.assertNotEqual(out, "")

    def test_compute(self):
        for line, table in self.each():
            outputs = [s["name"] for s in table["slots"] if s["kind"] == "output"]
            words = ["compute", line["name"], "--random", table["sizes"], "--json"]
            optional = [n for n in outputs if n not in LEFT_OUT.get(line["name"], ())]
            code, out, err = attn(*words, "--want", ",".join(optional))
            self.assertEqual((code, err), (0, ""))
            shown = [o["name"] for o in cli.json_lines(out)[0]["outputs"]]
            self.assertEqual(set(shown), set(optional))

    def test_gradients(self):
        for line, table in self.each():
            slots = table["slots"]
            wanted = [f"d_{s['name']}" for s in slots if s["gradient"] and s["kind"] != "output"
                      and not s["optional"] and s["holds"] == "reals"]
            given = [s for s in slots if s["gradient"] and s["kind"] == "output"
                     and not s["optional"]]
            if not wanted or not given:
                continue
            code, out, err = attn("compute", line["name"], "--random", table["sizes"], "--grad",
                                  "--json")
            self.assertEqual((code, err), (0, ""))
            shown = [o["name"] for o in cli.json_lines(out)[0]["outputs"]]
            self.assertEqual([n for n in wanted if n not in shown], [])


# Outputs that a call of the table's sizes cannot have.
LEFT_OUT = {
    "attention_over_attention": ("answer",),  # needs words to choose from
    "capsule": ("loss",),  # needs the true classes
}

if __name__ == "__main__":
    unittest.main()
