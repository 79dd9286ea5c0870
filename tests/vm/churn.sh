#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes shared memory and throws it away, over and over, until STOP is there:
#
#   churn.sh STOP PROGRAM [WORD...]
#
# PROGRAM OUTPUT WORD... says in OUTPUT that all is made.

stop=$1
program=$2
shift 2
output=$stop.$$
while [ ! -e "$stop" ]; do
	rm -f "$output"
	setsid "/opt/pageproof/vm/$program" "$output" "$@" &
	while [ ! -s "$output" ]; do
		sleep 0.02
	done
	sleep 0.5
	kill -s KILL -- "-$!"
	wait
done
