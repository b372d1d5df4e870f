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

run() { # title, random cases a test, options
    echo "$1"
    cases=$2
    shift 2
    ATTN_CASES=$cases python3 tools/run_tests.py "$@" || status=1
}
run "ASan + UBSan" 1000 --list "$build/asan/tests.list"
run "TSan" 100 --list "$build/tsan/tests.list" --skip "cli*,io_*"
export ATTN_ISA=avx2
run "valgrind, AVX2" 50 --list "$build/test/tests.list" --skip test_big,test_base_element \
    --wrap "valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite"
exit $status
