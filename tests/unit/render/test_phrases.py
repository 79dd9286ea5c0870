# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts in short phrases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.facts import CORE, LIVE

from pageproof.attach.formats import Form
from pageproof.render.phrases import target

IMAGES = (Form.RAW, Form.LIME, Form.AVML)


@pytest.mark.parametrize("form", Form)
def test_a_file(form: Form) -> None:
    what = "image of memory" if form in IMAGES else "vmcore"
    assert target(replace(CORE, format=form.value)) == f"{form.value} {what}, vmcore"


def test_a_live_kernel() -> None:
    assert target(LIVE) == "live, /proc/kcore"
