# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof watch`` on the command line."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pageproof.errors import PageproofError
from pageproof.front.command import Command, add_report_options, add_verbose, check_kinds, pid

if TYPE_CHECKING:
    from pageproof.attach import Target
    from pageproof.commands.watch import Sink
    from pageproof.front.output import Progress
    from pageproof.model.asked import WatchAsked
    from pageproof.render import Options, Write

EPILOG: Final = """\
exit codes:
  0  accesses were seen, none was lost, and none breaks the protocol
  1  an access breaks the protocol
  2  wrong usage, nothing could be armed, or the target cannot be opened
  3  there was no access, accesses were lost or could not be seen, or some address could not
     be armed

Ctrl-C ends the watch; the sum and the exit code are as after --seconds.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("which frame (default: the only shared region beside vDSOs)")
    what.add_argument(
        "--kind",
        metavar="KIND",
        action="append",
        default=[],
        help="a region of this kind, such as umh_shm or io_uring; repeatable",
    )
    what.add_argument("--pid", type=pid, metavar="PID", help="a region of this process")
    what.add_argument(
        "--device", metavar="PATH|MAJOR:MINOR", help="a mapping of this device, whatever its driver"
    )
    what.add_argument(
        "--page", type=_number, metavar="N", help="page of the region (default: the first, 0)"
    )
    what.add_argument(
        "--user", metavar="ADDRESS", help="the frame of this address in the process --pid"
    )
    what.add_argument(
        "--kernel",
        metavar="ADDRESS|SYMBOL|EXPR",
        help="the frame of this kernel address, as for verify",
    )
    what.add_argument(
        "--frame", type=_hex, metavar="PFN", help="the frame with this number, in hex"
    )
    part = parser.add_argument_group("which bytes of it (default: every member of its type)")
    part.add_argument(
        "--field",
        metavar="MEMBER",
        action="append",
        default=[],
        help="a member, such as id, req.id or payload[0:8]; repeatable",
    )
    part.add_argument(
        "--type",
        metavar="TYPE",
        help="C type at the beginning of the page, or at the address of --kernel or --user: "
        "'struct foo' (default: what the finder of the region knows)",
    )
    part.add_argument("--offset", type=_number, metavar="N", help="bytes from here on, in the page")
    part.add_argument("--length", type=_number, metavar="BYTES", help="how many of them")
    part.add_argument(
        "--writes", action="store_true", help="watch writes only, which needs fewer registers"
    )
    part.add_argument(
        "--owner",
        metavar="EXPR",
        help="who may write, as an expression over the members that gives kernel, user, both or "
        "nobody: 'user if state == 1 else kernel'; other writes are findings",
    )
    how = parser.add_argument_group("how, and until when (default: until Ctrl-C)")
    how.add_argument(
        "--gdb",
        metavar="SOCKET|HOST:PORT",
        help="with --qemu: QEMU's gdb stub (-gdb unix:PATH,server=on,wait=off); the guest stops "
        "for about a millisecond at each access",
    )
    how.add_argument(
        "--sample",
        action="store_true",
        help="read the accessed and dirty bits of the page's entries again and again instead, for "
        "hosts without a gdb stub: roughly which side's entries are used, no values and no code",
    )
    how.add_argument("--count", type=_positive, metavar="N", help="end after N accesses")
    how.add_argument("--seconds", type=_seconds, metavar="S", help="end after S seconds")
    how.add_argument(
        "--program",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="an ELF file with symbols of a user program, to name its functions; inside the "
        "machine its own files are used; repeatable",
    )
    report = add_report_options(parser, "junit")
    add_verbose(report, "text: show the kernel's stack of each access, and every address")


def _number(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _positive(text: str) -> int:
    value = _number(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return value


def _hex(text: str) -> int:
    try:
        value = int(text.removeprefix("pfn:"), 16)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number in hex")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not fit together, kinds that do not exist, and missing programs."""
    _asked(args)
    check_kinds(args.kind)
    for path in args.program:
        _check_program(path)
    if args.gdb is not None and not re.search(r":\d+$", args.gdb) and not Path(args.gdb).exists():
        raise PageproofError(
            "there is no such socket",
            f"--gdb {args.gdb}",
            "is the guest running, and with -gdb unix:PATH,server=on,wait=off?",
        )
    if args.owner is not None:
        try:
            ast.parse(args.owner, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise PageproofError(
                f"this is not an expression: {error}",
                f"--owner {args.owner!r}",
                "write one as in Python, such as 'user if state == 1 else kernel'",
            ) from None


def _check_program(path: Path) -> None:
    try:
        with path.open("rb") as file:
            elf = file.read(4) == b"\x7fELF"
    except OSError as error:
        raise PageproofError(
            error.strerror or "it can't be read", f"--program {path}", "give an ELF file"
        ) from None
    if not elf:
        raise PageproofError(
            "this is not an ELF file", f"--program {path}", "give the program itself, with symbols"
        )


def _asked(args: argparse.Namespace) -> WatchAsked:
    from pageproof.model.asked import FrameAsked, WatchAsked, Watching

    return WatchAsked(
        frame=FrameAsked(
            kinds=tuple(args.kind),
            pid=args.pid,
            device=args.device,
            page=args.page,
            user=args.user,
            kernel=args.kernel,
            pfn=args.frame,
        ),
        fields=tuple(args.field),
        type_name=args.type,
        offset=args.offset,
        length=args.length,
        watching=Watching.WRITES if args.writes else Watching.ANY,
        gdb=args.gdb,
        sample=args.sample,
        count=args.count,
        seconds=args.seconds,
        owner=args.owner,
        stacks=args.verbose,
        programs=tuple(args.program),
    )


def run(target: Target, args: argparse.Namespace, progress: Progress) -> int:
    from pageproof.commands.watch import watch
    from pageproof.front.output import fitted, opened
    from pageproof.render import Options

    options = fitted(Options(verbose=args.verbose), args.output)
    with opened(args.output, at_once=True) as write:

        def write_alone(text: str) -> None:
            progress.clear()
            write(text)

        sink = _sink(args.format, write_alone, options)
        return watch(target, _asked(args), progress.say, sink)


def _sink(form: str, write: Write, options: Options) -> Sink:
    if form == "json":
        from pageproof.render.linesform import JsonTimeline

        return JsonTimeline(write)
    if form == "junit":
        from pageproof.judge.rules.protocol import UNSYNCHRONIZED
        from pageproof.render.junit.watch import JUnitTimeline

        return JUnitTimeline(write, UNSYNCHRONIZED.id)
    from pageproof.render.draw.watch import TextTimeline

    return TextTimeline(write, options)


WATCH: Final = Command(
    name="watch",
    help="show every access to shared memory, from both of its sides",
    description="Find every address of a frame, watch all of them, and show each read and write: "
    "the kernel's side and the user's. With a protocol (umh_shm's own, or --owner), report "
    "accesses that break it.",
    epilog=EPILOG,
    add_options=add_options,
    run=run,
    check=check,
)
