# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the range and flags of every VMA with pageproof's own reader.

The benchmark compares it with all_vmas.py, the same loop in plain drgn. Prints one JSON object; its
time is that of the reader, without attaching.
"""

import argparse
import json
import time
from pathlib import Path

from pageproof.attach import Wanted, open_target
from pageproof.find.process.tasks import all_tasks
from pageproof.find.process.vmas import vma_bounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--core", type=Path)
    parser.add_argument("--qemu")
    parser.add_argument("-s", "--symbols", type=Path, action="append", default=[])
    args = parser.parse_args()
    prog = open_target(Wanted(args.qemu, args.core, tuple(args.symbols)), ()).prog
    start = time.perf_counter()
    tasks, lost = all_tasks(prog)
    spaces = {mm for task in tasks if (mm := task.mm.value_())}
    vmas = sum(1 for mm in spaces for _ in vma_bounds(prog, mm))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "vmas": vmas, "spaces": len(spaces), "lost": lost}))


main()
