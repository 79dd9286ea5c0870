# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that a hostile process in the guest chose must not reach the user's terminal unescaped."""

from collections.abc import Iterator

import pytest
from auditbugs import end_bugs, make_bugs
from junit import parse
from machine import Json, Machine, Result, each_kernel

pytestmark = each_kernel


@pytest.fixture
def hostile(loaded: Machine) -> Iterator[Json]:
    """The output of tests/vm/hostile_names.py, which sleeps."""
    facts: Json = loaded.start("hostile_names.py")
    yield facts
    loaded.end_group(facts["pid"])


def is_harmless(result: Result) -> None:
    """Check that all characters are printable and that no name added a line."""
    lines = [*result.out.splitlines(), *result.err.splitlines()]
    assert lines
    assert [line for line in result.out.split("\n") if not line.isprintable()] == []
    assert not any(line.lstrip().startswith("SAME  page 0 of pid 1 (init)") for line in lines), (
        lines
    )


def strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if type(value) is list else ():
        yield from strings(one)


def test_every_command(loaded: Machine, hostile: Json) -> None:
    pid, memfd, file = str(hostile["pid"]), f"{hostile['memfd']:x}", f"{hostile['file']:x}"
    comm, name = hostile["comm"], hostile["name"]
    in_maps = name.replace("\n", "\\012")
    asked = {
        ("regions",): {comm, name},
        ("verify", "--pid", pid, "--kind", "shmem"): {comm, name},
        ("verify", "--pid", pid, "--kind", "shmem", "-v"): {comm, name},
        ("maps", "--pid", pid, "--pages"): {comm, in_maps},
        ("alias", memfd, "--pid", pid): {comm, name},
        ("walk", file, "--pid", pid): {comm, name},
        ("whatis", memfd, "--pid", pid): {comm, in_maps},
        ("whatis", file, "--pid", pid, "--aliases"): {comm, in_maps},
    }
    for words, names in asked.items():
        text = loaded.outside(*words)
        is_harmless(text)
        unfolded = "".join(text.out.split())
        assert "\\x1b[2J\\x0aS\\x9b1m\\u202eab" in unfolded, words
        assert "\\x1b]0;title\\x07\\x7f\\x9b31m" in unfolded, words
        is_harmless(loaded.outside(*words, "--format", "json"))
        said = list(strings(loaded.outside(*words, "--format", "json").report))
        missing = {one for one in names if not any(one in text for text in said)}
        assert not missing, words
    for words in (("walk", file, "--pid", pid), ("whatis", memfd, "--pid", pid)):
        is_harmless(loaded.outside(*words, "--drgn"))


def test_junit_of_verify(loaded: Machine, hostile: Json) -> None:
    words = "verify", "--pid", str(hostile["pid"]), "--kind", "shmem", "--format", "junit"
    result = loaded.outside(*words)
    is_harmless(result)
    cases = [case.get("name") for case in parse(result.out).iter("testcase")]
    assert "verdict: \\x1b[2J\\x0aS\\x9b1m\\u202eab, page 0" in cases


def test_a_process_that_breaks_a_rule(loaded: Machine) -> None:
    """tests/vm/audit_victim.c has a hostile name too."""
    made = make_bugs(loaded, ["rights"])
    try:
        asked = "audit", "--rule", "user-rights-beyond-vma"
        text, xml, report = (
            loaded.outside(*asked, "--format", form) for form in ("text", "junit", "json")
        )
    finally:
        end_bugs(loaded, made)
    assert [text.code, xml.code, report.code] == [1, 1, 1]
    for one in (text, xml, report):
        is_harmless(one)
    folded = " ".join(text.out.split())
    assert f"pid {made.pid} (victim\\x1b[31m\\x0aS)" in folded
    (failure,) = parse(xml.out).iter("failure")
    assert failure.text is not None
    assert f"pid {made.pid} (victim\\x1b[31m\\x0aS)" in failure.text
    assert f"pid {made.pid} (victim\x1b[31m\nS)" in report.report["findings"][0]["where"]


def test_an_error_message(loaded: Machine, hostile: Json) -> None:
    result = loaded.outside("verify", "--pid", str(hostile["pid"]), "--kind", "umh_shm")
    is_harmless(result)
