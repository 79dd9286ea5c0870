# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn's own identification of an address. It is the source for the stacks of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import drgn
from drgn.helpers.common.memory import IdentifiedAddress, identify_address_all
from drgn.helpers.linux.common import IdentifiedTaskStack, IdentifiedTaskStruct

from pageproof import arch
from pageproof.find.identify.place import Place
from pageproof.find.kernel.areas import area_at
from pageproof.find.process.tasks import check_tasks
from pageproof.model.whatis import TaskFacts, TaskPart


def drgn_identities(place: Place) -> tuple[tuple[str, ...], TaskFacts | None, Exception | None]:
    """Call drgn's ``identify_address_all()``.

    Returns:
        The text of each result; the task, if one was found; the error that ended it, if any.
    """
    words: list[str] = []
    task: TaskFacts | None = None
    if not arch.of_program(place.prog).is_upper(place.address):
        return (), None, None  # drgn identifies kernel addresses only
    try:
        for one in identified(place.prog, place.address):
            words.append(str(one))
            if task is None and isinstance(one, IdentifiedTaskStack | IdentifiedTaskStruct):
                task = _task(one)
    except Exception as error:  # drgn's helpers may raise anything on broken lists
        return tuple(words), task, error
    return tuple(words), task, None


def identified(prog: drgn.Program, address: int) -> Iterator[IdentifiedAddress]:
    """Call ``identify_address_all()`` after checking the trees that it walks without a bound.

    Raises:
        DamagedError: one of the trees does not end.
        Exception: any error of drgn's helpers on broken data.
    """
    check_tasks(prog)
    area_at(prog, address)
    yield from identify_address_all(prog, address)


def owners_of(prog: drgn.Program, addresses: Sequence[int]) -> Iterator[str]:
    """Yield how drgn identifies each address, or why it does not; a vmalloc area once."""
    try:
        check_tasks(prog)
    except Exception as error:
        yield from (f"not known: {error}" for _ in addresses)
        return
    of_area: dict[int, str] = {}
    for address in addresses:
        try:
            area = area_at(prog, address)
            key = address if area is None else area.start
            if key not in of_area:
                of_area[key] = ", ".join(map(str, identify_address_all(prog, address)))
            yield of_area[key]
        except Exception as error:  # drgn's helpers raise whatever broken lists make of them
            yield f"not known: {error}"


def _task(one: IdentifiedTaskStack | IdentifiedTaskStruct) -> TaskFacts:
    task = one.task
    stack = isinstance(one, IdentifiedTaskStack)
    start = task.stack.value_() if stack else task.value_()
    return TaskFacts(
        part=TaskPart.STACK if stack else TaskPart.STRUCT,
        pid=task.pid.value_(),
        comm=task.comm.string_().decode("utf-8", "replace"),
        task=task.value_(),
        start=start,
        offset_bytes=one.address - start,
    )
