#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes shared memory and frees it, repeatedly, until the file STOP exists:
#
#   churn.sh STOP PROGRAM [WORD...]
#
# PROGRAM OUTPUT WORD... writes to OUTPUT when the memory is made.

stop=$1
program=$2
shift 2
output=$stop.$$
while [ ! -e "$stop" ]; do
	rm -f "$output"
	setsid "/opt/pageproof/vm/$program" "$output" "$@" &
	while [ ! -s "$output" ] && [ ! -e "$stop" ]; do
		sleep 0.02
	done
	sleep 0.5
	kill -s KILL -- "-$!"
	wait
done
