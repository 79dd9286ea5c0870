# SPDX-License-Identifier: GPL-2.0-or-later
"""The formats of files that hold a machine's memory: those that are read, and those that are named.

docs/targets.md repeats the table (tests/unit/attach/test_formats.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Form(StrEnum):
    """How the memory of a file is read; the format in a report's target."""

    ELF = "elf"
    KDUMP = "kdump"
    FLATTENED = "flattened"
    LIME = "lime"
    AVML = "avml"
    RAW = "raw"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: what such a file is, with its article.
        writers: what writes it.
        form: how it is read; None if it is not.
        remedy: what to do with a file that is not read, or what to know about one that is.
        magics: any of these bytes identifies it; none for the last row, which is what remains.
        at: where they are.
    """

    name: str
    writers: str
    form: Form | None
    remedy: str
    magics: tuple[bytes, ...] = ()
    at: int = 0


#: Magics are those of the writers' sources: QEMU's migration/savevm.c (QEMU_VM_FILE_MAGIC),
#: libvirt's qemu_saveimage.h, VirtualBox's SSM.cpp, the kernel's kernel/power/swap.c,
#: Firecracker's src/vmm/src/snapshot/mod.rs, makedumpfile's diskdump_mod.h and sadump_mod.h; and
#: those of crash, which reads them: lkcd_dump_v8.h, vas_crash.h, xendump.h.
FORMATS: Final = (
    Format(
        "an ELF core",
        "kdump, `makedumpfile -E`, QEMU's `dump-guest-memory`, `virsh dump --memory-only`",
        Form.ELF,
        "",
        (b"\x7fELF",),
    ),
    Format(
        "a kdump-compressed dump",
        "`makedumpfile -c`, `-l`, `-z`; `dump-guest-memory` with `format`",
        Form.KDUMP,
        "",
        (b"KDUMP   ",),
    ),
    Format("a flattened dump", "`makedumpfile -F`", Form.FLATTENED, "", (b"makedumpfile\0\0\0\0",)),
    Format(
        "a LiME image",
        "LiME with `format=lime`, `avml acquire`",
        Form.LIME,
        "",
        (b"EMiL",),
    ),
    Format(
        "an AVML image",
        "`avml acquire --compress`",
        Form.AVML,
        "needs libsnappy (Debian: libsnappy1v5)",
        (b"AVML",),
    ),
    Format(
        "a diskdump dump",
        "diskdump, of Linux 2.4 and 2.6",
        None,
        "pageproof reads dumps of Linux 5.10 and newer; use crash",
        (b"DISKDUMP", b"diskdump"),
    ),
    Format(
        "an sadump dump",
        "Fujitsu's stand-alone dump",
        None,
        "convert it: makedumpfile -l -x VMLINUX FILE VMCORE; a disk set with --diskset=FILE for "
        "each disk",
        (b"sadump\0\0",),
    ),
    Format(
        "an LKCD dump",
        "LKCD, of Linux 2.4 and 2.6",
        None,
        "pageproof reads dumps of Linux 5.10 and newer; use crash",
        (
            b"\xed\x23\x8f\x61\x73\x01\x19\xa8",
            b"\xa8\x19\x01\x73\x61\x8f\x23\xed",
            b"\xcd\x23\x8f\x61\x73\x01\x19\xa8",
        ),
    ),
    Format(
        "an s390 stand-alone dump",
        "`zipl -d`, `zgetdump -f s390`",
        None,
        "pageproof reads x86_64 only",
        (b"\xa8\x19\x01\x73\x61\x8f\x23\xfd",),
    ),
    Format(
        "a Mission Critical Linux dump",
        "mcore, of Linux 2.2 and 2.4",
        None,
        "pageproof reads dumps of Linux 5.10 and newer; use crash",
        (b"\xdd\xcc\x8b\x9a",),
    ),
    Format(
        "a Xen domain core",
        "`xm dump-core` up to Xen 3.1",
        None,
        "set up kdump in the domain, let it panic, and give its vmcore",
        (b"\xed\xeb\x0f\xf0", b"\xee\xeb\x0f\xf0"),
    ),
    Format(
        "a QEMU migration stream",
        "`migrate`, `savevm` to a file",
        None,
        "load it (QEMU's -incoming 'exec:cat FILE' with -S) and write the memory with "
        "dump-guest-memory",
        (b"QEVM",),
    ),
    Format(
        "a libvirt save file",
        "`virsh save`, `virsh managedsave`",
        None,
        "restore it (virsh restore FILE --paused) and run: virsh dump --memory-only VM VMCORE",
        (b"LibvirtQemudSave", b"LibvirtQemudPart"),
    ),
    Format(
        "a qcow2 disk image",
        "QEMU; `savevm` puts snapshots of memory into it",
        None,
        "load the snapshot (QEMU's -loadvm NAME with -S) and write the memory with "
        "dump-guest-memory",
        (b"QFI\xfb",),
    ),
    Format(
        "a VMware state file",
        "VMware, `.vmss` and `.vmsn`",
        None,
        "give the .vmem file beside it; if there is none, convert both with VMware's vmss2core",
        (b"\xd0\xbe\xd2\xbe", b"\xd1\xba\xd1\xba", b"\xd2\xbe\xd2\xbe", b"\xd3\xbe\xd3\xbe"),
    ),
    Format(
        "a VirtualBox state file",
        "`VBoxManage controlvm VM savestate`",
        None,
        "start the machine and run: VBoxManage debugvm VM dumpvmcore --filename VMCORE",
        (b"\x7fVirtualBox SavedState V",),
    ),
    Format(
        "a Firecracker state file",
        "Firecracker's `snapshot_path`",
        None,
        "give the memory file that was made with it (mem_file_path)",
        (b"\x00\x00\x64\x86\x84\x19\x10\x07",),
    ),
    Format(
        "a hibernation image",
        "Linux, in a swap partition or file",
        None,
        "only its kernel can read it: resume the machine, then capture its memory",
        (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"),
        4086,
    ),
    Format(
        "a swap area",
        "`mkswap`",
        None,
        "it has no kernel memory; give a dump or an image of RAM",
        (b"SWAPSPACE2", b"SWAP-SPACE"),
        4086,
    ),
    Format(
        "a Windows crash dump",
        "Windows; `dump-guest-memory` with `format` win-dmp, of Windows guests only",
        None,
        "pageproof reads Linux kernels only",
        (b"PAGEDU64", b"PAGEDUMP"),
    ),
    Format(
        "a Mach-O file",
        "macOS",
        None,
        "pageproof reads Linux kernels only",
        (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf"),
    ),
    Format("a gzip file", "`gzip`", None, "gunzip it first", (b"\x1f\x8b",)),
    Format("an xz file", "`xz`", None, "unxz it first", (b"\xfd7zXZ\0",)),
    Format("a zstd file", "`zstd`", None, "unzstd it first", (b"\x28\xb5\x2f\xfd",)),
    Format("a bzip2 file", "`bzip2`", None, "bunzip2 it first", (b"BZh",)),
    Format("an lz4 file", "`lz4`", None, "unlz4 it first", (b"\x04\x22\x4d\x18",)),
    Format("an lzop file", "`lzop`", None, "lzop -d it first", (b"\x89LZO\0",)),
    Format("a zip archive", "`zip`", None, "unzip it first", (b"PK\x03\x04",)),
    Format("a 7z archive", "`7z`", None, "7z x it first", (b"7z\xbc\xaf\x27\x1c",)),
    Format(
        "a raw image of memory",
        "QMP `pmemsave`, QEMU's `memory-backend-file`, VMware's `.vmem`, Firecracker, "
        "cloud-hypervisor, LiME with `format=padded`",
        Form.RAW,
        "holes: `--ram START-END@OFFSET`",
    ),
)

#: Bytes from a file's begin with which it is recognised.
HEAD_BYTES: Final = 4096


def recognise(head: bytes) -> Format:
    """Return the format of a file that begins with some bytes: the raw one if no other fits."""
    for one in FORMATS:
        if any(head.startswith(magic, one.at) for magic in one.magics):
            return one
    return FORMATS[-1]
