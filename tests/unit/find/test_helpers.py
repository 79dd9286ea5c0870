# SPDX-License-Identifier: GPL-2.0-or-later
"""drgn's helpers, loaded one by one: the package looks as drgn makes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pageproof

PACKAGE_ROOT = str(Path(pageproof.__file__).parent.parent)
BEFORE = """
import sys
from pageproof.find.helpers import load_helpers_singly
load_helpers_singly()
load_helpers_singly()
from drgn.helpers.linux.mm import follow_phys
def loaded(): return {one for one in sys.modules if one.startswith("drgn.helpers.linux.")}
assert "drgn.helpers.linux.mm" in loaded() and "drgn.helpers.linux.block" not in loaded()
"""


@pytest.mark.parametrize(
    "program",
    [
        "import drgn.helpers.linux.mm; assert drgn.helpers.linux.mm.follow_phys is follow_phys",
        "from drgn.helpers.linux import for_each_disk, follow_phys as it; assert it is follow_phys",
        "from drgn.helpers.linux import block; assert block.for_each_disk",
        "from drgn.helpers.linux import *; assert for_each_disk and for_each_task",
        "import drgn.helpers.linux as it; assert len(it.__all__) > 300 and 'block' in dir(it)",
        # As drgn.cli.default_globals() looks them up.
        "from pageproof.find.helpers import load_all_helpers; load_all_helpers()\n"
        "import drgn.helpers.linux as it; assert len(it.__dict__['__all__']) > 300",
        "import drgn.helpers.linux as it; assert not hasattr(it, 'no_such_helper')",
    ],
)
def test_the_package_is_whole(program: str) -> None:
    subprocess.run(
        [sys.executable, "-c", BEFORE + program],
        env={**os.environ, "PYTHONPATH": PACKAGE_ROOT},
        check=True,
        timeout=120,
    )
