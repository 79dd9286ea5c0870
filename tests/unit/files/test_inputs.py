# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that the user names are opened without a trace of what went wrong."""

import sys
from itertools import count, takewhile
from pathlib import Path
from types import FrameType

import pytest

from pageproof.files import inputs
from pageproof.files.inputs import open_file


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_interrupted_after_each_call(tmp_path: Path) -> None:
    """Ctrl-C may come when a descriptor has just got another owner, and is no other error."""
    path = tmp_path / "file"
    path.write_text("text")

    def interrupted(number: int) -> bool:
        """Press Ctrl-C as the call of that number returns."""
        calls = count(1)

        def profile(frame: FrameType, event: str, called: object) -> None:
            ours = event == "c_return" and frame.f_code.co_filename == inputs.__file__
            if ours and next(calls) == number:
                sys.setprofile(None)
                raise KeyboardInterrupt

        sys.setprofile(profile)
        try:
            open_file(path).close()
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False

    assert list(takewhile(interrupted, count(1)))
