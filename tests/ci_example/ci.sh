#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What CI runs for the driver (docs/ci.md): builds it, boots a guest with the lab, loads it, starts its
# user and proves what they share. Exit code: that of pageproof; build/junit.xml is for the server.
#
#   ci.sh                       sound
#   ci.sh careless private      with a bug, to see it red: a parameter of the driver, a word for its user
#
# KERNEL: one of `pageproof lab list`. OUT: where everything goes.

set -euo pipefail
cd "$(dirname "$0")"

kernel=${KERNEL:-6.12}
out=${OUT:-$PWD/build}
name=ci-$$
parameter=${1:+$1=1}

guest() { pageproof lab exec --name "$name" -- "$@"; }
put() { pageproof lab exec -i --name "$name" -- sh -c "cat > $2 && chmod +x $2" < "$1"; }

pageproof lab make --kernel "$kernel" -o "$out" .
trap 'pageproof lab down --name "$name"' EXIT
up=$(pageproof lab up --name "$name" --kernel "$kernel" --no-load)
socket=$(sed -n 's/^verify from outside: .*--qemu \([^ ]*\) .*/\1/p' <<< "$up")

put "$out/ring.ko" /run/ring.ko
put "$out/ring_user" /run/ring_user
guest insmod /run/ring.ko ${parameter:+"$parameter"}
# A program that stays has to let go of what the lab listens to.
guest sh -c "/run/ring_user ${2:-} > /run/ring_user.log 2>&1 < /dev/null &"
guest timeout 60 sh -c 'until grep ready /run/ring_user.log; do sleep 0.1; done'

verify() {
	pageproof --qemu "$socket" -s "$out/ring.ko" verify --device /dev/ring \
		--kernel 'cast("struct ring_ctx *", file.private_data).ring' --length 16384 "$@"
}
# For people, in the log; for diff with a later run; for the server.
verify || true
verify --format json -o "$out/report.json" || true
verify --format junit -o "$out/junit.xml"
