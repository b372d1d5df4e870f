#!/bin/sh
# SPDX-License-Identifier: MIT
# fetch_cmocka_arm64.sh DIR: unpacks Debian's (Ubuntu's) cmocka for ARM64 into DIR, for the cross
# built tests. apt works in a private state under DIR, so this machine's packages, lists and
# architectures stay as they are, and root is not needed.
set -eu
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ ! -f "$dir/usr/include/cmocka.h" ] || exit 0

state=$dir/apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
apt_get() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
        -o Dir::State="$state" -o Dir::State::lists="$state/lists" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}
cd "$state"
{ apt_get update && apt_get download libcmocka0:arm64 libcmocka-dev:arm64; } > log 2>&1 || {
    tail -n 5 log >&2
    echo "setup: cmocka for ARM64 could not be fetched" >&2
    exit 1
}
for package in *.deb; do
    dpkg -x "$package" "$dir"
done
rm -rf "$state"
