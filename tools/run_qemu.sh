#!/bin/sh
# SPDX-License-Identifier: MIT
# run_qemu.sh BUILD: the tests as ARM64 programs on a CPU without SVE, those of the kernels and
# the bits on one of each length of it, and this x86 build on a CPU without AVX and on one without
# AVX-512: an instruction that was not asked for dies there. test_big asks for more address space
# than an emulator has.
set -u
build=$1
status=0
export ATTN_CASES=100 # random cases a test: emulation is slow

under() { # title, build, emulator, tests if not all
    echo "$1"
    python3 tools/run_tests.py --list "$build/$2/tests.list" --wrap "$3" --skip test_big \
        --match "${4:-*}" \
        --run "attn-info" "$3 $build/$2/attn info" \
        --run "attn-verify" "$3 $build/$2/attn verify" || status=1
}

arm64="qemu-aarch64 -L /usr/aarch64-linux-gnu"
under "ARM64, Cortex-A57: no SVE" arm64 "$arm64 -cpu cortex-a57"
for bits in 128 256 512; do
    sve="$arm64 -cpu max,sve$bits=on" # and no longer one
    $sve "$build/arm64/attn" info | grep -q "sve$bits *usable" ||
        { echo "this emulator has no SVE of $bits bits"; status=1; }
    under "ARM64, SVE of $bits bits" arm64 "$sve" \
        "test_base_ctx,test_vec,test_kernel_*,test_manifest,test_gold,test_grid"
done
if [ "$(uname -m)" = x86_64 ]; then
    under "x86-64, Nehalem: no AVX" test "qemu-x86_64 -cpu Nehalem"
    under "x86-64, Haswell: AVX2" test \
        "qemu-x86_64 -cpu Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid"
fi
exit $status
