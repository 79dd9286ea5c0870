#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fresh-chroot.sh [--user] DIST TARGET... [VARIABLE=VALUE...]: the acceptance test's clean machine.
#
# Makes a minimal Debian (bookworm or trixie) with only git, make and certificates, clones the
# committed state of this repository into it, and runs `make TARGET` there for each target, first
# with the network and then offline. Runs as root; --user runs as a user with sudo rights. Prints
# the seconds of each run and the size of the cache. Removes the tree at the end; KEEP=1 keeps it
# for inspection.
#
# Needs root, to mount. Mounts and processes have namespaces of their own, so the kernel cleans up
# both, however this script ends. The tree is entered with pivot_root: in a chroot the kernel
# refuses user namespaces, which builds without root need. The tree gets the archive, proxy
# and certificates of this machine's apt and pip.
# Exit: 0 success; 1 a make failed; 2 wrong usage, or the fresh Debian could not be made.

set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd -P)

say() {
	printf '== %s\n' "$*" >&2
}

die() {
	say "$@"
	exit 2
}

# Prints the apt sources for a distribution: from the archives that this machine's apt uses.
sources() {
	local dist=$1 release uri main='' security=''
	# shellcheck disable=SC2016 # apt's variables, not the shell's
	local columns='$(RELEASE) $(REPO_URI)'
	while read -r release uri; do
		case $release in
		*-security) security=${security:-$uri} ;;
		*) main=${main:-$uri} ;;
		esac
	done < <(apt-get indextargets --format "$columns" \
		'Created-By: Packages' 'Origin: Debian' | sort -u)
	[[ -n $main ]] || die "apt's sources on this machine name no Debian archive"
	echo "deb $main $dist main"
	echo "deb $main $dist-updates main"
	[[ -z $security ]] || echo "deb $security $dist-security main"
}

# Prints how this machine's apt reaches its archive: proxies, certificates, checks of dates.
apt_access() {
	apt-config dump | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv)' | grep -v '"";$' || true
}

# make_tree DIST TREE MORE: MORE are further packages, each preceded by a comma.
make_tree() {
	local dist=$1 tree=$2 file
	apt_access >"$tree.apt"
	say "making a minimal Debian $dist"
	sources "$dist" | mmdebstrap --quiet --mode=root --variant=minbase \
		--include="git,make,ca-certificates$3" --aptopt="$tree.apt" "$dist" "$tree" - ||
		die "mmdebstrap failed"

	cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
	[[ ! -e /etc/pip.conf ]] || cp -L /etc/pip.conf "$tree/etc/"
	for file in /usr/local/share/ca-certificates/*.crt; do
		[[ ! -e $file ]] || cp -L "$file" "$tree$file"
	done
	git -C "$root" bundle create --quiet "$tree/pageproof.bundle" HEAD
}

# Runs a command in the tree. Uses the arrays and tree of its caller, inside().
enter() {
	# shellcheck disable=SC2016 # for the inner shell
	"${network[@]}" unshare --mount --propagation private bash -c \
		'cd "$0" && pivot_root . mnt && cd / && umount -l mnt && exec "$@"' "$tree" \
		"${as[@]}" env -i "${environment[@]}" "$@"
}

# Prints the variables of this machine that commands in the tree get: how to reach the network.
handed_in() {
	local name
	for name in $(compgen -e); do
		case ${name,,} in
		pip_find_links) ;; # a folder of this machine
		term | ci | v | *_proxy | pip_* | ssl_cert_* | *_ca_bundle) echo "$name=${!name}" ;;
		esac
	done
}

mount_tree() {
	local node
	mount --bind "$tree" "$tree"
	mount -t proc proc "$tree/proc"
	mount -t sysfs -o ro sys "$tree/sys"
	mount -t tmpfs -o mode=755 dev "$tree/dev"
	mkdir "$tree/dev/pts" "$tree/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$tree/dev/pts"
	mount -t tmpfs -o mode=1777 shm "$tree/dev/shm"
	ln -s pts/ptmx "$tree/dev/ptmx"
	ln -s /proc/self/fd "$tree/dev/fd"
	for node in null zero full random urandom tty kvm; do
		[[ -e /dev/$node ]] || continue
		touch "$tree/dev/$node"
		mount --bind "/dev/$node" "$tree/dev/$node"
	done
}

# inside USER TREE ARGUMENT...: the part that runs in the namespaces.
inside() {
	local user=$1 tree=$2 home=/root network=() as=() environment variables=() targets=()
	local how target start word
	shift 2
	for word in "$@"; do
		if [[ $word == *=* ]]; then variables+=("$word"); else targets+=("$word"); fi
	done

	mount_tree
	environment=(PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
	mapfile -t -O "${#environment[@]}" environment < <(handed_in)
	enter update-ca-certificates >/dev/null
	if [[ $user != root ]]; then
		enter useradd --create-home --shell /bin/bash "$user"
		echo "$user ALL=(ALL) NOPASSWD: ALL" >"$tree/etc/sudoers.d/$user"
		as=(setpriv "--reuid=$user" "--regid=$user" --init-groups --)
		home=/home/$user
	fi
	environment+=("HOME=$home" "USER=$user")
	enter git -c init.defaultBranch=main -c advice.detachedHead=false \
		clone --quiet /pageproof.bundle "$home/pageproof"

	for how in "with the network" "with the network cut"; do
		if [[ $how == *cut ]]; then
			# Leaves only the loopback interface, as on a machine without a cable.
			# shellcheck disable=SC2016
			network=(unshare --net bash -c 'ip link set lo up && exec "$@"' -)
		fi
		for target in "${targets[@]}"; do
			say "make $target ${variables[*]}, as $user, $how"
			start=$SECONDS
			if ! enter make --no-print-directory -C "$home/pageproof" \
				"$target" "${variables[@]}"; then
				say "make $target, as $user, $how: FAILED after $((SECONDS - start)) s"
				return 1
			fi
			say "make $target, as $user, $how: ok, $((SECONDS - start)) s"
		done
	done
	say "size of the cache and its parts:"
	du -sch "$tree$home/.cache/pageproof"/* | sed "s#$tree$home/.cache/pageproof/##" >&2
}

main() {
	local user=root dist place tree
	if [[ ${1-} == --user ]]; then
		user=somebody
		shift
	fi
	dist=${1-}
	[[ $dist =~ ^[a-z]+$ && $# -ge 2 ]] ||
		die "usage: fresh-chroot.sh [--user] bookworm|trixie TARGET... [VARIABLE=VALUE...]"
	shift
	((EUID == 0)) || die "this script needs root, to mount file systems"
	command -v mmdebstrap ip >/dev/null || die "install mmdebstrap and iproute2 first"

	place=$(mktemp -d "${TMPDIR:-/var/tmp}/pageproof-$dist.XXXXXX")
	tree=$place/root
	# shellcheck disable=SC2064 # expand place now
	if [[ ${KEEP-} == 1 ]]; then
		trap "say kept: $(printf %q "$place")" EXIT
	else
		trap "rm -rf --one-file-system -- $(printf %q "$place")" EXIT
	fi
	make_tree "$dist" "$tree" "$([[ $user == root ]] || echo ,sudo)"
	setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child \
		"$0" --inside "$user" "$tree" "$@" || exit 1
}

if [[ ${1-} == --inside ]]; then
	shift
	inside "$@"
else
	main "$@"
fi
