#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attn beside the other implementations of attention that are on this machine: the same rows as
`attn bench`, on the same arrays, in turn and in one run.

    bench/compare.py --build build/release prefill causal      suites of attn bench
    bench/compare.py --build build/release --shape 1,8,8,512,512,64,causal -t 1 --json

Each answer, all of it, is compared with double precision first; whoever is off by more than the
element type allows is named and not timed. Then come rounds: in each, every implementation gets its
turn, in changing order, and the ratio of a round is the peer's time over attn's. Printed are the
medians of the rounds and, in brackets, the least and the largest ratio. `of` is the share of the
ceiling that was measured right before attn's own turn: f32 multiply-adds, or for cold rows reading
from memory. A peer that took more than four times as long in the first round gets two rounds, and
when a row has taken --budget seconds no round begins. Exit status 1: attn itself was wrong; 2: a
wrong word, or nothing to compare. `make bench-compare` prepares everything; docs/bench.md says
more."""

import argparse
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from compare_rows import SUITES, fail, rows_of

SLOW, SLOW_ROUNDS = 4.0, 2
READ_FLOATS = 64 << 20  # 256 MiB
READ_WAYS = [(1, 0), (1, 1024), (1, 4096), (1, 8192), (2, 2048), (4, 0), (4, 1024)]


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def thread_counts(text):
    counts = text.split(",")
    if not all(n.isdecimal() and int(n) > 0 for n in counts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers above 0, such as 1,2")
    return [int(n) for n in counts]


def positive(text):
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def duration(text):
    try:
        if 0 <= float(text) < math.inf:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def arguments():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", help=" ".join(SUITES))
    parser.add_argument("--build", default="build/release", help="a build with libattn_compare.so")
    parser.add_argument("--shape", help="one row of your own, as attn bench takes it")
    parser.add_argument("-t", "--threads", type=thread_counts, default=[1, 2], help="1,2")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=duration, default=0.1, help="of a turn, at least a call")
    parser.add_argument("--budget", type=duration, default=8, help="seconds for a row's rounds")
    parser.add_argument("--peers", help="only these, torch,numpy")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def each_thread_count(args):
    """A process for each, because some libraries take their number of threads only at start."""
    worst = 0
    for n in map(str, args.threads):
        env = dict(os.environ, OMP_NUM_THREADS=n, OPENBLAS_NUM_THREADS=n, MKL_NUM_THREADS=n)
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "-t", n, "--one"], env=env)
        if done.returncode == 2:
            return 2
        worst = max(worst, abs(done.returncode))
    return worst


def load(build):
    path = Path(build) / "libattn_compare.so"
    if not path.exists():
        fail(f"no {path}; make bench-compare builds it", 1)
    library = ctypes.CDLL(str(path.resolve()))
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    for name, result, *kinds in (
            ("compare_open", pointer, ctypes.c_int, ctypes.POINTER(whole), ctypes.c_char_p,
             ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
            ("compare_set", ctypes.c_int, pointer, ctypes.c_char_p, pointer),
            ("compare_run", ctypes.c_int, pointer, ctypes.c_int),
            ("compare_isa", ctypes.c_char_p, pointer), ("compare_close", None, pointer),
            ("attn_probe_fma", ctypes.c_double, pointer, whole),
            ("attn_probe_read", ctypes.c_double, pointer, pointer, whole, ctypes.c_int, whole)):
        function = getattr(library, name)
        function.restype, function.argtypes = result, kinds
    return library


class Ceilings:
    """What attn's own probes reach with n threads, in flop/s and bytes/s."""

    def __init__(self, library, threads):
        import numpy
        self.library, self.threads, self.rounds = library, threads, 1 << 22
        self.array = numpy.ones(READ_FLOATS, numpy.float32)

    def together(self, call):
        results = [None] * self.threads

        def share(i):
            results[i] = call(i)
        others = [threading.Thread(target=share, args=(i,)) for i in range(1, self.threads)]
        begin = time.perf_counter()
        for other in others:
            other.start()
        share(0)
        for other in others:
            other.join()
        return sum(results), time.perf_counter() - begin

    def fma(self):
        best = 0.0
        for _ in range(3):
            flops, seconds = self.together(lambda i: self.library.attn_probe_fma(None, self.rounds))
            best = max(best, flops / seconds)
        return best

    def memory(self):
        each = READ_FLOATS // self.threads
        best = 0.0
        for streams, ahead in READ_WAYS:
            _, seconds = self.together(lambda i: self.library.attn_probe_read(
                None, self.array.ctypes.data + 4 * each * i, each, streams, ahead))
            best = max(best, 4 * each * self.threads / seconds)
        return best


# ---- one row ---------------------------------------------------------------------------------

def opened(case, peer, threads, judge):
    """A reason why it is not timed, or None; its first run has been made and judged."""
    reason = peer.declines(case)
    if reason is not None:
        return reason
    try:
        peer.open(case, threads)
        peer.run(0)
        reason, peer.error = judge.problem(peer)
    except Exception as error:  # whatever a foreign library throws
        return f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}"
    return reason


class Turns:
    """Calls of one implementation, with k and v of the next copy each time."""

    def __init__(self, case, peer, seconds):
        self.case, self.peer, self.seconds = case, peer, seconds
        self.turn = 0
        self.times = []

    def call(self):
        self.turn = (self.turn + 1) % self.case.copies
        begin = time.perf_counter()
        self.peer.run(self.turn)
        return time.perf_counter() - begin

    def round(self):
        """The median of a turn, after a call that wakes threads up; who is slow has one call."""
        time.sleep(0.005)  # so that the threads of the one before have gone to sleep
        first = self.call()
        if first > SLOW * self.seconds:
            self.times.append(first)
            return
        times, end = [self.call()], time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            times.append(self.call())
        self.times.append(statistics.median(times))


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def measured(args, case, attn, peers, ceilings):
    """Rounds of all; what they gave as a dict."""
    mine = Turns(case, attn, args.seconds)
    others = [Turns(case, peer, args.seconds) for peer in peers]
    fractions = []
    end = time.perf_counter() + args.budget
    for n in range(args.rounds):
        if n >= SLOW_ROUNDS and time.perf_counter() > end:
            break
        order = [None, *others]
        for turns in order[n % len(order):] + order[:n % len(order)]:
            if turns is None:
                ceiling = ceilings.memory() if case.cold else ceilings.fma()
                mine.round()
                work = case.bytes if case.cold else case.flops()
                fractions.append(work / mine.times[-1] / ceiling)
            elif n < SLOW_ROUNDS or turns.times[0] < SLOW * mine.times[0]:
                turns.round()
    found = []
    for turns in others:
        ratios = [t / m for t, m in zip(turns.times, mine.times)]
        found.append({"name": turns.peer.name, "rounds": len(ratios), "error": turns.peer.error,
                      "seconds": summary(turns.times), "ratio": summary(ratios)})
    return {"seconds": summary(mine.times), "fraction": summary(fractions),
            "rounds": len(mine.times), "error": attn.error, "isa": attn.isa, "peers": found}


def compare_row(args, library, row, threads, kinds, ceilings):
    from compare_case import Case
    from compare_judge import Judge
    from compare_peers import Attn
    case = Case(row)
    judge = Judge(case)
    attn, left_out = Attn(library), []
    reason = opened(case, attn, threads, judge)
    if reason:
        return None, f"attn cannot be judged: {reason}"
    peers = []
    for kind in kinds:
        peer = kind()
        reason = opened(case, peer, threads, judge)
        if reason is None:
            peers.append(peer)
            continue
        if reason:
            left_out.append({"name": peer.name, "reason": reason,
                             "wrong": peer.declines(case) is None})
        peer.close()
    result = {"suite": case.suite, "shape": case.shape, "dtype": case.dtype, "threads": threads,
              "bound": "memory" if case.cold else "fma", "judged": "all",
              **measured(args, case, attn, peers, ceilings), "left_out": left_out}
    for peer in [attn, *peers]:
        peer.close()
    return result, None


# ---- telling ---------------------------------------------------------------------------------

def told(result):
    part = result["fraction"]
    line = (f"{result['suite']:8s} {result['shape']:34s} {result['dtype']:5s} "
            f"{result['threads']:3d} {1e3 * result['seconds']['median']:9.3f} ms "
            f"{100 * part['median']:5.1f} % of {result['bound']:6s}")
    for peer in sorted(result["peers"], key=lambda p: p["ratio"]["median"]):
        ratio = peer["ratio"]
        line += (f"  {peer['name']} {ratio['median']:.2f} "
                 f"[{ratio['least']:.2f} {ratio['most']:.2f}]")
    for peer in result["left_out"]:
        if peer["wrong"]:
            line += f"\n{'':8s} {peer['name']} is left out: {peer['reason']}"
    return line


def chosen(args):
    """The peers that are there; and why others are not, which goes to standard error too."""
    from compare_peers import PEERS
    names, kinds, absent = [kind.name for kind in PEERS], [], {}
    wanted = args.peers.split(",") if args.peers else names
    for name in wanted:
        if name not in names:
            fail(f"there is no peer {name!r}; there are {', '.join(names)}")
    for kind in PEERS:
        if kind.name not in wanted:
            continue
        reason = kind().missing
        if reason:
            absent[kind.name] = reason
            print(f"compare: {kind.name}: {reason}", file=sys.stderr)
        else:
            kinds.append(kind)
    return kinds, absent


def version(module):
    found = sys.modules.get(module)
    return getattr(found, "__version__", None)


def main():
    args = arguments()
    rows, failed = rows_of(args, tell=not args.one), 0
    if not args.one:
        return each_thread_count(args)
    try:
        import numpy  # noqa: F401
    except ImportError:
        fail("needs numpy; make bench-compare installs it in a private environment", 1)
    threads, (kinds, absent) = args.threads[0], chosen(args)
    library = load(args.build)
    ceilings = Ceilings(library, threads)
    if args.json:
        print(json.dumps({"schema": "attn.compare.peers/1", "threads": threads, "absent": absent,
                          "versions": {m: version(m) for m in ("torch", "onnxruntime", "numpy")}}))
    else:
        print(f"ceilings with {threads} threads: {ceilings.fma() / 1e9:.1f} GFLOP/s, "
              f"{ceilings.memory() / 1e9:.1f} GB/s from memory; behind a row each peer's time over "
              f"attn's [least most]", flush=True)
    for row in rows:
        result, problem = compare_row(args, library, row, threads, kinds, ceilings)
        if problem:
            failed = 1
            print(f"compare: {row['shape']} {row['dtype']}: {problem}", file=sys.stderr)
        elif args.json:
            print(json.dumps({"schema": "attn.compare/1", **result}), flush=True)
        else:
            print(told(result), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
