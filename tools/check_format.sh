#!/bin/sh
# SPDX-License-Identifier: MIT
# check_format.sh [-i]: all C stands as clang-format 14 would write it. Names the files that do
# not; with -i it writes them anew.
set -u
files=$(find include src cli tests fuzz bench examples -name '*.[ch]' 2> /dev/null | sort)
if [ "${1-}" = -i ]; then
    exec clang-format-14 --style=file -i $files
fi
status=0
for file in $files; do
    clang-format-14 --style=file "$file" | cmp -s - "$file" || {
        echo "$file: not formatted (make format)"
        status=1
    }
done
exit $status
