#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README.md, CONTRIBUTING.md and docs/*.md say nothing that does not run. The words behind the
language of a fenced block say what is done with it:

    sh run        every command must succeed
    console run   lines "$ command", then what it prints; [...] stands for any text
    c run         a whole program: compiled with all warnings as errors, run, must return 0
    c body        statements, compiled in a function that has q, k, v, out, spec, args, error
    c file=PATH   the text of that file without its first comment
    c part=PATH   lines that stand in that file, one behind the other
    (others)      not looked at

The commands of one document run in order in one scratch folder, which holds a qkv.npz. Files that
a document names in backquotes or links to must exist. The examples are run as well."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import cli_support as cli
from cli_support import SOURCE

BUILD = Path(os.environ.get("ATTN_BUILD", SOURCE / "build/test"))
DOCUMENTS = [SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", *sorted(SOURCE.glob("docs/*.md"))]
EXAMPLES = sorted(path.stem for path in SOURCE.glob("examples/*.c"))
LEARNS = {"train_copy": 0.02}  # the loss that an example ends below
WARNINGS = "-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror".split()
PATHS = re.compile(r"(?:README|CONTRIBUTING|CHANGELOG)\.md|"
                   r"(?:include|src|cli|tests|docs|examples|tools|cmake|fuzz|bench)/"
                   r"[\w./-]*\.(?:cmake|c|h|def|py|sh|md|txt)\b")
BODY = """#include <attn.h>
void snippet(attn_tensor q, attn_tensor k, attn_tensor v, attn_tensor out);
void snippet(attn_tensor q, attn_tensor k, attn_tensor v, attn_tensor out)
{
    attn_spec spec = ATTN_SPEC(.causal = true);
    attn_args args = ATTN_ARGS(.q = q, .k = k, .v = v, .out = out);
    attn_error error;
    (void)spec, (void)args, (void)error;
%s}
"""


def blocks(path):
    """(line, words of the fence, text) of every fenced block."""
    fence, start, text = None, 0, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if fence is None and line.startswith("```"):
            fence, start, text = line[3:].split(), number, []
        elif fence is not None and line == "```":
            yield start, fence, "".join(row + "\n" for row in text)
            fence = None
        elif fence is not None:
            text.append(line)
    assert fence is None, f"{path}: the block at line {start} does not end"


def matches(want, got):
    """Whether got is want, where [...] stands for any text, lines included."""
    parts = [re.escape(part) for part in re.split(r"\[\.\.\.\]", want.strip())]
    return re.fullmatch(r"[\s\S]*?".join(parts), got.strip()) is not None


def cache(name):
    """A variable of the build, "" when it has none."""
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)
    return found[1] if found else ""


def compile_c(text, folder, link):
    source, program = folder / "snippet.c", folder / "snippet"
    source.write_text(text)
    sanitize = cache("ATTN_SANITIZE").replace(";", ",")
    command = [cache("CMAKE_C_COMPILER"), *WARNINGS, f"-I{SOURCE}/include"]
    command += [f"-fsanitize={sanitize}"] if sanitize else []
    command += [source, BUILD / "libattn.a", "-lm", "-pthread"] if link else ["-c", source]
    command += ["-o", program]
    return subprocess.run(command, capture_output=True, text=True), program


class Document(unittest.TestCase):
    """One document; its blocks become tests test_<line>."""
    path = None

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.scratch.name)
        cli.npz(cls.folder / "qkv.npz", q=cli.normal(1, 1, 4, 6, 8), k=cli.normal(2, 1, 2, 6, 8),
                v=cli.normal(3, 1, 2, 6, 8))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def shell(self, command):
        folders = [Path(cli.ATTN).resolve().parent, BUILD / "tests", os.environ["PATH"]]
        env = {**os.environ, "PATH": ":".join(map(str, folders))}
        done = subprocess.run(["sh", "-eu", "-c", command], cwd=self.folder, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}")
        return done.stdout

    def sh_run(self, text):
        for command in text.splitlines():
            self.shell(command)

    def console_run(self, text):
        calls = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
        self.assertTrue(calls, "no line begins with '$ '")
        for command, want in calls:
            got = self.shell(command)
            self.assertTrue(matches(want, got), f"{command} printed\n{got}instead of\n{want}")

    def c_run(self, text):
        built, program = compile_c(text, self.folder, link=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        self.assertEqual(subprocess.run([program], timeout=300).returncode, 0)

    def c_body(self, text):
        built, _ = compile_c(BODY % text, self.folder, link=False)
        self.assertEqual(built.returncode, 0, built.stderr)

    def c_file(self, text, name):
        whole = (SOURCE / name).read_text()
        self.assertEqual(re.sub(r"\A/\*.*?\*/\n", "", whole, flags=re.S), text)

    def c_part(self, text, name):
        self.assertIn("\n" + text, (SOURCE / name).read_text())

    def block(self, words, text):
        kind = "_".join(words).partition("=")[0]
        name = words[1].partition("=")[2]
        getattr(self, kind)(text, *([name] if name else []))

    def test_names(self):
        text = self.path.read_text()
        names = {name for quoted in re.findall(r"`([^`\n]+)`", text)
                 for name in PATHS.findall(quoted)}
        links = {link for link in re.findall(r"\]\(([^)#:]+)\)", text)}
        missing = [name for name in sorted(names) if not (SOURCE / name).exists()]
        missing += [link for link in sorted(links) if not (self.path.parent / link).exists()]
        self.assertEqual(missing, [])


class Checker(unittest.TestCase):
    """The checks above notice what they are for."""

    def test_match(self):
        self.assertTrue(matches("a\n[...]\nd [...] f\n", "a\nb\nc\nd e f\n"))
        self.assertFalse(matches("a\n[...]\nd\n", "a\nb\n"))
        self.assertFalse(matches("speed 1.0", "speed 1x0"))

    def test_compiler_refuses(self):
        with tempfile.TemporaryDirectory() as folder:
            for text, good in (("    args.lse = out;\n", True), ("    args.elsie = out;\n", False)):
                built, _ = compile_c(BODY % text, Path(folder), link=False)
                self.assertEqual(built.returncode == 0, good, built.stderr)

    def test_contract(self):
        """The numbers of docs/numerics.md are those of the code."""
        page = (SOURCE / "docs/numerics.md").read_text()
        kernel = (SOURCE / "src/kernel/kernel.h").read_text()
        for name, words in (("CHUNK", "in chunks of {}"), ("BLOCK", "into blocks of {} keys")):
            number = re.search(rf"ATTN__{name} = (\d+)", kernel)[1]
            self.assertTrue(words.format(number) in page, f"ATTN__{name} is {number}")
        powers = (SOURCE / "src/kernel/body/exp2.h").read_text()
        numbers = re.findall(r"0x1\.[0-9a-f]{13}p-\d+", powers.split("static inline")[0])
        self.assertEqual(len(numbers), 18)
        self.assertEqual([n for n in numbers if n not in page], [])

    def test_gallery_pages(self):
        """docs/mechanisms is what the tables and stories say."""
        done = subprocess.run([sys.executable, SOURCE / "tools/make_pages.py", cli.ATTN, "--check"],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout), (0, ""), "make pages writes them anew")

    def test_performance_page(self):
        """docs/performance.md and its picture show what was measured and kept."""
        done = subprocess.run([sys.executable, SOURCE / "tools/make_performance.py", "--check"],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout), (0, ""), "it writes them anew")

    def test_blocks_are_found(self):
        kinds = [" ".join(words) for path in DOCUMENTS for _, words, _ in blocks(path)]
        for kind in ("sh run", "console run", "c body", "c file=examples/forward.c",
                     "c part=src/tape/ops.def"):
            self.assertIn(kind, kinds)


class Example(unittest.TestCase):
    """Every example of the build returns 0."""


def example_test(name):
    def test(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([(BUILD / "examples" / f"example_{name}").resolve()],
                                  capture_output=True, text=True, timeout=300, cwd=folder)
            self.assertEqual(os.listdir(folder), [])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        if name in LEARNS:
            losses = [float(loss) for loss in re.findall(r"loss (\S+)", done.stdout)]
            self.assertGreater(losses[0], 1, done.stdout)
            self.assertLess(losses[-1], LEARNS[name], done.stdout)
            self.assertRegex(done.stdout, r"copied (\d+) of \1\n\Z")
    return test


def document_tests(path):
    """A class with a test for each block that is to be run, named by its line."""
    tests = {"path": path}
    for line, words, text in blocks(path):
        if len(words) > 1:
            tests[f"test_{line:04}"] = lambda self, w=words, t=text: self.block(w, t)
    return type(path.stem, (Document,), tests)


def load_tests(loader, _tests, _pattern):
    for name in EXAMPLES:
        setattr(Example, f"test_{name}", example_test(name))
    kinds = [Checker, Example, *map(document_tests, DOCUMENTS)]
    return unittest.TestSuite(loader.loadTestsFromTestCase(kind) for kind in kinds)


if __name__ == "__main__":
    sys.exit(unittest.main())
