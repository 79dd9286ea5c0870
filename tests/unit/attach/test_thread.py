# SPDX-License-Identifier: GPL-2.0-or-later
"""Work in a thread while drgn loads debug info."""

from __future__ import annotations

import threading

import pytest

from pageproof.attach.thread import in_a_thread


def test_it_runs_during_the_block_and_ends_with_it() -> None:
    inside, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        inside.set()
        go_on.wait(60)
        done.set()

    with in_a_thread(work):
        assert inside.wait(60)
        assert not done.is_set()
        go_on.set()
    assert done.is_set()


def test_an_error_of_the_block_waits_too() -> None:
    """The program must not be left while another thread imports."""
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(60)
        done.set()

    with pytest.raises(ValueError, match="wrong vmlinux"), in_a_thread(work):
        go_on.set()
        raise ValueError("wrong vmlinux")
    assert done.is_set()
