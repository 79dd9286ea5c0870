# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of setup/check_sources.py: for each check a text that fails it, and texts that pass."""

from pathlib import Path

import pytest
from check_sources import MAX_LINES, faults, is_shell, is_source

ANY = "# SPDX-License-Identifier: GPL-2.0-or-later\n"
MODULE_C = "// SPDX-License-Identifier: GPL-2.0\n"
MODULE_H = "/* SPDX-License-Identifier: GPL-2.0 */\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lab/x.py", ANY + "x = 1\n"),
        ("setup/x.sh", "#!/bin/bash\n" + ANY),
        ("module/main.c", MODULE_C + "int x;\n"),
        ("module/umh_shm_abi.h", MODULE_H + "#define X\n"),
        ("module/Makefile", "# SPDX-License-Identifier: GPL-2.0\n"),
        ("c-helper/helper/x.c", "// SPDX-License-Identifier: GPL-2.0-or-later\n"),
        ("c-helper/helper/x.h", "/* SPDX-License-Identifier: GPL-2.0-or-later */\n"),
        ("lab/long.py", ANY * MAX_LINES),
    ],
)
def test_sound(name: str, text: str) -> None:
    assert list(faults(name, text)) == []


@pytest.mark.parametrize(
    ("name", "text", "line", "what"),
    [
        ("lab/x.py", "x = 1\n", 1, "no SPDX"),
        ("lab/empty.py", "", 1, "no SPDX"),
        ("lab/x.py", "\n" + ANY, 1, "no SPDX"),
        ("lab/x.py", "# SPDX-License-Identifier: MIT\n", 1, "licence MIT"),
        ("lab/x.py", "# SPDX-License-Identifier: GPL-2.0\n", 1, "licence GPL-2.0:"),
        ("module/x.c", "// SPDX-License-Identifier: MIT\n", 1, "the module is GPL-2.0"),
        ("module/x.c", MODULE_H, 1, "// comment"),
        ("module/x.h", MODULE_C, 1, "/* */ comment"),
        ("lab/x.py", ANY * (MAX_LINES + 1), MAX_LINES + 1, "501 lines"),
        ("lab/x.py", ANY + "x = 1", 2, "no newline"),
        ("lab/x.py", ANY + "x = 1 \n", 2, "white space"),
        ("lab/x.py", ANY + "x = 1\r\n", 2, "white space"),
        ("lab/x.py", ANY + "\n# T\x4fDO: later\n", 3, "file an issue"),
    ],
)
def test_faulty(name: str, text: str, line: int, what: str) -> None:
    ((found_line, found),) = faults(name, text)
    assert found_line == line
    assert what in found


def test_kinds(tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    script = file("run", b"#!/bin/bash\n")
    assert is_shell(script)
    assert is_source(script)
    python = file("tool", b"#!/usr/bin/python3\n")
    assert not is_shell(python)
    assert is_source(python)
    assert is_shell(file("x.sh", b""))
    assert is_source(file("Kbuild", b""))
    assert not is_source(file("README.md", b"# pageproof\n"))
    assert not is_source(file("dump", b"\x7fELF\xff\xfe\n"))
