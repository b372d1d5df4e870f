#!/bin/sh
# SPDX-License-Identifier: MIT
# environment.sh DIR: a private Python environment with the peers of bench/compare.py, as far as
# they can be had. Says what is missing; fails only without numpy, which the comparison needs.
# PyTorch is the wheel for CPUs and no other: its version says so, and only indexes for CPUs have
# that version.
set -eu
dir=$1
torch=${TORCH:-torch==2.13.0+cpu}
index=https://download.pytorch.org/whl/cpu

say() { echo "bench-compare: $*" >&2; }

if ! [ -x "$dir/bin/python" ]; then
    rm -rf "$dir"
    python3 -m venv "$dir" > /dev/null 2>&1 || {
        say "python3 -m venv does not work here; please install python3-venv"
        exit 1
    }
fi
install() { # WHAT OPTIONS...
    what=$1
    shift
    "$dir/bin/python" -m pip install -q --disable-pip-version-check --retries 1 "$@" "$what" \
        > "$dir/pip.log" 2>&1
}
have() { "$dir/bin/python" -c "import $1" 2> /dev/null; }

have numpy || install numpy || { say "pip cannot get numpy here (see $dir/pip.log)"; exit 1; }
have torch || install "$torch" || install "$torch" --extra-index-url "$index" ||
    say "pip cannot get $torch here (see $dir/pip.log); its rows will be missing"
have onnxruntime || install onnxruntime ||
    say "pip cannot get onnxruntime here; its rows will be missing"
