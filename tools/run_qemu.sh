#!/bin/sh
# SPDX-License-Identifier: MIT
# run_qemu.sh BUILD: the tests as ARM64 programs, and this x86 build on a CPU without AVX and on
# one without AVX-512: an instruction that was not asked for dies there. test_big asks for more
# address space than an emulator has.
set -u
build=$1
status=0
export ATTN_CASES=100 # random cases a test: emulation is slow

under() { # title, build, emulator
    echo "$1"
    python3 tools/run_tests.py --list "$build/$2/tests.list" --wrap "$3" --skip test_big \
        --run "attn-info" "$3 $build/$2/attn info" \
        --run "attn-verify" "$3 $build/$2/attn verify" || status=1
}

under "ARM64" arm64 "qemu-aarch64 -L /usr/aarch64-linux-gnu"
if [ "$(uname -m)" = x86_64 ]; then
    under "x86-64, Nehalem: no AVX" test "qemu-x86_64 -cpu Nehalem"
    under "x86-64, Haswell: AVX2" test \
        "qemu-x86_64 -cpu Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid"
fi
exit $status
