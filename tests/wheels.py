# SPDX-License-Identifier: GPL-2.0-or-later
"""Make and install wheels for tests. `pip wheel` would download a build backend."""

import base64
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from machine import PYTHONPATH, ROOT


def entry_points(project: Path) -> str:
    """Return the entry_points.txt of a wheel for a ``pyproject.toml``."""
    groups = tomllib.loads(project.read_text())["project"]["entry-points"]
    return "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in some.items())
        for group, some in groups.items()
    )


def install(folder: Path, wheel: Path) -> dict[str, str]:
    """Install a wheel beside this clone.

    Returns:
        The environment in which Python finds it.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder), str(wheel)], check=True)
    return {"PYTHONPATH": f"{PYTHONPATH}:{folder}"}


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    entry_points: str = "",
) -> Path:
    """Pack files into a wheel ("Binary distribution format" of packaging.python.org).

    Args:
        folder: directory for the wheel.
        name: name of the distribution.
        version: its version.
        files: name -> content.
        entry_points: content of entry_points.txt.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    content: dict[str, str | bytes] = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Generator: test\nTag: py3-none-any\n",
    }
    if entry_points:
        content[f"{info}/entry_points.txt"] = entry_points
    record = ""
    for path, text in content.items():
        data = text if isinstance(text, bytes) else text.encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
        record += f"{path},sha256={digest.decode().rstrip('=')},{len(data)}\n"
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def wheel_of_this_clone(folder: Path) -> Path:
    """Pack pageproof as pip would install it: its packages, and the engine that was built."""
    packages = ROOT / "drgn_scripts/pageproof", ROOT / "kdump/pageproof_kdump"
    files: dict[str, str | bytes] = {
        f"{package.name}/{path.relative_to(package)}": path.read_bytes()
        for package in packages
        for path in package.rglob("*")
        if path.suffix in (".py", ".json", ".typed") or path.name == "init"
    }
    for engine in (ROOT / "build/lib").glob("*.so"):
        files[engine.name] = engine.read_bytes()
    return make_wheel(folder, "pageproof", "0.1.0", files, entry_points(ROOT / "pyproject.toml"))
