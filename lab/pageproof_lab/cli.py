# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab …`: the lab's commands. Exit codes: 0 done, 2 wrong usage or failed."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pageproof_lab import LabError, demo, lint
from pageproof_lab.article.command import add_article_options, article
from pageproof_lab.bench.bench_engine import bench_engine
from pageproof_lab.bench.bench_server import bench_server
from pageproof_lab.bench.bench_start import bench_start
from pageproof_lab.bench.bench_verify import bench_verify
from pageproof_lab.bench.bench_watch import bench_watch
from pageproof_lab.bench.server_options import add_server_options, wishes_of
from pageproof_lab.guest import boot, guest, qemu
from pageproof_lab.images import build, debugkernel, driver, firmware, kernels
from pageproof_lab.images.kernels import Kernel
from pageproof_lab.paths import lab_dir, run_dir

Command = Callable[[argparse.Namespace], int]
_PARTS = ("engine", "start", "verify", "server", "watch")


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        print(f"pageproof lab: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pageproof lab: interrupted, nothing is left running", file=sys.stderr)
        sys.exit(130)


def _command(function: Command) -> Command:
    def run(args: argparse.Namespace) -> int:
        with _errors():
            return function(args)

    return run


def _add_kernel(parser: argparse.ArgumentParser, default: str | None = demo.KERNEL) -> None:
    parser.add_argument(
        "--kernel",
        choices=kernels.NAMES,
        default=default,
        help=f"debug: the one of `make debug-kernel` (default: {default or 'all but debug'})",
    )


def _add_flavour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--flavour",
        choices=kernels.FLAVOURS,
        default=kernels.CLOUD,
        help="as in the names of Debian's packages; pageproof reads the types of all but "
        "cloud-amd64 from BTF (default: %(default)s)",
    )


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name", default="lab", help="name of the lab, if several are up (default: lab)"
    )


def _add_memory_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--paging", type=int, choices=(4, 5), help="page-table levels")
    parser.add_argument(
        "--nokaslr", action="store_true", help="disable KASLR: the documented addresses"
    )
    parser.add_argument(
        "--pti", choices=("on", "off"), help="page-table isolation (default: the kernel decides)"
    )


def _add_boot_options(parser: argparse.ArgumentParser) -> None:
    defaults = qemu.Options()
    _add_memory_options(parser)
    parser.add_argument(
        "--memory",
        type=int,
        metavar="MIB",
        help=f"(default: {defaults.memory_mib}; {qemu.DEBUG.memory_mib} for the debug kernel)",
    )
    parser.add_argument("--cpus", type=int, default=defaults.cpus, help="(default: %(default)s)")
    parser.add_argument(
        "--nodes", type=int, default=defaults.nodes, help="NUMA nodes (default: %(default)s)"
    )
    parser.add_argument("--gdb", action="store_true", help="open a socket for gdb")
    parser.add_argument(
        "--no-vmcoreinfo",
        action="store_true",
        help="a guest that nobody prepared: no vmcoreinfo device",
    )
    parser.add_argument("--uefi", action="store_true", help="boot with OVMF instead of QEMU's BIOS")
    parser.add_argument(
        "--append", default="", metavar="WORDS", help="words to append to the kernel's command line"
    )
    parser.add_argument(
        "--deadline",
        type=float,
        metavar="SECONDS",
        help=f"end the guest after this time (default: {defaults.deadline_seconds:.0f}; "
        f"{qemu.DEBUG.deadline_seconds:.0f} for the debug kernel)",
    )
    own = parser.add_argument_group("a kernel of your own, instead of --kernel")
    own.add_argument("--your-kernel", type=Path, metavar="IMAGE", help="bzImage or vmlinuz")
    own.add_argument("--your-modules", type=Path, metavar="DIR", help="its lib/modules/RELEASE")
    own.add_argument(
        "--vmlinux", type=Path, metavar="FILE", help="its vmlinux with debug info (default: BTF)"
    )
    own.add_argument(
        "--module", type=Path, metavar="FILE", help="umh_shm.ko that is built for it (optional)"
    )


def _check_paging(kernel: str, levels: int | None) -> None:
    if levels and levels not in kernels.series(kernel).levels:
        raise LabError(f"--paging {levels}: kernel {kernel} has no {levels}-level paging")


def _pti(args: argparse.Namespace) -> bool | None:
    return None if args.pti is None else args.pti == "on"


def _options(args: argparse.Namespace) -> qemu.Options:
    base = qemu.DEBUG if args.kernel == kernels.DEBUG.name else qemu.Options()
    if args.memory is None:
        args.memory = base.memory_mib
    if args.memory < 512:
        raise LabError(
            f"--memory {args.memory}: too small; a guest and its crash kernel need 512 MiB"
        )
    if args.cpus < 1:
        raise LabError(f"--cpus {args.cpus}: must be at least 1")
    if not 1 <= args.nodes <= 8:
        raise LabError(f"--nodes {args.nodes}: must be 1 to 8")
    if not args.your_kernel:
        _check_paging(args.kernel, args.paging)
    return replace(
        base,
        paging=args.paging,
        kaslr=not args.nokaslr,
        pti=_pti(args),
        memory_mib=args.memory,
        cpus=args.cpus,
        nodes=args.nodes,
        gdb=args.gdb,
        vmcoreinfo=not args.no_vmcoreinfo,
        firmware=firmware.uefi() if args.uefi else None,
        append=args.append,
        deadline_seconds=args.deadline or base.deadline_seconds,
    )


def _check_flavour(args: argparse.Namespace) -> None:
    if args.kernel == kernels.DEBUG.name and args.flavour != kernels.CLOUD:
        raise LabError(f"--flavour {args.flavour}: the debug kernel has only one")


def _kernel(args: argparse.Namespace) -> tuple[Kernel, build.Built | None]:
    image, modules, vmlinux = args.your_kernel, args.your_modules, args.vmlinux
    if not (image or modules or vmlinux):
        if args.module:
            raise LabError(
                "--module needs --your-kernel; the lab builds the module for its own kernels"
            )
        _check_flavour(args)
        kernel = kernels.fetch(args.kernel, args.flavour)
        return kernel, build.build(kernel)
    if not (image and modules):
        raise LabError("a kernel of your own needs both --your-kernel and --your-modules")
    if args.flavour != kernels.CLOUD:
        raise LabError("--flavour: it is for the lab's kernels, not for --your-kernel")
    if args.module and not args.module.is_file():
        raise LabError(f"{args.module}: no such file")
    own = kernels.own(image, modules, vmlinux)
    return own, build.Built(args.module) if args.module else None


def _target(here: guest.Guest) -> str:
    """Return a command line for a guest; pageproof finds debug info of the lab's kernels itself."""
    words = ["pageproof", "--qemu", str(here.sockets.qmp)]
    if here.facts.kernel == kernels.OWN:
        for file in (here.facts.vmlinux, here.facts.module):
            words += ["-s", file] if file else []
    return shlex.join(words)


def _list(args: argparse.Namespace) -> int:
    for one in kernels.SERIES:
        levels = " or ".join(map(str, one.levels))
        for flavour in kernels.FLAVOURS:
            kernel = kernels.cached(one.name, flavour)
            where = kernel.release if kernel else "not fetched yet"
            how = f"{levels}-level paging, {one.compiler}"
            print(f"{one.name:6}{flavour:13}{where:32} {how}")
    debug = kernels.cached(kernels.DEBUG.name)
    print(f"{'debug':19}{debug.release if debug else 'not built: make debug-kernel'}")
    for directory in sorted(run_dir().iterdir()):
        if (directory / guest.STATE).is_file():
            try:
                here = guest.attach(directory.name)
            except LabError as error:
                print(f"lab {directory.name}: {error}")
                continue
            how = f"up, {here.facts.accelerator}" if here.alive() else "ended"
            print(f"lab {directory.name}: {here.facts.release}, {how}, {directory}")
    return 0


def _up(args: argparse.Namespace) -> int:
    lab_dir(args.name)
    options = _options(args)
    if args.debian:
        if args.parameter:
            raise LabError("--parameter: it is for umh_shm.ko, which a plain Debian does not have")
        options = replace(options, debian=True)
        args.no_load = True
    kernel, built = _kernel(args)
    with boot.boot(kernel, options, name=args.name, built=built) as here:
        if built is not None and not args.no_load:
            here.load_module(*args.parameter)
        here.detach()
    print(
        f"up: {here.facts.release}, {here.facts.accelerator}, {here.facts.boot_seconds} s to boot"
    )
    print(f"verify from outside:  {_target(here)} verify")
    name = "" if args.name == "lab" else f" --name {args.name}"
    if not args.debian:
        print(f"verify from inside:   pageproof lab exec{name} -- pageproof verify")
    print(f"serial log:           {here.sockets.serial}")
    if options.gdb:
        print(f"gdb:                  target remote {here.sockets.gdb}")
        words = ["watch", "--gdb", str(here.sockets.gdb)]
        if built is not None and built.helper is not None:
            words += ["--program", str(built.helper)]
        print(f"watch from outside:   {_target(here)} {shlex.join(words)}")
    print(f"end it:               pageproof lab down{name}")
    return 0


def _exec(args: argparse.Namespace) -> int:
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise LabError("exec: no command; name a command, as in: pageproof lab exec -- uname -a")
    here = guest.attach(args.name)
    # Read stdin only with -i: in CI and in a shell loop it is not meant for the command, and it may
    # be a pipe that is never closed.
    stdin = sys.stdin.buffer.read() if args.interactive and sys.stdin is not None else b""
    try:
        ran = here.run(*words, stdin=stdin, timeout_seconds=args.timeout)
    finally:
        here.hang_up()
    sys.stdout.write(ran.out)
    sys.stderr.write(ran.err)
    return ran.code


def _crash(args: argparse.Namespace) -> int:
    if args.stay:
        here = guest.attach(args.name)
        here.load_crash_kernel(stay=True)
        here.panic_and_stay()
        return 0
    args.output.mkdir(parents=True, exist_ok=True)
    with guest.attach(args.name) as here:
        slow = here.facts.kernel == kernels.DEBUG.name
        seconds = qemu.DEBUG.boot_seconds if slow else guest.CRASH_SECONDS
        dumps = here.crash(args.output, args.dump_format or ("lzo",), args.level, seconds)
        for path in dumps.values():
            print(path)
    return 0


def _down(args: argparse.Namespace) -> int:
    guest.attach(args.name).close()
    return 0


def _chosen(args: argparse.Namespace) -> list[str]:
    return [args.kernel] if args.kernel else [s.name for s in kernels.SERIES]


def _fetch(args: argparse.Namespace) -> int:
    _check_flavour(args)
    for name in _chosen(args):
        print(kernels.fetch(name, args.flavour).home)
    return 0


def _build(args: argparse.Namespace) -> int:
    _check_flavour(args)
    for name in _chosen(args):
        print(build.build(kernels.fetch(name, args.flavour)).module)
    return 0


def _make(args: argparse.Namespace) -> int:
    if not (args.directory / "Makefile").is_file():
        raise LabError(f"{args.directory}: there is no Makefile; name the directory of a driver")
    kernel = kernels.fetch(args.kernel, args.flavour)
    for path in driver.make(kernel, args.directory, args.output, args.words):
        print(path)
    return 0


def _debug_kernel(args: argparse.Namespace) -> int:
    print(debugkernel.debug_kernel().home)
    return 0


def _lint(args: argparse.Namespace) -> int:
    return lint.lint(_chosen(args))


def _bench(args: argparse.Namespace) -> int:
    parts = args.part or _PARTS
    wishes = wishes_of(args, asked="server" in parts)
    if "engine" in parts:
        bench_engine(args.kernel)
    if "start" in parts:
        bench_start(args.kernel)
    if "verify" in parts:
        bench_verify(args.kernel)
    if "server" in parts:
        bench_server(args.kernel, wishes)
    if "watch" in parts:
        bench_watch(args.kernel)
    return 0


def _demo(args: argparse.Namespace) -> int:
    return demo.demo(args.kernel, _options(args), args.flavour)


def _article(args: argparse.Namespace) -> int:
    _check_paging(args.kernel, args.paging)
    options = qemu.Options(
        paging=args.paging, kaslr=not args.nokaslr, pti=_pti(args), cpus=1, gdb=True, emulate=True
    )
    return article(args, options, args.name if args.keep else None)


def add_commands(lab: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of `pageproof lab`; each sets `run`."""
    commands = lab.add_subparsers(dest="lab_command", required=True, metavar="COMMAND")

    def add(name: str, function: Command, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(
            name, help=text, description=text, allow_abbrev=False
        )
        parser.set_defaults(run=_command(function))
        return parser

    add("list", _list, "list the kernels, and the labs that are up")

    up = add("up", _up, "boot a guest, load umh_shm.ko, leave it up")
    _add_kernel(up)
    _add_flavour(up)
    _add_name(up)
    _add_boot_options(up)
    up.add_argument(
        "--debian",
        action="store_true",
        help="boot a plain Debian with systemd, perf, tcpdump and others, without pageproof and "
        "without a crash kernel",
    )
    up.add_argument("--no-load", action="store_true", help="do not load umh_shm.ko")
    up.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="parameter of umh_shm.ko; repeatable",
    )

    execute = add("exec", _exec, "run a command in the guest; exit with its exit code")
    _add_name(execute)
    execute.add_argument(
        "--timeout", type=float, default=300, metavar="SECONDS", help="(default: %(default)s)"
    )
    execute.add_argument(
        "-i",
        "--interactive",
        action="store_true",
        help="pass stdin to the command, which starts when stdin ends; default: no stdin",
    )
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND …")

    crash = add("crash", _crash, "panic the guest and save its vmcore here; this ends the guest")
    _add_name(crash)
    crash.add_argument(
        "--dump-format", action="append", choices=guest.FORMATS, help="repeatable (default: lzo)"
    )
    crash.add_argument(
        "--level",
        type=int,
        choices=range(32),
        default=31,
        metavar="0..31",
        help="makedumpfile's dump level (default: 31, on 7.1 and newer without bit 8)",
    )
    crash.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="(default: here)"
    )
    crash.add_argument(
        "--stay", action="store_true", help="save nothing, and leave the crash kernel up"
    )

    down = add("down", _down, "end the guest")
    _add_name(down)

    for name, function, text in (
        ("fetch", _fetch, "fetch kernels with headers and debug info into the cache"),
        ("build", _build, "build umh_shm.ko and print its path"),
    ):
        of_kernels = add(name, function, text)
        _add_kernel(of_kernels, None)
        _add_flavour(of_kernels)
    add("debug-kernel", _debug_kernel, "build a kernel with KASAN, lockdep and other checks")
    _add_kernel(add("lint", _lint, "run checkpatch and sparse on the module"), None)

    own = add(
        "make",
        _make,
        "build your own driver for a kernel of the lab; print the paths of the results",
    )
    _add_kernel(own)
    _add_flavour(own)
    own.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="(default: here)"
    )
    own.add_argument("directory", type=Path, metavar="DIR", help="with a Makefile that takes KDIR")
    own.add_argument(
        "words", nargs="*", metavar="WORD", help="more arguments for make, such as a target"
    )

    timing = add(
        "bench", _bench, "time the engine and the commands, and other programs beside them"
    )
    _add_kernel(timing)
    timing.add_argument("--part", action="append", choices=_PARTS, help="repeatable (default: all)")
    add_server_options(timing)

    show = add(
        "demo", _demo, "the proof three times: from outside, inside the guest, from its vmcore"
    )
    _add_kernel(show)
    _add_flavour(show)
    _add_boot_options(show)

    replay = add(
        "article",
        _article,
        "repeat the article's debugging session on a fresh guest, and check every step; exit code "
        "1 if a step did not show what it should",
    )
    _add_kernel(replay)
    _add_name(replay)
    _add_memory_options(replay)
    add_article_options(replay)
