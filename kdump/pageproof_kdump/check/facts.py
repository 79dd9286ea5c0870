# SPDX-License-Identifier: GPL-2.0-or-later
"""What several checks of a machine need, each read once."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from pageproof_kdump.check.machine import PROGRAM_BYTES, Machine
from pageproof_kdump.check.settings import Settings, read_settings
from pageproof_kdump.check.vmcoreinfo import read_vmcoreinfo
from pageproof_kdump.engine import NoFact
from pageproof_kdump.makedumpfile import PLACES, Program, Wanted, parse_arguments, program_of

#: What to do where nothing is set up.
SETUP: Final = "run pageproof kdump setup"


class Facts:
    """The facts about a machine. Each raises NoFact if it cannot be found out."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @cached_property
    def settings(self) -> Settings | None:
        """How it captures a crash; None if nothing is set up."""
        return read_settings(self.machine)

    @cached_property
    def program(self) -> Program | None:
        """Its makedumpfile; None if it has none."""
        for path in PLACES:
            try:
                return program_of(path, self.machine.data(path, PROGRAM_BYTES))
            except NoFact as error:
                if not error.is_absent:
                    raise
        return None

    @cached_property
    def wanted(self) -> Wanted:
        """The arguments of makedumpfile."""
        settings = self.settings
        if settings is None:
            raise NoFact("nothing is set up that would run makedumpfile")
        found = parse_arguments(settings.arguments)
        if found is None:
            raise NoFact(
                f"makedumpfile refuses its arguments {settings.arguments!r}",
                f"correct them in {settings.file}",
            )
        return found

    @cached_property
    def vmcoreinfo(self) -> str:
        """The running kernel's VMCOREINFO."""
        return read_vmcoreinfo(self.machine)

    @cached_property
    def reserved_bytes(self) -> int:
        """Memory that is reserved for a capture kernel."""
        return self.machine.number("/sys/kernel/kexec_crash_size")

    @cached_property
    def is_loaded(self) -> bool:
        """Whether a capture kernel is loaded."""
        return self.machine.number("/sys/kernel/kexec_crash_loaded") == 1
