# SPDX-License-Identifier: GPL-2.0-or-later
"""The room that writes reports down: takes a report, gives text, computes nothing.

Each form is imported where it is wanted: rich and all the forms take longer than most walks.
"""

from typing import Final

#: Width where there is no terminal to ask; both walks side by side fit.
PLAIN_WIDTH: Final = 110
