#!/bin/sh
# SPDX-License-Identifier: MIT
# build.sh DIR [CMake options]: configures the tree into DIR and builds it. Says little when all
# is well, shows the compiler's warnings in any case, and keeps everything in DIR/build.log.
# `make` calls it; CMAKE and JOBS come from there.
set -eu
dir=$1
shift
mkdir -p "$dir"
log=$dir/build.log
echo "building $dir"
if "$CMAKE" -S . -B "$dir" "$@" > "$log" 2>&1 &&
    "$CMAKE" --build "$dir" -j "$JOBS" >> "$log" 2>&1; then
    grep -A3 'warning:' "$log" >&2 || true
else
    grep -v '^\[ *[0-9]*%\]' "$log" | tail -n 60 >&2
    echo "building $dir failed; all of it is in $log" >&2
    exit 1
fi
