#!/bin/sh
# SPDX-License-Identifier: MIT
# run_qemu.sh BUILD [SHARE]: the tests as ARM64 programs on a CPU without SVE, those of the kernels
# and the bits on one of each length of it, and this x86 build on a CPU without AVX and on one
# without AVX-512: an instruction that was not asked for dies there. The manifest is compared whole,
# so the same bits come out everywhere. An emulator is slow, so the other tests get a share. SHARE:
# so many times less again, and on the x86 machines no more than on the lengths of SVE.
set -u
build=$1
less=${2:-1}
status=0
export ATTN_CASES=$(((40 + less - 1) / less)) ATTN_SHARE=$((10 * less))

# test_big: an emulator keeps books on reserved address space, in real memory, 24 GB of it.
# test_pool_fork: qemu itself fails when the child of a fork starts threads.
skip=test_big,test_pool_fork
# An emulator on x86 keeps its order of memory, so nothing new is seen by threads in each other's
# way; memory that fails, long sequences and patterns of masks are no matter of instructions.
skip=$skip,test_concurrent,test_alloc,test_gallery_memory,test_gallery_pattern
alone=test_grid,test_manifest # have another share
kernels="test_base_ctx,test_vec,test_kernel_*,test_gold,test_grad_bits,test_tape_bits"
x86="*"
# What compares many calls that others run once is left out of a share.
[ "$less" -gt 1 ] && x86=$kernels skip=$skip,test_cache_promise,test_regression_grad*
# qemu 7 loads whole vectors where AVX2 was asked for a part, which guard pages notice.
guarded="test_guard*,test_kernel_state,test_kernel_backward,test_kernel_gemm,test_kernel_map"
guarded="$guarded,test_kernel_score,test_kernel_table,test_matmul_safety,test_regression_layout"
guarded="$guarded,test_vec,test_kernel_few,test_kernel_softmax"
# This machine has run the scalar and the AVX2 tables on these; they take the longest.
native="test_regression_grad*,test_special_hide,test_half*,test_cache_decode,test_cache_promise"
first="test_regression_grad*,test_grid,test_grad_grid,test_manifest,test_guard,test_bits_parts"

under() { # title, build, emulator, tests if not all, tests to leave out
    echo "$1 (without $skip${5:+,$5})"
    tests=$build/$2/tests
    python3 tools/run_tests.py --jobs 2 --list "$tests.list" --wrap "$3" --match "${4:-*}" \
        --skip "$skip,$alone${5:+,$5}" --first "$first" \
        --run "test_grid" "env ATTN_CASES=$((300 / less)) $3 $tests/test_grid" \
        --run "test_manifest" "env -u ATTN_CASES $3 $tests/test_manifest" \
        --run "attn-info" "$3 $build/$2/attn info" \
        --run "attn-verify" "$3 $build/$2/attn verify" || status=1
}

arm64="qemu-aarch64 -L /usr/aarch64-linux-gnu"
under "ARM64, Cortex-A57: no SVE" arm64 "$arm64 -cpu cortex-a57"
for bits in 128 256 512; do
    sve="$arm64 -cpu max,sve$bits=on" # and no longer one
    $sve "$build/arm64/attn" info | grep -q "sve$bits *usable" ||
        { echo "this emulator has no SVE of $bits bits"; status=1; }
    under "ARM64, SVE of $bits bits" arm64 "$sve" "$kernels"
done
if [ "$(uname -m)" = x86_64 ]; then
    under "x86-64, Nehalem: no AVX" test "qemu-x86_64 -cpu Nehalem" "$x86" "test_guard*,$native"
    under "x86-64, Haswell: AVX2" test \
        "qemu-x86_64 -cpu Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid" "$x86" "$guarded,$native"
fi
exit $status
