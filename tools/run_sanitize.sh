#!/bin/sh
# SPDX-License-Identifier: MIT
# run_sanitize.sh BUILD asan|tsan|memcheck [SHARE]: the tests under ASan+UBSan, under TSan, or under
# valgrind's memcheck with the AVX2 tables. Each is asked for what it alone can see, and for as many
# cases as that takes; `make test` runs all of them. SHARE: memcheck draws so many times fewer.
set -u
build=$1
less=${3:-1}

# A failing allocation must come back as NULL, as it would from malloc.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1

run() { # title, random cases a test, a share of the fixed ones, options
    echo "$1"
    cases=$2 share=$3
    shift 3
    ATTN_CASES=$cases ATTN_SHARE=$share python3 tools/run_tests.py --jobs 2 "$@"
}

# ASan: every call there is. test_instructions counts those of a release, documents are about
# plain compilers, and the gradients of the command are those of test_gallery, from C.
asan() {
    grids=test_grid,test_grad_grid,test_norm_grid,test_jvp # small cases, in a number of their own
    asan=$build/asan/tests
    run "ASan + UBSan" 250 1 --list "$asan.list" \
        --skip "test_instructions,docs_test,cli_grad_test,test_gallery_memory,$grids" \
        --first "test_gallery,test_big,test_regression_grad,test_oracle_grad,test_half*" \
        --run test_grid "env ATTN_CASES=2000 $asan/test_grid" \
        --run test_grad_grid "env ATTN_CASES=800 $asan/test_grad_grid" \
        --run test_norm_grid "env ATTN_CASES=800 $asan/test_norm_grid" \
        --run test_jvp "env ATTN_CASES=800 $asan/test_jvp"
}

# TSan: what runs on several threads. The scripts use one, or plain compilers, and test_big only
# has addresses that are far apart.
tsan() {
    run "TSan" 100 4 --list "$build/tsan/tests.list" --first test_gallery,test_cascade \
        --skip "test_instructions,cli*,io_*,docs*,measure*,test_oracle,test_big,test_gallery_pattern"
}

# Valgrind: bytes that nobody wrote, and reads of vectors beyond rows (ASan sees no intrinsic of
# AVX2 that masks). It does not know AVX-512, has not the address space of test_big, and gives a
# long double, with which test_base_element checks 64-bit integers, 53 bits only. Threads take
# turns there, memory that fails (test_alloc) and long sequences touch the same lines again, and
# three tests compare many calls of what others run once.
memcheck() {
    slow=test_concurrent,test_alloc,test_gallery_memory,test_gallery_pattern,test_scan_bits
    slow=$slow,test_cache_promise
    [ "$less" -gt 1 ] && slow=$slow,test_grad_grid # fewer cases than test_regression_grad has
    export ATTN_ISA=avx2
    run "valgrind, AVX2" $(((20 + less - 1) / less)) $((20 * less)) --list "$build/test/tests.list" \
        --skip "test_big,test_base_element,$slow" --first "test_gallery,test_bits_parts,test_half*" \
        --wrap "valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite
                --suppressions=tools/valgrind.supp"
}

case ${2-} in
asan | tsan | memcheck) "$2" ;;
*) echo "usage: run_sanitize.sh BUILD asan|tsan|memcheck [SHARE]" >&2; exit 2 ;;
esac
