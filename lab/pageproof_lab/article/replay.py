# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole replay, on a guest that has booted without the module."""

import gc
from collections.abc import Iterator
from contextlib import suppress

from pageproof.errors import PageproofError
from pageproof_lab import LabError
from pageproof_lab.article import ending, everybody, mapping, opening
from pageproof_lab.article.scene import Scene, enter
from pageproof_lab.article.steps import Step
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images.build import Built


def replay(guest: Guest, built: Built, parameters: tuple[str, ...] = ()) -> Iterator[Step]:
    """Yield the steps, each when it is done. Afterwards the guest runs, with the module loaded.

    Args:
        guest: with one CPU and a gdb stub.
        built: of its kernel.
        parameters: of the module, as NAME=VALUE.

    Raises:
        LabError: a step could not be done.
    """
    try:
        scene = enter(guest, built, parameters)
        try:
            yield from _steps(scene)
        except BaseException:
            with suppress(PageproofError):
                scene.session.close()
            raise
        scene.session.close()
        del scene
        gc.collect()  # drgn's program is in a reference cycle, and holds the QMP socket
    except PageproofError as error:
        raise LabError(str(error)) from error


def _steps(scene: Scene) -> Iterator[Step]:
    yield opening.the_guest(scene)
    yield opening.before_the_driver(scene)
    yield opening.fresh_page(scene)
    step, stop = mapping.the_file(scene)
    yield step
    yield mapping.the_vma(scene, stop)
    yield mapping.the_users_page(scene, stop)
    yield ending.the_accesses(scene)
    yield ending.the_reply(scene)
    yield ending.the_proof(scene)
    yield everybody.one_for_all(scene)
