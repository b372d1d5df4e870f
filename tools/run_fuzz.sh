#!/bin/sh
# SPDX-License-Identifier: MIT
# run_fuzz.sh BUILD SECONDS: runs every fuzz target for SECONDS, starting from tests/hostile and
# from what earlier runs found. A finding stays in BUILD/found as a file that replays it.
set -u
build=$1 seconds=$2
passed=0 failed=0
mkdir -p "$build/found"
for target in "$build"/fuzz/fuzz_*; do
    name=$(basename "$target")
    corpus=$build/corpus/$name
    mkdir -p "$corpus"
    echo "$name: $seconds s"
    if "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$build/found/$name-" \
        "$corpus" tests/hostile > "$build/$name.log" 2>&1; then
        grep -E 'executed_units|peak_rss' "$build/$name.log"
        passed=$((passed + 1))
    else
        tail -n 60 "$build/$name.log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
