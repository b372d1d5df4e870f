#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header compiles alone as C11 and as C++17, each room's door alone as C11.
set -u
flags="-Wall -Wextra -pedantic -Wconversion -Werror -fsyntax-only -Iinclude"
status=0
try() { # header, compiler and its flags
    header=$1
    shift
    printf '#include "%s"\n' "$header" | "$@" $flags - || { echo "$header: $*"; status=1; }
}
for path in include/attn.h include/attn/*.h; do
    header=${path#include/}
    try "$header" gcc -std=c11 -x c
    try "$header" clang-14 -std=c11 -x c
    try "$header" g++ -std=c++17 -x c++
    try "$header" clang++-14 -std=c++17 -x c++
done
for door in src/*/; do
    room=$(basename "$door")
    [ ! -f "$door$room.h" ] || try "$room/$room.h" gcc -std=c11 -Isrc -x c
done
exit $status
