# SPDX-License-Identifier: GPL-2.0-or-later
"""`whatis` on a running guest, against the guest, QEMU and drgn about the same address.

Most queries share one attachment, because attaching takes longer than all queries.
"""

import gc
import json
import random
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import drgn
import jsonschema
import pytest
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.mm import pfn_to_page, vmalloc_to_pfn
from drgn.helpers.linux.percpu import per_cpu_ptr
from drgn.helpers.linux.pid import find_task
from machine import Json, Machine, each_kernel, number

from pageproof.attach import Target, Wanted, open_target
from pageproof.commands.whatis import whatis
from pageproof.errors import PageproofError
from pageproof.find.umh_shm.region import MODULE
from pageproof.model.asked import WhatisAsked
from pageproof.render.jsonform import report_to_json
from pageproof_lab.guest.guest import monitor

PAGE_BYTES = 4096
KERNEL_SIDE = "umh_shm_region.kaddr"
SCHEMA = "drgn_scripts/pageproof/schema/whatis-1.json"

pytestmark = each_kernel


@dataclass
class Asker:
    """Runs whatis in a drgn program that stays attached."""

    target: Target
    schema: jsonschema.Draft202012Validator

    @property
    def prog(self) -> drgn.Program:
        return self.target.prog

    def __call__(self, address: int | str, pid: int | None = None, cpu: int | None = None) -> Json:
        text = address if isinstance(address, str) else f"{address:#x}"
        report = whatis(self.target, WhatisAsked(text, pid, cpu), lambda message: None)
        document: Json = json.loads(report_to_json(report))
        self.schema.validate(document)
        return document

    def identity(self, address: int | str, kind: str) -> Json:
        """Return its data of one kind about a kernel address; the answer must be certain."""
        report = self(address)
        assert report["unknown"] == [], report["unknown"]
        assert report["exit_code"] == 0
        found: Json | None = report["identity"][kind]
        assert found is not None, (kind, report["identity"])
        return found


@pytest.fixture
def ask(loaded: Machine, checkout: Path) -> Iterator[Asker]:
    symbols = (loaded.kernel.vmlinux, loaded.built.module)
    wanted = Wanted(qemu=str(loaded.guest.sockets.qmp), symbols=symbols)
    schema = jsonschema.Draft202012Validator(json.loads((checkout / SCHEMA).read_text()))
    asker = Asker(open_target(wanted, [MODULE]), schema)
    yield asker
    del asker.target
    gc.collect()  # the monitor serves one client at a time


#: Symbols of all sections; those that a kernel does not have are skipped.
NAMES = (
    ("schedule", "text"),
    ("vfs_read", "text"),
    ("do_exit", "text"),
    ("kmem_cache_alloc", "text"),
    ("linux_banner", "rodata"),
    ("linux_proc_banner", "rodata"),
    ("kmalloc_caches", "rodata"),  # read-only after init
    ("vmalloc_base", "rodata"),
    ("init_task", "data"),
    ("init_pid_ns", "data"),
    ("init_mm", "data"),
    ("tasklist_lock", "data"),
    ("system_state", "data"),
    ("initcall_debug", "bss"),
    ("reset_devices", "bss"),
    ("init_pg_dir", "bss"),
    ("start_kernel", "init"),
    ("rest_of_init", "init"),
)


@pytest.fixture(scope="session")
def kallsyms(machine: Machine) -> dict[str, tuple[int, set[str]]]:
    """Addresses of some names of the image, and other names there, from the guest's kallsyms.

    It is read once and filtered in the guest, as the whole file takes seconds under emulation.
    """
    wanted = [name for name, _ in NAMES] + ["runqueues"]
    script = (
        "import json\n"
        "lines = [line.split() for line in open('/proc/kallsyms') if '[' not in line]\n"
        f"where = {{line[2]: line[0] for line in lines if line[2] in {set(wanted)}}}\n"
        "there = {at: [line[2] for line in lines if line[0] == at] for at in where.values()}\n"
        "print(json.dumps([(name, at, there[at]) for name, at in where.items()]))"
    )
    found = json.loads(machine.guest.check("python3", "-c", script))
    return {name: (int(at, 16), set(names)) for name, at, names in found}


def test_symbols_of_kallsyms(ask: Asker, kallsyms: dict[str, tuple[int, set[str]]]) -> None:
    """Names of the image's sections. Those of init are reported as freed."""
    seen = set()
    for name, section in NAMES:
        if name not in kallsyms:
            continue
        address, names = kallsyms[name]
        report = ask(address)
        found = report["identity"]["symbol"]
        assert found["name"] in names, name
        assert (number(found["start"]), found["offset_bytes"]) == (address, 0)
        assert report["region"]["region"] == "text"
        assert found["freed"] is (section == "init"), name
        if section in ("text", "init"):
            assert found["section"] == section, name
        if found["size_bytes"] > 8 and section != "init":
            assert ask.identity(address + 7, "symbol") == {**found, "offset_bytes": 7}
        seen.add(name)
    assert len(seen) >= 12


def test_modules(ask: Asker, loaded: Machine) -> None:
    """Each module is at its base in /proc/modules; its symbols with and without debug info."""
    lines = loaded.guest.check("cat", "/proc/modules").splitlines()
    symbols: dict[str, list[tuple[int, str]]] = {}
    for line in loaded.guest.check("grep", "-F", "[", "/proc/kallsyms").splitlines():
        address, _, name, module = line.split()
        symbols.setdefault(module[1:-1], []).append((int(address, 16), name))
    assert len(lines) > 2
    sources = set()
    for line in lines:
        words = line.split()
        base = int(words[5], 16)
        found = ask.identity(base + 0x10, "module")
        assert (found["name"], number(found["start"]), found["part"]) == (words[0], base, "text")
        inside = [(at, name) for at, name in symbols[words[0]] if base <= at < base + PAGE_BYTES]
        at, _ = max(inside)
        symbol = ask.identity(at, "symbol")
        assert symbol["name"] in {name for where, name in inside if where == at}
        assert symbol["offset_bytes"] == 0
        sources.add((words[0] == MODULE, symbol["source"]))
    assert sources == {(True, "debug info"), (False, "module's kallsyms")}


def vmallocinfo(machine: Machine) -> list[str]:
    restrict = "/proc/sys/kernel/kptr_restrict"
    # %pK is a hash with 0, and the address for root with 1.
    script = (
        f"old=$(cat {restrict}); echo 1 >{restrict}; cat /proc/vmallocinfo; echo $old >{restrict}"
    )
    return machine.guest.check("sh", "-c", script).splitlines()


WORDS = ("ioremap", "vmalloc", "vmap", "user", "dma-coherent")


def test_vmallocinfo(ask: Asker, loaded: Machine) -> None:
    """Areas of each kind, as in procfs: bounds, caller, flags, pages, targets of ioremap."""
    before = vmallocinfo(loaded)
    asked: dict[str, Json] = {}
    sorts: dict[tuple[str, ...], int] = {}
    for line in before:
        sort = tuple(word for word in line.split() if word in WORDS)
        sorts[sort] = sorts.get(sort, 0) + 1
        if sort and sorts[sort] <= 3:
            start = int(line.partition("-")[0], 16)
            asked[line] = ask(start + 0x123)
    after = set(vmallocinfo(loaded))
    stood = {line: report for line, report in asked.items() if line in after}
    assert len(stood) > 5
    for line, report in stood.items():
        words = line.split()
        start, end = (int(word, 16) for word in words[0].split("-"))
        area = report["identity"]["vmap"]
        assert (number(area["start"]), number(area["end"])) == (start, end), line
        callers = {words[2].partition("/")[0]}
        if words[3].startswith("["):
            # A module's init code was freed, and the kernel names the code that is there now.
            callers.add(area["caller_address"])
        assert area["caller"] in callers, line
        flags = [word for word in area["flags_words"].split("|") if word in WORDS]
        assert flags == [word for word in words if word in WORDS], line
        values = dict(word.split("=") for word in words if "=" in word)
        assert area["pages"] == int(values.get("pages", "0")), line
        physical = None if area["physical"] is None else number(area["physical"])
        assert physical == (int(values["phys"], 16) if "phys" in values else None), line
    line = next(line for line in stood if "vmalloc" in line)
    last = ask(int(line.split("-")[1].split()[0], 16) - 1)
    assert last["identity"]["vmap"]["guard"] is True
    assert (last["walk"]["outcome"], last["known"], last["exit_code"]) == ("none", True, 0)


def test_the_region_is_a_slab_object(ask: Asker, loaded: Machine) -> None:
    """/proc/slabinfo has the kmalloc() cache for 4096 bytes, and debugfs the frame."""
    lines = loaded.guest.check("cat", "/proc/slabinfo").splitlines()
    sizes = {words[0]: int(words[3]) for words in map(str.split, lines[2:])}
    report = ask(KERNEL_SIDE)
    slab = report["identity"]["slab"]
    assert slab["cache"].startswith("kmalloc-")
    assert sizes[slab["cache"]] == slab["slot_bytes"] == PAGE_BYTES
    assert (slab["state"], slab["offset_bytes"]) == ("allocated", 0)
    assert number(report["walk"]["pfn"]) == loaded.pfns()[0]
    assert report["frame"]["use"] == "slab"
    assert report["region"]["region"] == "physmap"


def test_a_task(ask: Asker, loaded: Machine) -> None:
    """A kernel stack and a task_struct, found by drgn; the name is from procfs."""
    pid = int(loaded.sysfs("helper_pid"))
    comm = loaded.guest.check("cat", f"/proc/{pid}/comm").strip()
    task = find_task(ask.prog, pid)
    stack = ask.identity(task.stack.value_() + 0x3000, "task")
    assert (stack["part"], stack["pid"], stack["comm"]) == ("stack", pid, comm)
    assert stack["offset_bytes"] == 0x3000
    struct = ask(task.value_() + 0x40)
    found = struct["identity"]["task"]
    assert (found["part"], found["pid"], found["offset_bytes"]) == ("task_struct", pid, 0x40)
    assert struct["identity"]["slab"]["cache"].startswith("task_struct")


def test_per_cpu(ask: Asker, kallsyms: dict[str, tuple[int, set[str]]]) -> None:
    """A variable of the image by name and by address, and memory of alloc_percpu()."""
    variable, _ = kallsyms["runqueues"]
    offsets = ask.prog["__per_cpu_offset"]
    for cpu in for_each_possible_cpu(ask.prog):
        address = variable + offsets[cpu].value_() & (1 << 64) - 1
        named = ask("runqueues", cpu=cpu)
        assert number(named["address"]) == address
        found = ask.identity(address + 8, "per_cpu")
        assert (found["part"], found["cpu"], found["name"]) == ("static", cpu, "runqueues")
        assert (found["offset_bytes"], number(found["pointer"])) == (8, variable + 8)
        pointer = ask.prog["init_net"].mib.ip_statistics
        copy = per_cpu_ptr(pointer, cpu).value_()
        dynamic = ask.identity(copy, "per_cpu")
        assert (dynamic["part"], dynamic["cpu"]) == ("dynamic", cpu)
        assert number(dynamic["pointer"]) == pointer.value_()
    with pytest.raises(PageproofError, match="name a CPU with --cpu"):
        ask("runqueues")
    with pytest.raises(PageproofError, match="there is no CPU 99"):
        ask("runqueues", cpu=99)
    with pytest.raises(PageproofError, match="not a per-CPU variable"):
        ask("init_task", cpu=0)


def test_other_per_cpu_chunks(ask: Asker, loaded: Machine) -> None:
    """Chunks in vmalloc memory: their areas belong to the CPUs in turn, for the same pointers."""
    areas = [line for line in vmallocinfo(loaded) if "pcpu_get_vm_areas" in line]
    cpus = list(for_each_possible_cpu(ask.prog))
    for line in areas:
        start = int(line.partition("-")[0], 16)
        found = [ask(start + ask_offset(ask, cpu))["identity"]["per_cpu"] for cpu in cpus]
        assert [one["cpu"] for one in found] == cpus
        assert len({one["pointer"] for one in found}) == 1
        copies = [per_cpu_ptr(pointer_at(ask, found[0]), cpu).value_() for cpu in cpus]
        assert copies == [start + ask_offset(ask, cpu) for cpu in cpus]


def ask_offset(ask: Asker, cpu: int) -> int:
    return int(ask.prog["pcpu_unit_offsets"][cpu].value_())


def pointer_at(ask: Asker, found: Json) -> drgn.Object:
    return drgn.Object(ask.prog, "void *", number(found["pointer"]))


def test_a_struct_page(ask: Asker, loaded: Machine) -> None:
    (pfn,) = loaded.pfns()
    page = pfn_to_page(ask.prog, pfn).value_()
    found = ask.identity(page + 8, "page_struct")
    assert (number(found["pfn"]), number(found["start"])) == (pfn, page)
    assert found["offset_bytes"] == 8


def test_a_fixmap_slot(ask: Asker, loaded: Machine) -> None:
    """The first I/O APIC's slot maps its address in /proc/iomem, uncached."""
    lines = loaded.guest.check("cat", "/proc/iomem").splitlines()
    (line,) = (line for line in lines if line.endswith(": IOAPIC 0"))
    slots = {each.name: each.value for each in ask.prog.type("enum fixed_addresses").enumerators}
    report = ask(0xFFFF_FFFF_FF7F_F000 - slots["FIX_IO_APIC_BASE_0"] * PAGE_BYTES + 0x10)
    found = report["identity"]["fixmap"]
    assert (found["name"], found["index"]) == ("FIX_IO_APIC_BASE_0", 0)
    assert found["slot"] == slots["FIX_IO_APIC_BASE_0"]
    assert number(report["walk"]["paddr"]) == int(line.split("-")[0], 16) + 0x10
    assert (report["walk"]["memory_type"], report["exit_code"]) == ("UC", 0)
    assert report["frame"]["use"] == "no struct page"
    after = ask(number(report["address"]) - PAGE_BYTES)["identity"]["fixmap"]
    assert (after["name"], after["index"]) == ("FIX_IO_APIC_BASE_0", 1)


def test_cpu_entry_areas(ask: Asker, loaded: Machine) -> None:
    """Each CPU's GDT, TSS and IDT are at QEMU's addresses."""
    with closing(monitor(loaded.guest)) as control:
        said = control.call("human-monitor-command", 60, command_line="info registers -a")
    registers = re.findall(r"^(TR|GDT|IDT) *=.*?([0-9a-f]{16})", str(said), re.MULTILINE)
    assert len(registers) == 3 * loaded.setup.cpus
    for number_of, (name, text) in enumerate(registers):
        found = ask.identity(int(text, 16), "cpu_entry")
        member = {"TR": "tss.x86_tss", "GDT": "gdt", "IDT": "IDT"}[name]
        cpu = None if name == "IDT" else number_of // 3
        assert found["cpu"] == cpu, name
        assert found["member"].startswith(member), name
        assert number(found["start"]) + found["offset_bytes"] == int(text, 16)


def test_vsyscall(ask: Asker) -> None:
    found = ask("ffffffffff600404")["identity"]
    assert found["vsyscall"]["call"] == "time"
    assert (found["fixmap"]["name"], found["fixmap"]["slot"]) == ("VSYSCALL_PAGE", 511)


#: Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h); the first match counts.
KPAGEFLAGS = ((7, "slab"), (10, "free"), (26, "page table"), (32, "reserved"), (12, "anonymous"))


#: Memory of the program that reads kpageflags: its use then, and after the program has ended.
FREE_BUT_TO_ITSELF = {("anonymous", "free"), ("anonymous", "refcount 0")}


def kpageflags(machine: Machine, pfns: list[int]) -> dict[int, str]:
    """Return the use of frames by kpageflags; "" if the flags do not determine it."""
    script = (
        f"import json; f = open('/proc/kpageflags', 'rb', 0); out = []\n"
        f"for pfn in {pfns}:\n"
        "    f.seek(pfn * 8); out.append(int.from_bytes(f.read(8), 'little'))\n"
        "print(json.dumps(out))"
    )
    flags = json.loads(machine.guest.check("python3", "-c", script))
    return {
        pfn: next((use for bit, use in KPAGEFLAGS if word >> bit & 1), "")
        for pfn, word in zip(pfns, flags, strict=True)
    }


def exported_use(frame: Json) -> str:
    """Return a frame's use by kpageflags, which omits free pages on the lists of CPUs."""
    on_a_list = frame["use"] == "free" and frame["owner"]["free_cpu"] is not None
    return "refcount 0" if on_a_list else str(frame["use"])


def test_uses_of_frames(ask: Asker, loaded: Machine) -> None:
    """Compare /proc/kpageflags of frames that do not change, by their physmap addresses."""
    base = ask.prog["page_offset_base"].value_()
    memory = ask.prog["max_pfn"].value_()
    pfns = random.Random(1).sample(range(256, memory), 120)
    uses = {"slab", "free", "page table", "reserved", "anonymous"}
    open_ones = dict.fromkeys(
        pfns, ("", "")
    )  # until both agree, as pages are allocated and freed meanwhile
    told = set()
    for _ in range(8):
        before = kpageflags(loaded, list(open_ones))
        mine = {pfn: exported_use(ask(base + pfn * PAGE_BYTES)["frame"]) for pfn in open_ones}
        after = kpageflags(loaded, list(open_ones))
        for pfn, use in mine.items():
            open_ones[pfn] = before[pfn], use
            flags = before[pfn]
            if use == "refcount 0" and flags == "anonymous":
                flags = ""  # just freed: the kernel reads stale fields of struct page
            if before[pfn] == after[pfn] and flags == (use if use in uses else ""):
                told |= {pfn} if use in uses else set()
                del open_ones[pfn]
        if not open_ones:
            break
    # The program that reads kpageflags gets the most recently freed pages each time.
    readers_own = {pfn for pfn, pair in open_ones.items() if pair in FREE_BUT_TO_ITSELF}
    assert open_ones.keys() == readers_own, {f"{p:#x}": pair for p, pair in open_ones.items()}
    assert len(readers_own) < 5
    assert len(told) > 30  # the others are page cache and similar


def test_a_user_address(ask: Asker, loaded: Machine) -> None:
    """The helper's code and its mapping of the region, by /proc/PID/maps and the region's frame."""
    pid = int(loaded.sysfs("helper_pid"))
    lines = loaded.guest.check("cat", f"/proc/{pid}/maps").splitlines()
    for line in (lines[0], next(line for line in lines if line.endswith("/dev/umh_shm"))):
        words = line.split(maxsplit=5)
        start = int(words[0].partition("-")[0], 16)
        report = ask(start + 4, pid)
        assert (report["vma"]["name"], report["vma"]["permissions"]) == (words[5], words[1])
        assert number(report["vma"]["vma"]["start"]) == start
        assert (report["region"]["region"], report["exit_code"]) == ("user", 0)
        assert report["walk"]["permissions"]["user"] is True
    assert number(report["walk"]["pfn"]) == loaded.pfns()[0]
    # A page of the image that was freed after boot (__init) is mapped there, too.
    alias, *in_image = report["frame"]["aliases"]
    assert (alias["region"], alias["same"]) == ("physmap", True)
    assert {one["region"] for one in in_image} <= {"text"}
    assert alias["address"] == ask(KERNEL_SIDE)["address"][:-3] + "004"
    assert ask(0, pid)["exit_code"] == 3  # nothing is mapped, and no VMA covers it


def test_the_images_alias(ask: Asker, loaded: Machine) -> None:
    """The physmap address of a symbol gives its address in the image, and is read-only."""
    text = ask("schedule")
    (alias,) = text["frame"]["aliases"]
    assert (alias["region"], alias["same"], alias["permissions"]["write"]) == (
        "physmap",
        True,
        False,
    )
    back = ask(alias["address"])["frame"]["aliases"]
    assert [one["address"] for one in back] == [text["address"]]


def test_a_hole(ask: Asker) -> None:
    """ERR_PTR()'s addresses."""
    report = ask("fffffffffffffff4")
    assert (report["known"], report["exit_code"], report["frame"]) == (False, 3, None)
    assert report["region"]["region"] == "top-hole"


#: Fills a file of 4 MiB in a tmpfs of huge pages, and prints the PFNs of all its pages.
FILL = """
import json, mmap
with open("/run/huge/file", "w+b") as file:
    file.truncate(4 << 20)
    memory = mmap.mmap(file.fileno(), 4 << 20)
    for at in range(0, 4 << 20, 4096):
        memory[at] = 1
    lines = [line.split() for line in open("/proc/self/maps")]
    (span,) = [line[0] for line in lines if line[-1] == "/run/huge/file"]
    with open("/proc/self/pagemap", "rb", 0) as pagemap:
        pagemap.seek(int(span.split("-")[0], 16) // 4096 * 8)
        words = pagemap.read(1024 * 8)
print(json.dumps([n & (1 << 55) - 1 for n in memoryview(words).cast("Q")]))
"""


def frame_of(ask: Asker, pfn: int) -> Json:
    """Look it up by its address in the direct map."""
    found: Json = ask(ask.prog["page_offset_base"].value_() + pfn * PAGE_BYTES)["frame"]
    return found


def test_pages_of_a_large_folio(ask: Asker, loaded: Machine) -> None:
    """index, mapping and flags of a tail page are not those of its file."""
    mount = "mkdir -p /run/huge && mount -t tmpfs -o huge=always x /run/huge"
    loaded.guest.check("sh", "-c", mount)
    pfns = json.loads(loaded.guest.check("python3", "-c", FILL))
    assert pfns[1:512] == list(range(pfns[0] + 1, pfns[0] + 512)), "no huge page"
    for page in (0, 1, 2, 3, 5, 511, 1023):
        found = frame_of(ask, pfns[page])
        owner = found["owner"]
        assert (owner["file_name"][-4:], owner["offset_pages"]) == ("file", page), found
        words = set(found["page"]["flags_words"].split("|"))
        assert {"head", "uptodate", "dirty", "swapbacked"} <= words
        # Names of the same bits for other kinds of pages.
        assert not words & {"reported", "savepinned", "anon_exclusive", "owner_2", "foreign"}
    loaded.guest.check("umount", "/run/huge")


def test_whose_memory(ask: Asker) -> None:
    """A task's stack and a module's data by their frames; struct page does not have the owner."""
    task = find_task(ask.prog, 1)
    pfn = vmalloc_to_pfn(task.stack + 2 * PAGE_BYTES).value_()
    stack = frame_of(ask, pfn)["area"]
    assert (stack["kind"], stack["pid"], stack["owns"]) == ("kernel stack", 1, True)
    assert number(stack["start"]) == task.stack.value_()
    operations = ask.prog.variable("umh_shm_fops").address_
    module = frame_of(ask, vmalloc_to_pfn(ask.prog, operations).value_())["area"]
    assert (module["kind"], module["module"]) == ("module", "umh_shm")
