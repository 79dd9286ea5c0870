# SPDX-License-Identifier: GPL-2.0-or-later
"""What a damaged target or damaged debug info makes drgn raise, as an error of the user's input.

A command handles the faults that it expects where they occur: they are data of its report. What
gets as far as here is a fault in data without which the command has no answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import drgn

from pageproof.errors import PageproofError, ReaderGoneError

_REMEDY: Final = "a dump may be damaged or a part of one; in a running kernel try again"

#: Beside its own classes drgn raises these, and never a subclass: Exception for errors without a
#: class of their own (such as libdw's), LookupError for types that are not there.
_BARE: Final = (Exception, LookupError)


@contextmanager
def faults_as_errors(where: str) -> Iterator[None]:
    """Turn drgn's errors into messages.

    Args:
        where: the target, for messages.

    Raises:
        PageproofError: in place of drgn's error. Anything else is a bug and passes.
    """
    try:
        yield
    except drgn.FaultError as error:
        raise PageproofError(
            f"memory of the target that is needed can't be read: {error}", where, _REMEDY
        ) from error
    except OSError as error:
        if isinstance(error, ReaderGoneError):
            raise
        reason = error.strerror or str(error)
        raise PageproofError(
            f"the target can't be read any more: {reason}", where, "is its QEMU gone?"
        ) from error
    except (drgn.ObjectAbsentError, drgn.OutOfBoundsError) as error:
        raise PageproofError(f"the debug info does not fit: {error}", where) from error
    except Exception as error:
        if type(error) not in _BARE and type(error).__module__ != drgn.FaultError.__module__:
            raise
        raise PageproofError(
            f"drgn can't go on: {error}", where, "is the debug info damaged, or the dump?"
        ) from error
