#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What CI runs for the driver (docs/ci.md): build it, boot a guest with the lab, load the driver, start
# its program and verify the memory they share. The exit code is pageproof's; build/junit.xml is for
# the CI server.
#
#   ci.sh                       the sound driver
#   ci.sh careless private      with a bug, to see CI fail: a parameter of the driver, a word for its program
#
# KERNEL: one of `pageproof lab list`. OUT: directory for all output.

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
# A background program must not keep the pipes of `lab exec` open.
guest sh -c "/run/ring_user ${2:-} > /run/ring_user.log 2>&1 < /dev/null &"
guest timeout 60 sh -c 'until grep ready /run/ring_user.log; do sleep 0.1; done'

verify() {
	pageproof --qemu "$socket" -s "$out/ring.ko" verify --device /dev/ring \
		--kernel 'cast("struct ring_ctx *", file.private_data).ring' --length 16384 "$@"
}
# Text for the log, JSON for a later diff, JUnit for the server.
verify || true
verify --format json -o "$out/report.json" || true
verify --format junit -o "$out/junit.xml"
