# SPDX-License-Identifier: GPL-2.0-or-later
"""Behaviour that all commands share on any kernel: errors, and calls from a plain drgn script."""

import pytest
from machine import Machine, drgn_script, on_one_kernel

pytestmark = on_one_kernel

KERNEL_SIDE = "umh_shm_region.kaddr"
NOBODY = "4194303"
KTHREADD = "2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("verify", "--pid", NOBODY), "there is no process 4194303"),
        (("verify", "--pid", KTHREADD), "no user address space"),
        (("walk", "7f0000000000"), "say of which process with --pid"),
        (("walk", "8000000000000000"), "not canonical"),
        (("walk", "no_such_symbol"), "no such symbol"),
        (("walk", "0", "--pid", NOBODY), "there is no process 4194303"),
        (("walk", "0", "--pid", KTHREADD), "kernel thread"),
        (("maps", "--pid", NOBODY), "there is no process 4194303"),
        (("maps", "--pid", KTHREADD), "kernel thread"),
        (("kmap", "--pid", NOBODY), "there is no process 4194303"),
        (("kmap", "--pid", KTHREADD), "no user address space"),
        (("alias", "7f0000000000"), "say of which process with --pid"),
        (("alias", "no_such_symbol"), "no such symbol"),
        (("alias", "0", "--pid", KTHREADD), "kernel thread"),
        (("whatis", "0"), "say of which process with --pid"),
        (("whatis", "8000000000000000"), "not canonical"),
        (("whatis", "no_such_symbol"), "no such symbol"),
        (("whatis", "0", "--pid", NOBODY), "there is no process 4194303"),
        (("whatis", "0", "--pid", KTHREADD), "kernel thread"),
        (("whatis", "runqueues"), "name a CPU with --cpu CPU"),
        (("regions", "--kind", "umh"), "there is no finder for 'umh'"),
        (("regions", "--pid", NOBODY), "there is no process 4194303"),
        (("regions", "--pid", KTHREADD), "kernel thread"),
    ],
)
def test_errors(loaded: Machine, words: tuple[str, ...], message: str) -> None:
    result = loaded.outside(*words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_an_address_that_leads_to_no_frame(loaded: Machine) -> None:
    result = loaded.outside("alias", "0", "--pid", "1")
    assert (result.code, result.out) == (3, "")
    assert "leads to no frame" in result.err


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("file.no_such_member", "'struct file' has no member 'no_such_member'"),
        ("prog[", "SyntaxError"),
        ("file.f_op.open.no", "this can't be evaluated"),
        ("'text'.upper()", "this is a str and not an address"),
    ],
)
def test_an_expression_that_gives_no_address(loaded: Machine, expression: str, said: str) -> None:
    pid, start = loaded.helper_address()
    result = loaded.outside("verify", "--pid", pid, "--user", start, "--kernel", expression)
    assert (result.code, result.out) == (2, "")
    assert said in result.err, result.err


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("verify", ("--kind", "umh_shm"), "SAME"),
        ("walk", (KERNEL_SIDE,), ", agrees\n"),
        ("maps", ("--pid", "1"), " [vdso]\n"),
        ("kmap", (), "physmap"),
        ("whatis", ("umh_shm_fops",), "\numh_shm_fops+0x0/"),
        ("alias", (KERNEL_SIDE,), "in the kernel's half, 1 by processes"),
        ("regions", ("--kind", "umh_shm"), "1 region in 1 address space\n"),
    ],
)
def test_as_a_plain_drgn_script(
    loaded: Machine, command: str, words: tuple[str, ...], said: str
) -> None:
    """drgn --qemu SOCKET drgn_scripts/COMMAND.py"""
    result = drgn_script(f"{command}.py", *loaded.target, words=words)
    assert (result.code, said in result.out) == (0, True), result.out + result.err
