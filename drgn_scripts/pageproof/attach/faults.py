# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of drgn on a damaged target or damaged debug info, reported as errors of the input.

Commands handle expected faults where they occur and put them into their report. Only faults without
which a command has no result arrive here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import drgn

from pageproof.errors import PageproofError, ReaderGoneError

_REMEDY: Final = "a dump may be damaged or a part of one; in a running kernel try again"

#: drgn raises these besides its own classes, and never a subclass of them: Exception for errors
#: without a class of their own (such as libdw's), LookupError for missing types,
#: NotImplementedError for a file of another machine.
_BARE: Final = (Exception, LookupError, NotImplementedError)


@contextmanager
def faults_as_errors(where: str) -> Iterator[None]:
    """Convert drgn's errors to PageproofError. Any other error is a bug and passes unchanged.

    Args:
        where: the target, for messages.

    Raises:
        PageproofError: in place of drgn's error.
    """
    try:
        yield
    except drgn.FaultError as error:
        raise PageproofError(
            f"memory that the command needs can't be read: {error}", where, _REMEDY
        ) from error
    except OSError as error:
        if isinstance(error, ReaderGoneError):
            raise
        reason = error.strerror or str(error)
        raise PageproofError(
            f"the target can't be read any more: {reason}", where, "has its QEMU ended?"
        ) from error
    except (drgn.ObjectAbsentError, drgn.OutOfBoundsError) as error:
        raise PageproofError(f"the debug info does not fit: {error}", where) from error
    except UnicodeDecodeError as error:
        # drgn puts names of the target into its messages, and Python refuses those that are not
        # UTF-8. pageproof itself replaces what it cannot decode.
        raise PageproofError(f"drgn failed: {error.object!r}", where, _REMEDY) from error
    except Exception as error:
        if type(error) not in _BARE and type(error).__module__ != drgn.FaultError.__module__:
            raise
        raise PageproofError(
            f"drgn failed: {error}", where, "is the debug info damaged, or the dump?"
        ) from error
