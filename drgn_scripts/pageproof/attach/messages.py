# SPDX-License-Identifier: GPL-2.0-or-later
"""What drgn logs while it attaches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pageproof.attach.interrupts import interrupts_kept


@contextmanager
def drgn_messages() -> Iterator[list[str]]:
    """Collect drgn's log messages instead of printing them.

    They would mix with the progress line. Only they give the reason why drgn reads slowly.
    """
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("drgn")
    handler, level, propagate = Keep(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with interrupts_kept():
            yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
