#!/bin/sh
# SPDX-License-Identifier: MIT
# check_symbols.sh BUILD: libattn.so shows exactly the functions the headers declare; every name
# of libattn.a begins with attn_; nothing in it is weak, because the linker may bind a weak name
# to a copy that was compiled for another CPU.
set -eu
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
problem() { # title, file of lines
    [ ! -s "$2" ] || { sed "s|^|$1: |" "$2"; status=1; }
}

cat include/attn.h include/attn/*.h | grep -v '^#' | tr '\n' ' ' | grep -o 'ATTN_API [^;(]*(' |
    sed 's/.*[ *]\(attn_[a-z0-9_]*\)($/\1/' | sort > "$work/declared"
nm -D --defined-only "$build/libattn.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' |
    sort > "$work/shown"
nm -g --defined-only "$build/libattn.a" | awk 'NF == 3 { print $2, $3 }' > "$work/archive"
[ -s "$work/declared" ] && [ -s "$work/shown" ] && [ -s "$work/archive" ] || {
    echo "no symbols were found"
    exit 1
}

comm -23 "$work/declared" "$work/shown" > "$work/absent"
problem "declared, but not in libattn.so" "$work/absent"
comm -13 "$work/declared" "$work/shown" > "$work/extra"
problem "in libattn.so, but not declared" "$work/extra"
awk '$2 !~ /^attn_/ { print $2 }' "$work/archive" > "$work/foreign"
problem "libattn.a: not an attn_ name" "$work/foreign"
awk '$1 ~ /[WVu]/ { print $2 }' "$work/archive" > "$work/weak"
problem "libattn.a: weak" "$work/weak"
objdump -p "$build/libattn.so" | grep -q 'SONAME *libattn\.so\.0$' || {
    echo "libattn.so: SONAME is not libattn.so.0"
    status=1
}
exit $status
