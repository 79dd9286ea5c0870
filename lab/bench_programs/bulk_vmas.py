# SPDX-License-Identifier: GPL-2.0-or-later
"""Read every task and every VMA with pageproof's reader of kernel structures in bulk.

The benchmark compares it with all_vmas.py, the loop in plain drgn. Prints one JSON object; its time
is that of the reader, without attaching. `reader` is the class that read: the engine's, or the slow
one in Python.
"""

import argparse
import json
import time
from pathlib import Path

from pageproof.attach import Wanted, open_target
from pageproof.find.bulk import bulk_of
from pageproof.find.process.tasks import read_tasks

PART = 256  # address spaces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--core", type=Path)
    parser.add_argument("--qemu")
    parser.add_argument("-s", "--symbols", type=Path, action="append", default=[])
    args = parser.parse_args()
    prog = open_target(Wanted(args.qemu, args.core, tuple(args.symbols)), ()).prog
    start = time.perf_counter()
    bulk = bulk_of(prog)
    tasks, lost = read_tasks(prog)
    mms = [*{task.mm: None for task in tasks if task.mm}]
    parts = list(bulk.vmas_in_parts(mms[at : at + PART] for at in range(0, len(mms), PART)))
    spaces_lost = [space.lost for part in parts for space in part.spaces]
    result = {
        "seconds": time.perf_counter() - start,
        "vmas": sum(map(len, parts)),
        "spaces": sum(len(part.spaces) for part in parts),
        "lost": [one for one in (lost, *spaces_lost) if one],
        "reader": type(bulk).__name__,
    }
    print(json.dumps(result))


main()
