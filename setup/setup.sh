#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# setup.sh [--packages FILE] [--mutation] [GROUP...]: installs what this clone needs, if anything is
# missing.
#
#   1. Debian packages: those of FILE (setup/apt-packages.txt) in the groups named (base).
#   2. A virtual environment with the pinned requirements, in the cache outside the clone. It has
#      no part of the clone in it, so that all clones with the same requirements share it.
#   3. In the clone: build/venv, a link to it, and build/bin/pageproof, the clone's own command.
#      With --mutation only build/venv-mutation, a link to another environment, for make mutants.
#
# If nothing is missing it takes a fraction of a second and does not use the network.
# apt's and pip's own configuration (mirror, proxy, certificates) is used as it is.
# Exit: 0 nothing is missing; 2 something could not be installed, or wrong usage.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:?setup needs HOME or XDG_CACHE_HOME}/.cache}/pageproof
packages_file=$root/setup/apt-packages.txt
requirements=$root/setup/requirements-dev.txt
link="venv"
python=/usr/bin/python3
oldest_python=3.11

say() {
	printf 'setup: %s\n' "$*" >&2
}

die() {
	say "$@"
	exit 2
}

# One set-up per cache at a time. The lock ends with the process.
lock() {
	[[ -z ${locked-} ]] || return 0
	mkdir -p "$cache" || die "cannot make the cache directory $cache"
	exec {locked}>"$cache/setup.lock"
	flock --nonblock "$locked" || {
		say "waiting for another set-up to finish"
		flock "$locked"
	}
}

# missing_packages GROUP...: prints the packages of these groups that are not installed.
missing_packages() {
	local wanted installed
	wanted=$(awk -v groups=" $* " \
		'!/^ *(#|$)/ && index(groups, " " $2 " ") { print $1 }' "$packages_file" | sort -u)
	# shellcheck disable=SC2086 # names have no blanks; dpkg-query fails for unknown ones
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
		sed -n 's/^installed //p' | sort -u) || true
	comm -23 <(printf '%s\n' "$wanted") <(printf '%s\n' "$installed")
}

# as_root COMMAND...: runs it as root; fails if sudo needs a password and there is no terminal.
as_root() {
	if ((EUID == 0)); then
		"$@"
	elif [[ -t 0 ]]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

can_be_root() {
	((EUID == 0)) && return
	command -v sudo >/dev/null || return
	[[ -t 0 ]] || sudo -n true 2>/dev/null
}

# install_packages NAME...: updates apt's lists only if the installation needs it.
install_packages() {
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
	local install=(install --yes --no-install-recommends "$@")
	local updated=

	[[ -t 1 ]] || apt+=(-q -o Dpkg::Use-Pty=0)
	say "installing Debian packages: $*"
	if ! apt-get --simulate -qq "${install[@]}" >/dev/null 2>&1; then
		say "running apt-get update first: apt's lists are missing or too old"
		as_root "${apt[@]}" update || return
		updated=1
	fi
	as_root "${apt[@]}" "${install[@]}" && return
	[[ -z $updated ]] || return
	say "the installation failed; trying again after apt-get update"
	as_root "${apt[@]}" update && as_root "${apt[@]}" "${install[@]}"
}

ensure_packages() {
	local missing
	mapfile -t missing < <(missing_packages "$@")
	((${#missing[@]})) || return 0
	if ! can_be_root; then
		say "these Debian packages are missing, and neither root nor sudo is available:"
		printf '    %s\n' "${missing[@]}" >&2
		say "install them as root, then run this again:"
		printf '    apt-get install --no-install-recommends %s\n' "${missing[*]}" >&2
		exit 2
	fi
	lock
	# Another set-up may have installed them in the meantime.
	mapfile -t missing < <(missing_packages "$@")
	((${#missing[@]})) || return 0
	install_packages "${missing[@]}" >&2 || die "apt-get could not install: ${missing[*]}"
}

# Sets venv to the path of the environment for the requirements and this Python.
name_venv() {
	local version key
	version=$("$python" -c 'import sys; print(*sys.version_info[:3], sep=".")')
	[[ $(printf '%s\n' "$oldest_python" "$version" | sort -V | head -n 1) == "$oldest_python" ]] ||
		die "$python is Python $version; pageproof needs $oldest_python (Debian 12) or newer"
	key=$({ echo "$version $python"; cat "$requirements"; } | sha256sum)
	venv=$cache/venv-${key:0:16}
}

# The file .complete is written last; an environment without it is not complete.
make_venv() {
	say "making the virtual environment $venv"
	rm -rf -- "$venv"
	"$python" -m venv "$venv" || die "$python -m venv failed"
	"$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes \
		--only-binary :all: --requirement "$requirements" >&2 ||
		die "pip could not install the pinned requirements (see above)"
	touch "$venv/.complete"
}

# put FILE MODE: replaces FILE by standard input, atomically and only if it differs.
put() {
	local new=$1.$$
	cat >"$new"
	chmod "$2" "$new"
	if cmp -s "$new" "$1"; then rm "$new"; else mv -f "$new" "$1"; fi
}

link_clone() {
	mkdir -p "$root/build/bin" 2>/dev/null || true
	if ! [[ -w $root/build && -w $root/build/bin ]]; then
		die "cannot write to $root/build: if make was run as root here, remove it"
	fi
	if [[ $(readlink "$root/build/$link") != "$venv" ]]; then
		ln -sfn "$venv" "$root/build/$link.$$"
		mv -fT "$root/build/$link.$$" "$root/build/$link"
	fi
	[[ $link == venv ]] || return 0
	put "$root/build/bin/pageproof" 755 <<-EOF
		#!/bin/bash
		# Made by setup/setup.sh: runs this clone's pageproof, from anywhere and under sudo too.
		export PYTHONPATH=$(printf %q "$root/drgn_scripts:$root/kdump:$root/lab:$root/build/lib")\${PYTHONPATH:+:\$PYTHONPATH}
		exec $(printf %q "$venv/bin/python") -m pageproof "\$@"
	EOF
}

main() {
	while [[ ${1-} == -* ]]; do
		if [[ $1 == --mutation ]]; then
			requirements=$root/setup/requirements-mutation.txt
			link="venv-mutation"
		elif [[ $1 == --packages && $# -ge 2 ]]; then
			packages_file=$2
			shift
		else
			die "usage: setup.sh [--packages FILE] [--mutation] [GROUP...]"
		fi
		shift
	done
	[[ -r $packages_file ]] || die "cannot read the list of packages $packages_file"
	if ! { command -v dpkg-query && command -v apt-get; } >/dev/null; then
		die "this is not Debian: install the equivalents of $packages_file yourself"
	fi
	(($#)) || set -- base

	ensure_packages "$@"
	name_venv
	if [[ ! -e $venv/.complete ]]; then
		lock
		[[ -e $venv/.complete ]] || make_venv
	fi
	link_clone
}

main "$@"
