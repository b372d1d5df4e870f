#!/bin/sh
# SPDX-License-Identifier: MIT
# check_calls.sh BUILD: the library (built without assertions) never prints, ends the program,
# asks for a locale or a random number, and holds no variable: .data, .bss and thread-locals of
# every object are empty.
set -eu
lib=$1/libattn.a
status=0

forbidden='^_*(v?f?printf(_chk)?|v?dprintf(_chk)?|puts|fputs|fputc|putchar|putc|perror|psignal'
forbidden="$forbidden|stdout|stderr|stdin|abort|exit|_exit|_Exit|quick_exit|assert_fail|assert"
forbidden="$forbidden|system|popen|rand|srand|random|setlocale|strtok|gets|getc|raise)\$"
calls=$(nm -u "$lib" | awk '$1 == "U" { print $2 }' | sed 's/@.*//' | sort -u)
[ -n "$calls" ] || { echo "no symbols were found in $lib"; exit 1; }
bad=$(echo "$calls" | grep -E "$forbidden") && {
    echo "$bad" | sed "s|^|libattn.a calls |"
    status=1
}
bad=$(size -A "$lib" | awk '/^[^ ]+\.o/ { object = $1 }
    $1 ~ /^\.(data|bss|tdata|tbss)$/ && $2 > 0 { print object ": " $2 " bytes in " $1 }')
[ -z "$bad" ] || { echo "$bad"; status=1; }
exit $status
