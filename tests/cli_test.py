#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The attn command from the outside: what it prints where, what it answers to bad input, and
that help, manual page and completions agree with the parser."""

import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import cli_support as cli
from cli_support import attn

COMMANDS = ["demo", "list", "describe", "compute", "measure", "verify", "bench", "info", "conformance",
            "completion", "help", "version"]


class Scratch(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.q, self.k = cli.normal(1, 2, 4, 5, 8), cli.normal(2, 2, 2, 7, 8)
        self.v = cli.normal(3, 2, 2, 7, 6)

    def tearDown(self):
        self.folder.cleanup()

    def run_ok(self, *words):
        code, out, err = attn(*words, cwd=self.path)
        self.assertEqual((code, err if code else ""), (0, ""))
        return out

    def near(self, got, want):
        self.assertEqual(len(got), len(want))
        self.assertLess(max(abs(x - y) for x, y in zip(got, want)), 3e-6)


class Help(unittest.TestCase):
    def test_overview_and_every_command(self):
        for words in ([], ["help"], ["--help"], ["-h"]):
            code, out, err = attn(*words)
            self.assertEqual((code, err), (0, ""))
            for command in COMMANDS:
                self.assertIn(f"attn {command} ", out)
        for command in COMMANDS:
            texts = {attn(*words)[1] for words in (["help", command], [command, "--help"],
                                                   [command, "-h"])}
            self.assertEqual(len(texts), 1)
            self.assertIn("usage: attn " + command, texts.pop())

    def test_missing_operands_give_six_lines(self):
        for command in ("describe", "compute", "conformance", "completion"):
            code, out, err = attn(command)
            self.assertEqual((code, out, err.count("\n")), (2, "", 6), command)

    def test_tables_agree(self):
        shells = {name: attn("completion", name)[1] for name in ("bash", "zsh", "fish")}
        man = attn("help", "--man")[1]
        _, out, _ = attn("help", "--json")
        told = {line["command"]: [o["name"] for o in line["options"]]
                for line in cli.json_lines(out)}
        self.assertEqual(list(told), COMMANDS)
        for command, options in told.items():
            text = attn("help", command)[1]
            for option in options:
                self.assertIn(f"--{option}", text)
                self.assertIn(f"Fl \\-{option}", man)
                self.assertIn(f"--{option}", shells["bash"])
                self.assertIn(f"--{option}[", shells["zsh"])
                self.assertIn(f"'{option}'", shells["fish"])

    def test_generated_scripts_are_well_formed(self):
        for shell, check in (("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]),
                             ("fish", ["fish", "--no-execute"])):
            if shutil.which(shell):
                script = attn("completion", shell)[1]
                done = subprocess.run(check, input=script.encode(), capture_output=True)
                self.assertEqual((done.returncode, done.stderr), (0, b""), shell)
        if shutil.which("mandoc"):
            lint = subprocess.run(["mandoc", "-Tlint"], capture_output=True,
                                  input=attn("help", "--man")[1].encode())
            self.assertEqual((lint.returncode, lint.stdout), (0, b""))

    def test_bash_completes(self):
        script = attn("completion", "bash")[1].encode()
        isas = [k["name"] for k in cli.json_lines(attn("info", "--json")[1])[0]["kernels"]]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "two words.npz").touch()
            (Path(folder) / "sub").mkdir()
            for line, want in (("com", ["compute", "completion"]), ("compute sof", ["softmax"]),
                               ("compute tw", ["two words.npz"]), ("compute --wa", ["--want"]),
                               ("compute softmax -s ca", ["causal="]), ("compute --isa ''", isas),
                               ("compute --want ls", ["lse"]), ("compute -o s", ["sub"]),
                               ("compute -t ''", []), ("conformance ''", ["sub"]),
                               ("bench s", ["short", "small", "scan"]), ("nonsense ''", [])):
                done = subprocess.run(
                    ["bash", "-c", f"source /dev/stdin; COMP_WORDS=(attn {line}); "
                     "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _attn; "
                     "[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' \"${COMPREPLY[@]}\""],
                    input=script, cwd=folder, capture_output=True)
                self.assertEqual((done.stdout.decode().splitlines(), done.stderr), (want, b""),
                                 line)

    def test_json_everywhere(self):
        for words in (["list"], ["describe", "softmax"], ["info"], ["version"], ["help"]):
            code, out, err = attn(*words, "--json")
            self.assertEqual((code, err), (0, ""))
            for line in cli.json_lines(out):
                self.assertTrue(line["schema"].startswith("attn."))
        version = cli.json_lines(attn("version", "--json")[1])[0]
        self.assertEqual(attn("--version")[1], f"attn {version['version']}\n")


class Compute(Scratch):
    def reference(self, causal=False):
        def score(b, h, i, j, s):
            return s if not causal or j <= i + 2 else -math.inf
        return cli.attend(self.q, self.k, self.v, score)

    def test_every_file_format(self):
        want, weights, _ = self.reference(causal=True)
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        cli.safetensors(self.path / "in.safetensors", q=self.q, k=self.k, v=self.v)
        for name, array in (("q", self.q), ("k", self.k), ("v", self.v)):
            (self.path / f"{name}.npy").write_bytes(cli.npy(array))
        masked = ["-s", "causal=true", "--set=align=bottom_right"]
        for inputs in (["in.npz"], ["in.safetensors"], ["q=q.npy", "k=k.npy", "v=v.npy"],
                       ["q=in.npz", "k=in.safetensors", "v=v.npy"]):
            for out, read in (("o.npz", cli.read_npz), ("o.safetensors", cli.read_safetensors)):
                self.run_ok("compute", "softmax", *inputs, *masked, "-o", out, "--want", "weights")
                got = read(self.path / out)
                self.assertEqual(sorted(got), ["out", "weights"])
                self.assertEqual(got["out"][0], (2, 4, 5, 6))
                self.near(got["out"][1], want)
                self.near(got["weights"][1], weights)
        self.run_ok("compute", "softmax", "in.npz", *masked, "-oout=o.npy", "-o", "lse=l.npy")
        self.near(cli.read_npy((self.path / "o.npy").read_bytes())[1], want)
        self.assertEqual(cli.read_npy((self.path / "l.npy").read_bytes())[0], (2, 4, 5))

    def test_compressed(self):
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=((2, 2, 7, 6), [1.0] * 168))
        code, _, err = attn("compute", "softmax", "in.npz", "-o", "o.npz", "--compress",
                            cwd=self.path)
        if code == 4:
            self.assertIn("zlib", err)
            return
        self.assertEqual(code, 0)
        self.near(cli.read_npz(self.path / "o.npz")["out"][1], [1.0] * 240)

    def test_printed_and_json(self):
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        out = self.run_ok("compute", "softmax", "in.npz", "--json", "--want", "lse")
        line = cli.json_lines(out)[0]
        by_name = {entry["name"]: entry for entry in line["outputs"]}
        self.assertEqual(by_name["out"]["shape"], [2, 4, 5, 6])
        self.near(by_name["out"]["data"], self.reference()[0])
        self.assertIn("out f32 [2, 4, 5, 6]", self.run_ok("compute", "softmax", "in.npz"))

    def test_random_is_reproducible(self):
        words = ["compute", "softmax", "--random", "B=2,H=4,T=3,S=9", "--json"]
        first, again, other = (cli.json_lines(self.run_ok(*words, "--seed", seed))[0]["outputs"]
                               for seed in (5, 5, 6))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        for isa in ("scalar", "avx2", "avx512"):
            code, out, _ = attn(*words, "--seed", 5, "--isa", isa, "-t", 2)
            self.assertIn(code, (0, 4))
            if code == 0:
                self.assertEqual(cli.json_lines(out)[0]["outputs"], first)

    def test_rank_two_and_nulls(self):
        (self.path / "x.npy").write_bytes(cli.npy(cli.normal(4, 5, 3)))
        (self.path / "none.npy").write_bytes(cli.npy(((5, 5), [0] * 25), "B", "|b1"))
        out = self.run_ok("compute", "softmax", "q=x.npy", "k=x.npy", "v=x.npy", "mask=none.npy",
                          "--json", "--want", "lse")
        first, lse = cli.json_lines(out)[0]["outputs"]
        self.assertEqual((first["shape"], first["data"]), ([5, 3], [0] * 15))
        self.assertEqual((lse["shape"], lse["data"]), ([5], [None] * 5))

    def test_keys_shared_by_all_sequences(self):
        one = {name: ((1, *shape[1:]), values[:len(values) // 2])
               for name, (shape, values) in (("k", self.k), ("v", self.v))}
        twice = {name: ((2, *shape[1:]), values * 2) for name, (shape, values) in one.items()}
        cli.npz(self.path / "one.npz", q=self.q, **one)
        cli.npz(self.path / "two.npz", q=self.q, **twice)
        outputs = [cli.json_lines(self.run_ok("compute", "softmax", file, "--json", "--want",
                                              "lse,weights"))[0]["outputs"]
                   for file in ("one.npz", "two.npz")]
        self.assertEqual(*outputs)
        self.near(outputs[0][0]["data"], cli.attend(self.q, twice["k"], twice["v"])[0])

    def test_packed_without_batch_and_heads(self):
        x = cli.normal(6, 5, 3)
        for name, data in (("x", cli.npy(x)), ("cu", cli.npy(((3,), [0, 2, 5]), "q", "<i8"))):
            (self.path / f"{name}.npy").write_bytes(data)
        out, weights = cli.json_lines(self.run_ok(
            "compute", "softmax", *(f"{slot}=x.npy" for slot in "qkv"), "cu_q=cu.npy",
            "cu_k=cu.npy", "--json", "--want", "weights"))[0]["outputs"]
        self.assertEqual((out["shape"], weights["shape"][0]), ([5, 3], 2))
        parts = [((1, 1, n, 3), x[1][at:at + 3 * n]) for at, n in ((0, 2), (6, 3))]
        self.near(out["data"], sum((cli.attend(p, p, p)[0] for p in parts), []))

    def test_examples_of_the_tables_run(self):
        for line in cli.json_lines(attn("list", "--json")[1]):
            told = cli.json_lines(attn("describe", line["name"], "--json")[1])[0]
            self.assertTrue(self.run_ok(*told["example"].split()))


class BadInput(Scratch):
    def refused(self, code, words, *parts):
        got, out, err = attn(*words, cwd=self.path)
        self.assertEqual((got, out), (code, ""), (words, err))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("attn: ") and err.endswith((".\n", "?\n")), err)
        for part in parts:
            self.assertIn(part, err)
        leftovers = [p.name for p in self.path.iterdir() if p.name.startswith((".", "out"))]
        self.assertEqual(leftovers, [])

    def compute(self, code, words, *parts):
        self.refused(code, ["compute", "softmax", *words, "-o", "out.npz"], *parts)

    def test_names(self):
        self.refused(2, ["comptue"], "Did you mean 'compute'?")
        self.refused(2, ["help", "lst"], "'list'")
        self.refused(2, ["describe", "softmx"], "mechanism", "'softmax'")
        self.refused(2, ["compute", "sotfmax"], "'softmax'")
        self.refused(2, ["compute", "zzzzzzzzzzzz"], "unknown mechanism 'zzzzzzzzzzzz'.")
        self.refused(2, ["list", "--jsn"], "'--json'")
        self.refused(2, ["list", "extra"], "'extra'")
        self.refused(2, ["bench", "prefil"], "'prefill'")
        self.refused(2, ["bench", "matmull"], "'matmul'")
        self.refused(2, ["completion", "bsh"], "'bash'")
        self.refused(2, ["compute", "softmax", "--isa", "avx3"], "'avx2'")
        self.refused(2, ["compute", "softmax", "-z"], "'-z'")

    def test_values(self):
        self.compute(2, ["-s", "causl=1"], "'causal'")
        self.compute(2, ["-s", "causal"], "NAME=VALUE")
        self.compute(2, ["-s", "causal=maybe"], "causal", "maybe")
        self.compute(2, ["-s", "align=bottom"], "bottom_right")
        self.compute(2, ["-s", "scale=1,5"], "scale", "1,5")
        self.compute(2, ["--want", "lsee"], "'lse'")
        self.compute(2, ["--want", "mask"], "input")
        self.compute(2, ["--dtype", "int8"], "int8")
        self.compute(2, ["--threads", "two"], "two")
        self.compute(2, ["--threads", "-1"], "threads")
        self.compute(2, ["--threads", "1025"], "1024")
        self.compute(2, ["--random", "S=4", "-s", "window_left=-2"], "window_left")
        self.compute(2, ["--random", "D=4", "-s", "rope=half", "-s", "rope_dims=3"], "rope_dims")
        self.compute(2, ["--random", "H=3,G=2"], "heads")
        self.compute(2, ["--random", "T=x"], "T=x")
        self.compute(2, ["--random", "T=4,"], "T=4,")
        self.compute(5, ["--random", "T=1000000000,D=1000000000"], "memory")
        self.compute(2, ["--grad"], "'q'")
        self.compute(2, [], "'q'")
        self.refused(2, ["bench", "--shape", "1,2,3"], "B,H,G,T,S,D")
        for value in ("soon", "nan", "-1"):
            self.refused(2, ["bench", "--seconds", value], "seconds")
        self.refused(2, ["bench", "--shape", "1,3,2,4,4,4"], "G dividing H")
        self.refused(2, ["conformance", ".", "--rtol", "-1"], "rtol")

    def test_tensors(self):
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        cli.npz(self.path / "no_v.npz", q=self.q, k=self.k)
        cli.npz(self.path / "narrow.npz", k=cli.normal(2, 2, 2, 7, 3))
        cli.npz(self.path / "heads.npz", k=cli.normal(2, 2, 3, 7, 8), v=cli.normal(2, 2, 3, 7, 6))
        cli.npz(self.path / "rank.npz", q=cli.normal(2, 4))
        cli.npz(self.path / "more.npz", q=self.q, k=self.k, v=self.v, vv=self.v)
        cli.npz(self.path / "done.npz", out=self.q)
        (self.path / "v.npy").write_bytes(cli.npy(self.v))
        self.compute(2, ["no_v.npz"], "'v'", "B G S E")
        self.compute(3, ["no_v.npz", "narrow.npz"], "narrow.npz", "already", "no_v.npz")
        self.compute(3, ["q=in.npz", "v=in.npz", "narrow.npz"], "narrow.npz", "D of k and q", "8",
                     "3")
        self.compute(3, ["q=in.npz", "heads.npz"], "heads")
        self.compute(3, ["rank.npz", "k=in.npz", "v=in.npz"], "rank.npz", "B H T D")
        self.compute(3, ["more.npz"], "more.npz", "'vv'", "'v'")
        self.compute(3, ["done.npz"], "done.npz", "output")
        self.compute(2, ["v.npy"], "v.npy", "SLOT=")
        self.compute(2, ["vv=v.npy"], "'v'")
        self.compute(3, ["v=no_v.npz"], "no_v.npz", "'v'")
        self.compute(2, ["in.npz", "-s", "causal=1"])  # T is not S: no alignment was chosen
        self.assertEqual(attn("compute", "softmax", "more.npz", "--extra-ok", cwd=self.path)[0], 0)

    def test_files(self):
        whole = cli.npy(self.v)
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        zipped = (self.path / "in.npz").read_bytes()
        bad = {"cut.npy": whole[:-4], "long.npy": whole + b"x", "empty.npy": b"",
               "text.npy": b"hello", "cut.npz": zipped[:-30], "noise.npz": bytes(range(256)) * 4,
               "huge.npy": whole.replace(b"(2, 2, 7, 6)", b"(999999999,)"),
               "object.npy": whole.replace(b"<f4", b"|O8"),
               "cut.safetensors": b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "odd.xyz": whole}
        for name, data in bad.items():
            (self.path / name).write_bytes(data)
            self.compute(3, [f"v={name}"], name)
        self.compute(3, ["nowhere.npz"], "attn: nowhere.npz: no such file")
        self.compute(3, ["v=."], ".")
        self.compute(2, ["v="], "'v='")
        self.compute(2, [""], "''")

    def test_outputs(self):
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        words = ["compute", "softmax", "in.npz", "-o"]
        self.refused(2, [*words, "out.txt"], "out.txt", ".npz")
        self.refused(2, [*words, "out.npy", "--want", "lse"], "SLOT=out.npy")
        self.refused(2, [*words, "mask=out.npy"], "input")
        self.refused(2, [*words, "out="], "'out='")
        self.refused(2, [*words, "out.npz", "--dtype", "bf16"], "out.npz", "bf16")
        self.refused(2, [*words, "lse=out.npy", "-o", "out=out.npy"], "one file")
        self.refused(1, [*words, "missing/out.npz"], "missing/out.npz")

    def test_a_full_disk_leaves_nothing(self):
        cli.npz(self.path / "in.npz", q=self.q, k=self.k, v=self.v)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        for out in ("out.npz", "out.safetensors", "out.npy"):
            code, _, err = attn("compute", "softmax", "in.npz", "-o", out, cwd=self.path,
                                preexec_fn=limit, restore_signals=False)
            self.assertEqual(code, 1, err)
            self.assertIn(out, err)
            self.assertEqual([p.name for p in self.path.iterdir()], ["in.npz"])

    def test_standard_output_that_fails(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([cli.ATTN, "describe", "softmax"], stdout=full,
                                  stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([cli.ATTN, "help", "--man"], stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        self.assertEqual((done.returncode, done.stderr), (141, b""))


if __name__ == "__main__":
    sys.exit(unittest.main())
