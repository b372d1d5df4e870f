#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh BUILD WORK: installs BUILD to a DESTDIR under WORK, then builds and runs every project
# of this folder against what was installed. Prints TAP.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
rm -rf "$2"
mkdir -p "$2"
work=$(cd "$2" && pwd)
cmake=${CMAKE:-cmake}
count=0 failed=0

try() { # name, command: one line of TAP; the output only when it fails
    name=$1
    shift
    count=$((count + 1))
    if "$@" > "$work/log" 2>&1; then
        echo "ok $count - $name"
    else
        sed 's/^/# /' "$work/log"
        echo "not ok $count - $name"
        failed=1
    fi
}

cmake_project() { # name, options
    project=$1
    shift
    "$cmake" -S "$here/$project" -B "$work/$project" -DCMAKE_BUILD_TYPE=Release "$@" &&
        "$cmake" --build "$work/$project"
}

try "install to DESTDIR" env DESTDIR="$work/stage" "$cmake" --install "$build"
pc=$(find "$work/stage" -name attn.pc)
lib=$(dirname "$(dirname "$pc")")
prefix=$(dirname "$(find "$work/stage" -type d -name bin)")
mv "$prefix" "$work/moved" # nothing installed may depend on where it was installed to
lib=$work/moved${lib#"$prefix"}
export PKG_CONFIG_PATH="$lib/pkgconfig" LD_LIBRARY_PATH="$lib"

try "installed: command" "$work/moved/bin/attn" version
try "installed: man page" grep -q '^\.Sh SYNOPSIS' "$work/moved/share/man/man1/attn.1"
try "installed: bash completion" bash -n "$work/moved/share/bash-completion/completions/attn"
try "pkg-config: version" pkg-config --exact-version="$("$work/moved/bin/attn" version |
    grep -o '[0-9][0-9.]*' | head -n 1)" attn

mkdir "$work/pkgconfig"
try "pkg-config: build" make -C "$here/pkgconfig" OUT="$work/pkgconfig"
for program in shared static cxx; do
    try "pkg-config: $program" "$work/pkgconfig/$program"
done
try "find_package: build" cmake_project package -DCMAKE_PREFIX_PATH="$work/moved"
for program in shared static cxx; do
    try "find_package: $program" "$work/package/$program"
done
unset LD_LIBRARY_PATH
try "add_subdirectory: build" cmake_project subdirectory -DATTN_DIR="$here/../.."
for program in shared static; do
    try "add_subdirectory: $program" "$work/subdirectory/$program"
done
echo "1..$count"
exit $failed
