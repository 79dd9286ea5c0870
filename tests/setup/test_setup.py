# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of setup/setup.sh: the real script, dpkg and pip, in a small clone of their own.

The clone's only requirement is a wheel that the tests make. pip finds it through its own
configuration, so no test needs the network.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from wheels import make_wheel

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = "65534"
NO_SUCH_PACKAGE = "pageproof-no-such-package"


@dataclass
class Clone:
    """A small clone: the set-up script, a package that prints its own path, one requirement."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.path / "my cache" / "pageproof"

    def command(self, *arguments: str) -> list[str]:
        return [str(self.path / "setup" / "setup.sh"), *arguments]

    def run(self, *arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the script, `under` another command if given; return its result and output."""
        command = [*under, *self.command(*arguments)]
        return subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, text=True, capture_output=True
        )

    def require(self, digest: str) -> None:
        """Make the wheel with this SHA-256 the clone's requirement."""
        text = f"little==1.0 --hash=sha256:{digest}\n"
        (self.path / "setup" / "requirements-dev.txt").write_text(text)

    def venvs(self) -> list[Path]:
        return sorted(self.cache.glob("venv-*"))


def make_little(folder: Path) -> str:
    """Make the wheel of a package "little"; return its SHA-256."""
    wheel = make_wheel(folder, "little", "1.0", {"little.py": "answer = 42\n"})
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def make_clone() -> Clone:
    # Not tmp_path: other users cannot read it, and one test runs as another user.
    path = Path(tempfile.mkdtemp(prefix="pageproof-setup-"))
    path.chmod(0o755)
    shutil.copytree(REPOSITORY / "setup", path / "setup")
    package = path / "drgn_scripts" / "pageproof"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import little, sys\nprint(__file__, little.answer, *sys.argv[1:])\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "XDG_CACHE_HOME": str(path / "my cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(path),
    }
    made = Clone(path, environment)
    made.require(make_little(path))
    return made


@pytest.fixture
def clone() -> Iterator[Clone]:
    made = make_clone()
    yield made
    shutil.rmtree(made.path)


@pytest.fixture(scope="session")
def first() -> Iterator[Clone]:
    """A clone that is set up. Its environment does not depend on its path."""
    made = make_clone()
    done = made.run()
    assert done.returncode == 0, done.stderr
    yield made
    shutil.rmtree(made.path)


@pytest.fixture
def another(clone: Clone, first: Clone) -> Clone:
    """Another clone with the same requirements, and with a copy of the first one's cache."""
    shutil.copytree(first.cache, clone.cache, symlinks=True)
    shutil.copy(first.path / "setup" / "requirements-dev.txt", clone.path / "setup")
    for wheel in first.path.glob("*.whl"):
        shutil.copy(wheel, clone.path)
    return clone


def without_root(path: Path) -> tuple[str, ...]:
    """Return a command that runs another without root and sudo, also if the tests run as root."""
    if os.geteuid() == 0:
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    return ("setpriv", "--no-new-privs", "--")


def without_network() -> tuple[str, ...]:
    return ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")


def test_without_root_lists_what_is_missing_and_how_to_get_it(clone: Clone) -> None:
    packages = clone.path / "packages"
    packages.write_text(f"# why\ncoreutils  base  there\n{NO_SUCH_PACKAGE}  base  not there\n")
    done = clone.run("--packages", str(packages), under=without_root(clone.path))
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert NO_SUCH_PACKAGE in lines
    assert f"apt-get install --no-install-recommends {NO_SUCH_PACKAGE}" in lines
    assert "coreutils" not in done.stderr
    assert not (clone.path / "build").exists()


def test_only_the_groups_asked_for_count(another: Clone) -> None:
    packages = another.path / "packages"
    packages.write_text(f"coreutils  base  there\n{NO_SUCH_PACKAGE}  lint  not there\n")
    missing = another.run(
        "--packages", str(packages), "base", "lint", under=without_root(another.path)
    )
    assert missing.returncode == 2
    done = another.run("--packages", str(packages), "base")
    assert done.returncode == 0, done.stderr


def test_makes_a_command_that_runs_this_clone(first: Clone) -> None:
    command = first.path / "build" / "bin" / "pageproof"
    # From elsewhere and with nothing in the environment, as under sudo.
    said = subprocess.run(
        [command, "a  b"], cwd="/", env={}, check=True, capture_output=True, text=True
    ).stdout
    assert said == f"{first.path}/drgn_scripts/pageproof/__main__.py 42 a  b\n"
    assert [first.path / "build" / "venv"] == [
        link for link in (first.path / "build").iterdir() if link.is_symlink()
    ]


def test_second_run_is_silent_runs_no_pip_and_needs_no_network(another: Clone) -> None:
    assert another.run().returncode == 0
    another.environment["PIP_FIND_LINKS"] = "/nowhere"
    (venv,) = another.venvs()
    python, was_run = venv / "bin" / "python", another.path / "was-run"
    python.unlink()
    python.write_text(f"#!/bin/sh\necho \"$@\" >> '{was_run}'\nexit 1\n")
    python.chmod(0o755)
    done = another.run(under=without_network())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not was_run.exists(), was_run.read_text()


def test_a_half_made_environment_is_made_again(another: Clone) -> None:
    assert another.run().returncode == 0
    (venv,) = another.venvs()
    (venv / ".complete").unlink()
    (venv / "bin" / "python").unlink()
    done = another.run()
    assert done.returncode == 0, done.stderr
    assert another.venvs() == [venv]
    assert (venv / ".complete").exists()
    assert (venv / "bin" / "python").exists()


def test_a_wrong_hash_is_refused_and_leaves_nothing_complete(clone: Clone) -> None:
    clone.require("0" * 64)
    done = clone.run()
    assert done.returncode == 2
    assert "setup: pip could not install the pinned requirements" in done.stderr
    assert not any((venv / ".complete").exists() for venv in clone.venvs())


def test_new_requirements_get_a_new_environment(another: Clone) -> None:
    assert another.run().returncode == 0
    with (another.path / "setup" / "requirements-dev.txt").open("a") as requirements:
        requirements.write("# changed\n")
    assert another.run().returncode == 0
    assert len(another.venvs()) == 2
    linked = (another.path / "build" / "venv").resolve()
    assert linked in another.venvs()
    assert str(linked) in (another.path / "build" / "bin" / "pageproof").read_text().replace(
        "\\", ""
    )


def test_two_at_once_make_one_environment(clone: Clone) -> None:
    both = [
        subprocess.Popen(clone.command(), env=clone.environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=600)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("making the virtual environment" in text for text in said) == 1


def test_a_build_folder_of_someone_else_is_named(clone: Clone) -> None:
    if os.geteuid() != 0:
        (clone.path / "build").mkdir(mode=0o555)
    else:
        (clone.path / "build").mkdir(mode=0o755)
        (clone.path / "my cache").mkdir()
        shutil.chown(clone.path / "my cache", int(NOBODY), int(NOBODY))
    packages = clone.path / "packages"
    packages.write_text("coreutils  base  there\n")
    done = clone.run("--packages", str(packages), under=without_root(clone.path))
    assert done.returncode == 2
    assert f"cannot write to {clone.path}/build" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--packages"], ["--package", "x"], ["--packages", "/no/such/list"]]
)
def test_wrong_usage(clone: Clone, arguments: list[str]) -> None:
    done = clone.run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("setup: ")


def test_the_list_of_packages_is_well_formed() -> None:
    rows = [
        line.split(maxsplit=2)
        for line in (REPOSITORY / "setup" / "apt-packages.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rows
    for row in rows:
        assert len(row) == 3, f"name, group, why: {row}"
        assert row[1] in ("base", "lint", "fuzz"), row
    names = [row[0] for row in rows]
    assert len(names) == len(set(names))
