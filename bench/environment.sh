#!/bin/sh
# SPDX-License-Identifier: MIT
# environment.sh DIR: a private Python environment with the peers of bench/compare.py, as far as
# they can be had. Says what is missing; fails only without numpy, which the comparison needs.
# PyTorch is the wheel for CPUs and no other: its version says so, and only indexes for CPUs have
# that version. An environment without pip (what a python3 without ensurepip leaves) is made anew,
# and one that could not be made is removed.
set -eu
dir=$1
torch=${TORCH:-torch==2.13.0+cpu}
index=https://download.pytorch.org/whl/cpu

say() { echo "bench-compare: $*" >&2; }
have() { "$dir/bin/python" -c "import $1" > /dev/null 2>&1; }
usable() { have numpy || "$dir/bin/python" -m pip --version > /dev/null 2>&1; }
created() { python3 -m venv "$dir" > /dev/null 2>&1 && usable; }

if ! usable; then
    if [ -e "$dir" ] && ! [ -e "$dir/pyvenv.cfg" ] && ! rmdir "$dir" 2> /dev/null; then
        say "$dir is there, and no environment of Python; please remove it"
        exit 1
    fi
    rm -rf "$dir"
    created || {
        rm -rf "$dir"
        say "python3 -m venv does not work here; please install python3-venv"
        exit 1
    }
fi
log() { echo "$dir/pip-$1.log"; }
install() { # MODULE WHAT OPTIONS...: the log of a module has all attempts
    log=$(log "$1")
    shift
    "$dir/bin/python" -m pip install -q --disable-pip-version-check --retries 1 "$@" \
        >> "$log" 2>&1
}
lacks() { # MODULE WHAT
    say "pip cannot get $2 here (see $(log "$1")); its rows will be missing"
}

have numpy || install numpy numpy || {
    say "pip cannot get numpy here (see $(log numpy))"
    exit 1
}
have torch || install torch "$torch" || install torch "$torch" --extra-index-url "$index" ||
    lacks torch "$torch"
have onnxruntime || install onnxruntime onnxruntime || lacks onnxruntime onnxruntime
