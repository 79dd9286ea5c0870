# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases, by number: the same number is the same damage of the same dump, always."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from hostile import containers, files, memory, symbols
from hostile.bases import KERNELS, Base
from hostile.containers import Case, Damage

#: `make test` runs the first ones; `make test-hostile` all.
FEW, ALL = 1000, 10_000
JSON = ("--format", "json")


@dataclass(frozen=True)
class _Kind:
    name: str
    forms: tuple[str, ...]
    make: Callable[[Base, random.Random], Damage | Case]
    attached: bool = False
    strict: bool = True


def _of_form(make: Callable[..., Damage]) -> Callable[[Base, random.Random], Damage]:
    return lambda base, rng: make(base.form, base.path, rng)


def _group(name: str) -> Callable[[Base, random.Random], Damage]:
    return lambda base, rng: memory.structures(base, name, rng)


_PLAIN = ("elf", "raw", "lime")
_KINDS = (
    *(_Kind("cut", (form,), _of_form(containers.cut)) for form in ("elf", "lzo", "flat", "lime")),
    *(_Kind("header", (form,), _of_form(containers.headers)) for form in ("elf", "lzo") * 2),
    *(_Kind("header", (form,), _of_form(containers.headers)) for form in ("flat", "lime", "flat")),
    *(_Kind("vmcoreinfo", (form,), _of_form(containers.vmcoreinfo)) for form in ("elf", "lzo")),
    _Kind("cut", ("raw",), _of_form(containers.cut)),
    *(_Kind(name, _PLAIN, _group(name), attached=True, strict=False) for name in memory.GROUPS),
    *(
        _Kind(f"{name}, before it is opened", _PLAIN, _group(name), strict=False)
        for name in ("variables", "modules")
    ),
    _Kind("long string", _PLAIN, memory.long_string, attached=True, strict=False),
    _Kind("file", ("elf", "lzo", "flat", "raw", "lime"), files.scene),
)
#: One case in this number damages debug info; such a case takes a second.
_SYMBOLS_EVERY = 97


def commands(base: Base) -> tuple[tuple[str, ...], ...]:
    """Return the commands that a case chooses from. The first ones prove pages."""
    pid, address = str(base.pid), f"{base.address:x}"
    return (
        ("verify",),
        ("verify", "--kind", "umh_shm"),
        ("audit",),
        ("walk", address, "--pid", pid),
        ("maps", "--pid", pid, "--pages"),
        ("regions",),
        ("whatis", address, "--pid", pid, "--aliases"),
        ("whatis", "init_task"),
        ("alias", address, "--pid", pid),
        ("kmap",),
        ("walk", "_text"),
    )


def kernel_of(number: int) -> str:
    """Return the kernel of a case; it is known without the kernel's dumps."""
    return KERNELS[number // len(_KINDS) % len(KERNELS)]


@cache
def base_of(kernel: str, form: str) -> Base:
    from hostile.bases import bases

    return bases(kernel)[form]


def case(number: int) -> Case:
    """Return a case."""
    rng = random.Random(f"pageproof {number}")
    kind, kernel = _KINDS[number % len(_KINDS)], kernel_of(number)
    if number % _SYMBOLS_EVERY == 0:
        kind = _Kind("debug info", ("lzo",), symbols.damage)
    base = base_of(kernel, rng.choice(kind.forms))
    of_base = commands(base)
    command = rng.choice(of_base[:3] if rng.random() < 0.4 else of_base)
    made = kind.make(base, rng)
    if not isinstance(made, Case):
        made = Case(0, "", "", "", False, True, made, ())
    return replace(
        made,
        number=number,
        kind=kind.name,
        kernel=base.kernel,
        form=base.form,
        attached=kind.attached,
        strict=kind.strict,
        command=(*command, *JSON),
    )
