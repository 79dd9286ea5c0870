# SPDX-License-Identifier: GPL-2.0-or-later
"""Data of a process from the guest's procfs, in the form of the report of `maps`."""

import json

from machine import Json, Machine, number

PAGE_BYTES = 4096
#: (address, PFN)
Pages = list[tuple[int, int]]


def frames(vma: Json) -> Pages:
    """Return (address, PFN) of every resident page of a VMA in a report of `maps`."""
    return [
        (address, number(run["frame"]) + address - number(run["start"]) >> 12)
        for run in vma["runs"]
        if run["frame"] is not None
        for address in range(number(run["start"]), number(run["last"]), PAGE_BYTES)
    ]


def pagemaps(machine: Machine, asked: dict[int, list[Json]]) -> dict[int, Pages]:
    """Return PID -> (address, PFN) of every page that is present in /proc/PID/pagemap.

    Args:
        machine: its guest is read.
        asked: PID -> VMAs to read, as `maps` reports them.
    """
    places = {
        pid: [[number(vma["line"]["vma"][end]) for end in ("start", "end")] for vma in vmas]
        for pid, vmas in asked.items()
    }
    script = (
        f"import json; out = {{}}\n"
        f"for pid, ranges in {places}.items():\n"
        "    f = open(f'/proc/{pid}/pagemap', 'rb'); pages = out.setdefault(pid, [])\n"
        "    for start, end in ranges:\n"
        "        f.seek(start // 4096 * 8); data = f.read((end - start) // 4096 * 8)\n"
        "        for at in range(0, len(data), 8):\n"
        "            word = int.from_bytes(data[at:at + 8], 'little')\n"
        "            if word >> 63: pages.append((start + at * 512, word & (1 << 55) - 1))\n"
        "print(json.dumps(out))"
    )
    said = json.loads(machine.guest.check("python3", "-c", script))
    return {int(pid): [(address, pfn) for address, pfn in pages] for pid, pages in said.items()}


def smaps(text: str) -> dict[str, dict[str, int]]:
    """Parse /proc/PID/smaps into start of a VMA -> field -> bytes."""
    found: dict[str, dict[str, int]] = {}
    here: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if words[0].endswith(":"):
            if words[-1] == "kB":
                here[words[0][:-1]] = int(words[1]) * 1024
        else:
            here = found.setdefault(words[0].partition("-")[0], {})
    return found
