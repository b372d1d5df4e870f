#!/bin/sh
# SPDX-License-Identifier: MIT
# run_sanitize.sh BUILD: the tests under ASan+UBSan and under TSan, and under valgrind's memcheck
# with the AVX2 tables. Valgrind does not know AVX-512, has not the address space of test_big, and
# gives a long double, with which test_base_element checks 64-bit integers, 53 bits only.
set -u
build=$1
status=0

# A failing allocation must come back as NULL, as it would from malloc.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1

run() { # title, random cases a test, a share of the fixed ones, options
    echo "$1"
    cases=$2 share=$3
    shift 3
    ATTN_CASES=$cases ATTN_SHARE=$share python3 tools/run_tests.py --jobs 2 "$@" || status=1
}
# test_instructions counts those of a release. The scripts use one thread, or plain compilers.
run "ASan + UBSan" 1000 1 --list "$build/asan/tests.list" --skip test_instructions
run "TSan" 200 3 --list "$build/tsan/tests.list" --skip "test_instructions,cli*,io_*,docs*"
export ATTN_ISA=avx2
run "valgrind, AVX2" 30 10 --list "$build/test/tests.list" --skip test_big,test_base_element \
    --wrap "valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite
            --suppressions=tools/valgrind.supp"
exit $status
