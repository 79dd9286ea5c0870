# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of drgn about modules whose names are not UTF-8."""

import drgn
import pytest

from pageproof.attach.messages import drgn_messages

#: A name in drgn's own encoding of bytes that are not UTF-8.
NAME = "odd\udcff"


def log_it() -> None:
    """Let drgn log the name of a module."""
    prog = drgn.Program()
    module = prog.extra_module(NAME, create=True)
    module = module[0] if isinstance(module, tuple) else module
    prog.load_module_debug_info(module)


def test_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with drgn_messages() as messages:
        log_it()
    assert capfd.readouterr().err == ""
    assert any("is not UTF-8" in one and "odd" in one for one in messages), messages
