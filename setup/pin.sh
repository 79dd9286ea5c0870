#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Writes setup/requirements.txt (what pageproof itself needs; the lab's guests get the same),
# setup/requirements-dev.txt (tests and lint too) and setup/requirements-mutation.txt (make mutants)
# from pyproject.toml: the newest versions on the package index, for every Python from 3.11, with
# the hashes of all their files.
# For maintainers, after a change of pyproject.toml or to update the versions.

set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
/usr/bin/python3 -m venv "$tool"
"$tool/bin/pip" install --quiet uv

compile() {
	"$tool/bin/uv" pip compile pyproject.toml --quiet --universal --upgrade \
		--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make pins" "$@"
}

compile --output-file setup/requirements.txt
compile --extra test --extra lint --constraint setup/requirements.txt \
	--output-file setup/requirements-dev.txt
compile --extra test --extra mutation --constraint setup/requirements-dev.txt \
	--output-file setup/requirements-mutation.txt
