#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/make_performance.py keeps what was measured and nothing else, on one machine;
bench/plot.py and bench/environment.sh say in a line what they lack. Commands are stand-ins."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import cli_support as cli

sys.path.insert(0, str(cli.SOURCE / "tools"))
import make_performance as maker  # noqa: E402

KEPT = maker.DATA.read_text()
ALL = json.loads(KEPT)
NEW, OLD = "abc1234", ALL["machine"]["commit"]
PREFILL = ["--parts", "bench", "--suites", "prefill", "-t", "1"]

# attn bench SUITE ... prints the rows of that suite.
STAND_IN = """#!/bin/sh
case $1 in
bench) exec cat "$(dirname "$0")/$2.jsonl" ;;
info) echo "avx512 usable, chosen" ;;
esac
"""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.at = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()


class Performance(Folder):
    def setUp(self):
        super().setUp()
        script(self.at / "build/attn", STAND_IN)
        self.data, self.page = self.at / "measured.json", self.at / "page.md"
        self.data.write_text(KEPT)
        self.row = next(r for r in ALL["bench"].values() if r["suite"] == "prefill")
        for suite in [*maker.SUITES, "growth"]:
            kind = "growth" if suite == "growth" else "bench"
            rows = [r for r in ALL[kind].values() if r["suite"] == suite]
            self.rows(suite, [{**r, "seconds": 1.0} for r in rows])

    def rows(self, suite, rows, schema="attn.bench/1"):
        lines = [json.dumps({**row, "schema": schema}) + "\n" for row in rows]
        (self.at / f"build/{suite}.jsonl").write_text("".join(lines))

    def make(self, *words, **machine):
        """Exit status, standard error, and what is kept; on a machine that differs so."""
        err, picture = io.StringIO(), self.at / "growth.svg"
        about = {**ALL["machine"], "commit": NEW, **machine}
        line = ["make_performance.py", "--build", str(self.at / "build"), *map(str, words)]
        with mock.patch.multiple(maker, DATA=self.data, PAGE=self.page, PICTURE=picture,
                                 machine=lambda build: about), \
                mock.patch.object(sys, "argv", line), contextlib.redirect_stderr(err):
            code = maker.main()
        kept = self.data.read_text() if self.data.exists() else "{}"
        return code, err.getvalue(), json.loads(kept)

    def assert_untouched(self):
        self.assertEqual(self.data.read_text(), KEPT)
        self.assertFalse(self.page.exists())

    def test_only_command_fails(self):
        code, err, _ = self.make("--measure", "--python", "/bin/false", "--parts", "compare",
                                 "--suites", "short", "-t", 1)
        self.assertEqual(code, 1)
        self.assertIn("exit status 1 of /bin/false", err)
        self.assert_untouched()

    def test_no_such_command(self):
        code, err, _ = self.make("--measure", *PREFILL, "--prefix", "/nowhere")
        self.assertEqual(code, 1)
        self.assertIn("No such file", err)
        self.assert_untouched()

    def test_no_rows(self):
        self.rows("prefill", [])
        self.assertEqual(self.make("--measure", *PREFILL)[0], 1)
        self.assert_untouched()

    def test_kept_before_failure(self):
        code, _, data = self.make("--measure", *PREFILL[2:], "--parts", "bench,compare", "--python",
                                  "/bin/false")
        row = data["bench"][maker.keyed(self.row)]
        self.assertEqual((code, row["seconds"], row["commit"]), (1, 1.0, NEW))
        self.assertEqual(data["compare"].keys(), ALL["compare"].keys())
        self.assertIn(f" rows at {OLD} on {ALL['date']}", self.page.read_text())

    def test_commits_and_dates(self):
        code, err, data = self.make("--measure", *PREFILL)
        first = self.page.read_text().splitlines()[2]
        changed = sum(row["commit"] == NEW for row in data["bench"].values())
        self.assertEqual(code, 0, err)
        self.assertGreater(changed, 0)
        self.assertEqual({row["date"] for row in data["growth"].values()}, {ALL["date"]})
        self.assertIn(f"{changed} rows at {NEW} on {data['date']}", first)
        self.assertIn(f"{ALL['date']} to " if data["date"] > ALL["date"] else data["date"], first)

    def test_part_on_another_machine(self):
        taken = self.at / "build/prefill.jsonl"
        for words in (["--measure", *PREFILL], ["--measure", "-t", 1], ["--take", taken],
                      ["--measure", "--parts", "bench"], ["--measure", "--suites", "short"]):
            for change in ({"family": "1"}, {"cpus": 64}, {"cache": "1K"}, {"model": "other"}):
                code, err, _ = self.make(*words, **change)
                self.assertEqual((code, err.count("\n")), (2, 1), err)
                self.assertIn("measured.json is of AMD EPYC of family", err)
                self.assert_untouched()

    def test_all_on_another_machine(self):
        """Nothing of the one before is left, not even where the end of it fails."""
        code, _, data = self.make("--measure", "--python", "/bin/false", family="1")
        self.assertEqual((code, data["machine"]["family"], data["compare"]), (1, "1", {}))
        self.assertEqual({row["commit"] for row in data["bench"].values()}, {NEW})
        self.assertIn("of family 1, 2 CPUs", self.page.read_text())

    def test_take(self):
        self.rows("taken", [{**self.row, "seconds": 2.0}])
        taken, torn = self.at / "build/taken.jsonl", self.at / "torn"
        torn.write_text('{"schema": "attn.bench/1", "suite"')
        code, err, data = self.make("--take", taken, torn, self.at / "absent")
        self.assertEqual((code, err.count("\n")), (1, 2), err)
        self.assertEqual(data["bench"][maker.keyed(self.row)]["seconds"], 2.0)

    def test_judged(self):
        rows = list(ALL["compare"].values())
        self.rows("taken", [{**row, "judged": "all"} for row in rows[:2]], "attn.compare/1")
        self.make("--take", self.at / "build/taken.jsonl")
        self.assertIn("Every number of 2 answers, and four rows", self.page.read_text())
        self.rows("taken", [{**row, "judged": "all"} for row in rows], "attn.compare/1")
        self.make("--take", self.at / "build/taken.jsonl")
        self.assertIn("\nEvery number of each answer was compared", self.page.read_text())

    def test_first_part(self):
        """A page of whatever there is, with nothing kept before."""
        self.rows("compare", list(ALL["compare"].values()), "attn.compare/1")
        for name in ("prefill", "growth", "compare"):
            self.data.unlink()
            code, err, data = self.make("--take", self.at / f"build/{name}.jsonl")
            self.assertEqual((code, "growth.svg" in self.page.read_text()), (0, name == "growth"))
        self.data.unlink()
        self.assertEqual(self.make()[::2], (1, {}))


class Plot(unittest.TestCase):
    def plot(self, lines):
        done = subprocess.run([sys.executable, cli.SOURCE / "bench/plot.py"], input="".join(lines),
                              capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def test_no_rows(self):
        other = json.dumps({"schema": "attn.bench/1", "suite": "small", "seconds": 1}) + "\n"
        for lines in ([], [other], ["attn: unknown suite\n"], ["[]\n"], ['{"suite": "growth"}\n']):
            code, out, err = self.plot(lines)
            self.assertEqual((code, out, err.count("\n")), (1, "", 1), err)

    def test_some_rows(self):
        rows = [json.dumps(row) + "\n" for row in ALL["growth"].values()]
        for part in (rows[:1], rows[-2:], rows):
            code, out, err = self.plot(part)
            self.assertEqual((code, err, out[-7:]), (0, "", "</svg>\n"))


# python3 -m venv DIR makes DIR/bin/python, which has pip and modules as files in DIR say; then it
# ends with the status that $VENV names.
PYTHON = """#!/bin/sh
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$PYTHON_OF_VENV" "$3/bin/python"
    if [ "$VENV" = 0 ]; then touch "$3/pip"; fi
    exit "$VENV" ;;
esac
exit 1
"""
OF_VENV = """#!/bin/sh
here=$(dirname "$0")/..
case "$*" in
"-c import "*) [ -e "$here/${2#import }" ] ;;
"-m pip --version") [ -e "$here/pip" ] ;;
*" numpy") touch "$here/numpy" ;;
"-m pip install "*) echo "no $*" && false ;;
esac
"""


class Environment(Folder):
    def setUp(self):
        super().setUp()
        script(self.at / "path/python3", PYTHON)
        script(self.at / "of_venv", OF_VENV)
        self.peers = self.at / "peers"

    def environment(self, status):
        env = {**os.environ, "PATH": f"{self.at / 'path'}:{os.environ['PATH']}",
               "VENV": str(status), "PYTHON_OF_VENV": str(self.at / "of_venv"), "TORCH": "torch==0"}
        done = subprocess.run(["sh", cli.SOURCE / "bench/environment.sh", self.peers], env=env,
                              capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    def test_without_ensurepip(self):
        """Twice the same words; nothing is left that looks like an environment."""
        for _ in range(2):
            code, err = self.environment(1)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertIn("please install python3-venv", err)
            self.assertFalse(self.peers.exists())

    def test_broken_one_is_made_anew(self):
        script(self.peers / "bin/python", OF_VENV)
        (self.peers / "pyvenv.cfg").touch()
        self.assertIn("please install python3-venv", self.environment(1)[1])
        script(self.peers / "bin/python", OF_VENV)
        (self.peers / "pyvenv.cfg").touch()
        self.assertEqual(self.environment(0)[0], 0)

    def test_foreign_folder_is_kept(self):
        (self.peers / "photos").mkdir(parents=True)
        code, err = self.environment(0)
        self.assertEqual((code, (self.peers / "photos").is_dir()), (1, True), err)

    def test_logs(self):
        """Each line names a log that tells of all attempts."""
        code, err = self.environment(0)
        logs = {name: self.peers / f"pip-{name}.log" for name in ("torch", "onnxruntime")}
        self.assertEqual((code, err.count("\n")), (0, 2), err)
        for path in logs.values():
            self.assertIn(str(path), err)
        self.assertEqual(logs["torch"].read_text().count("torch==0"), 2)
        self.assertNotIn("torch", logs["onnxruntime"].read_text())


if __name__ == "__main__":
    unittest.main()
