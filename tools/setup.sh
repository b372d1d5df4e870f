#!/bin/sh
# SPDX-License-Identifier: MIT
# setup.sh TARGET: sees to it that what `make TARGET` needs is on this machine. On Debian and
# Ubuntu the missing packages are installed, as root or by a sudo that asks nothing; otherwise
# one line names them. Quick when nothing is missing: one call of dpkg-query.
set -eu

run="gcc libc6-dev make cmake pkg-config"
test="$run g++ clang-14 clang-format-14 libcmocka-dev zlib1g-dev python3 python3-numpy"
test="$test valgrind"
sanitize="$test llvm-14 libclang-rt-14-dev libc6-dbg"
fuzz="$run clang-14 llvm-14 libclang-rt-14-dev python3"
qemu="$test qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
format="clang-format-14 python3"
tidy="$test clang-tidy-14"

say() { echo "setup: $*" >&2; }

case ${1-} in
run | test | sanitize | fuzz | qemu | format | tidy) eval "packages=\$$1" ;;
*) say "usage: setup.sh run|test|sanitize|fuzz|qemu|format|tidy"; exit 2 ;;
esac

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    for tool in cc make cmake; do
        command -v $tool > /dev/null || { say "please install $tool (and: $packages)"; exit 1; }
    done
    exit 0
fi

have=$(dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' $packages 2> /dev/null |
    sed -n 's/\(:[a-z0-9]*\)\{0,1\} installed$//p') || true
missing=
for package in $packages; do
    case "
$have
" in *"
$package
"*) ;; *) missing="$missing $package" ;; esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    sudo="sudo -n"
    $sudo true 2> /dev/null || { say "please install:$missing"; exit 1; }
fi
say "installing$missing"
install() {
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends $missing > "$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install; then # the lists may be absent or old
    $sudo apt-get update -q >> "$log" 2>&1 && install || {
        tail -n 5 "$log" >&2
        say "apt-get could not install:$missing"
        exit 1
    }
fi
