# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: parses arguments, opens the target, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pageproof import __version__
from pageproof.errors import Exit, PageproofError, TerminatedError
from pageproof.files.outputs import check_writable
from pageproof.front import COMMANDS, OFFLINE, Command, Offline, output
from pageproof.front.command import described, load_parts, need_drgn, with_bug_code
from pageproof.front.verify import EPILOG
from pageproof.model.kinds import UMH_SHM
from pageproof.render.printable import printable
from pageproof.space.ramranges import parse_ram

if TYPE_CHECKING:
    from pageproof.attach import Target

#: Errors of standard output, for what argparse prints itself; a report's have a message already.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

#: Opens the target; reports progress to the function that it is given.
_Open = Callable[[Callable[[str], None]], "Target"]


class _Parser(argparse.ArgumentParser):
    """argparse, but its errors look like all others, and a parser may be filled on first use.

    Args:
        fill: adds the options and commands when the parser is first used.
        before: the parser whose options come before this one's command.
    """

    def __init__(
        self,
        *args: Any,
        fill: Callable[[_Parser], None] | None = None,
        before: _Parser | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._fill, self._before = fill, before

    def fill(self) -> None:
        """Add the options and commands if that was left for the first use."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.fill()
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            # Not left to the outermost parser, which does not know the command's options.
            self._refuse(unknown[0])
        return found, unknown

    def _refuse(self, word: str) -> NoReturn:
        """Raise the error for a word that is no option of this parser, nor an argument."""
        fix = f"see {self.prog} --help"
        if not word.startswith("-"):
            raise PageproofError(f"unexpected argument {word!r}", self.prog, fix)
        name = word.partition("=")[0]
        if self._before is not None and name in self._before.options:
            fix = "it belongs before the command"
        else:
            from difflib import get_close_matches

            if near := get_close_matches(name, self.options, 1):
                fix = f"did you mean {near[0]}?"
        raise PageproofError(f"unknown option {name}", self.prog, fix)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of all options."""
        return tuple(name for action in self._actions for name in action.option_strings)

    def error(self, message: str) -> NoReturn:
        message = message.replace("ignored explicit argument", "it takes no value, not")
        raise PageproofError(message, "", f"see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="pageproof",
        description="Prove that a kernel mapping and a user mapping are the same physical memory.",
        epilog=with_bug_code(EPILOG),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pageproof {__version__}")
    parser.add_argument(
        "-v", action="store_true", dest="traceback", help="show the traceback of a bug in pageproof"
    )  # for the help; _is_verbose() looks for it
    _add_target(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for command in (*COMMANDS, *OFFLINE):
        one = commands.add_parser(
            command.name,
            help=command.help,
            before=parser,
            fill=command.add_options,
            **described(command),
        )
        one.set_defaults(chosen=command)
    commands.add_parser(
        "kdump",
        help="is this machine ready for a crash, and is this dump whole?",
        fill=_fill_kdump,
        allow_abbrev=False,
    )
    commands.add_parser("lab", help="real kernels in QEMU to try pageproof on", fill=_fill_lab)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("target (default: the live kernel)")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "-c",
        "--core",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a vmcore, or an image of memory; repeatable for the parts of a split dump",
    )
    which.add_argument("--qemu", metavar="SOCKET", help="a running QEMU guest, by its QMP socket")
    group.add_argument(
        "--ram",
        metavar="START-END@OFFSET",
        action="append",
        default=[],
        help="where a raw image has RAM: its physical addresses and the offset in the file, in "
        "hex; repeatable (default: the file is memory from address 0 on)",
    )
    group.add_argument(
        "-s",
        "--symbols",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="debug info (vmlinux, *.ko) in addition to what drgn finds; repeatable",
    )
    group.add_argument(
        "--debug-info",
        choices=("auto", "dwarf", "btf"),
        default="auto",
        help="types from debug packages or from the kernel's own BTF (default: the first found)",
    )
    group.add_argument(
        "--which-kernel",
        choices=("running", "crashed"),
        help="of a machine that panicked into its crash kernel, which is in the same memory",
    )


def _fill_kdump(parser: _Parser) -> None:
    """Add the commands of crash capture, which are in a package of their own."""
    from pageproof.front.kdump import add_commands

    add_commands(parser)


def _fill_lab(parser: _Parser) -> None:
    """Add the lab's own commands, which are in a package that is not installed everywhere."""
    try:
        from pageproof_lab.cli import add_commands
    except ImportError as error:
        raise PageproofError(
            f"the lab is not installed: {error}", "", "run it from the project's own tree"
        ) from None
    add_commands(parser)


def _run_command(command: Command | Offline, args: argparse.Namespace, open_it: _Open) -> int:
    """Check the options, open the target if the command needs one, and run the command."""
    command.check(args)
    if args.output is not None:
        check_writable(args.output, "report", f"-o {args.output}")
    progress = output.Progress()
    try:
        if isinstance(command, Offline):
            return command.run(args, progress)
        code = command.offline(args, progress)
        if code is not None:
            return code
        target = open_it(progress.say)
        from pageproof.attach.faults import faults_as_errors

        with faults_as_errors(target.facts.where):
            return command.run(target, args, progress)
    finally:
        progress.clear()


def _open(args: argparse.Namespace) -> _Open:
    ram = tuple(parse_ram(text) for text in args.ram)
    if ram and not args.core:
        raise PageproofError("--ram is for a raw image of memory", "", "give the image with -c")

    def open_it(say: Callable[[str], None]) -> Target:
        need_drgn()
        from pageproof.attach import DebugInfo, KernelChoice, Wanted, open_target

        if args.core:
            from pageproof.attach.shrinking import exit_if_it_shrinks

            exit_if_it_shrinks(args.core, lambda error: _line(f"error: {error}") + "\n")

        wanted = Wanted(
            qemu=args.qemu,
            core=args.core[0] if args.core else None,
            other_parts=tuple(args.core[1:]),
            ram=ram,
            symbols=tuple(args.symbols),
            debug_info=DebugInfo(args.debug_info),
            which_kernel=KernelChoice(args.which_kernel) if args.which_kernel else None,
        )
        return open_target(wanted, [UMH_SHM], say, lambda: load_parts(args.command, args.format))

    return open_it


def _run(argv: Sequence[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return Exit.USAGE
    if args.command == "lab":
        return int(args.run(args))
    if isinstance(args.chosen, Offline) and (args.core or args.qemu or args.symbols):
        raise PageproofError(f"{args.chosen.name} reads no target", "", args.chosen.without_target)
    if args.which_kernel and not (args.qemu or args.core):
        raise PageproofError(
            "--which-kernel is for a guest or an image of memory",
            "",
            "add --qemu or -c",
        )
    return _run_command(args.chosen, args, _open(args))


def guarded(run: Callable[[], int], *, verbose: bool = False) -> int:
    """Run a function, and turn any exception into a line on standard error and an exit code.

    Python's own exit status for an exception is 1, which here means DIFFERENT.

    Args:
        run: returns the exit code.
        verbose: show the traceback of a bug.

    Returns:
        The exit code of ``run``, or that of the error.
    """
    try:
        try:
            code = int(run())
        except SystemExit:  # argparse has printed its help or the version
            output.flush_out()
            raise
        output.flush_out()
        return code
    except PageproofError as error:
        _say(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:  # the reader has exited (| head)
        output.abandon()
        return Exit.USAGE
    except TerminatedError:
        _say("terminated")
        return 143
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except MemoryError:
        _say("error: not enough memory")
        return Exit.USAGE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            output.abandon()
            _say(f"error: cannot write: {error.strerror}")
            return Exit.USAGE
        if verbose:
            _say_lines(traceback.format_exc())
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        remedy = "with this traceback" if verbose else "with the traceback that -v shows"
        _say(f"error: this is a bug in pageproof: {what}; please report it {remedy}")
        return Exit.CRASHED


def _say(line: str) -> None:
    if sys.stderr is not None:  # print() would use standard output instead
        print(_line(line), file=sys.stderr)


def _line(text: str) -> str:
    return f"pageproof: {printable(text)}"


def _say_lines(text: str) -> None:
    """Print a traceback, escaped: its last lines may contain text from the target."""
    if sys.stderr is not None:
        print(*map(printable, text.splitlines()), sep="\n", file=sys.stderr)


def _is_verbose(argv: Sequence[str]) -> bool:
    """Return whether -v is given, without parsing the command line: parsing may be what fails."""
    return not {"-v", "--verbose"}.isdisjoint(argv)


def _terminate(number: int, frame: object) -> NoReturn:
    raise TerminatedError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``pageproof`` and return its exit code."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, _terminate)
    arguments = sys.argv[1:] if argv is None else argv
    return guarded(lambda: _run(arguments), verbose=_is_verbose(arguments))


def main_in_drgn(prog: object, name: str, argv: Sequence[str], called: str = "") -> int:
    """Run ``drgn … drgn_scripts/NAME.py``, where the target is drgn's own program.

    Args:
        prog: ``drgn.Program``.
        name: the command.
        argv: its arguments.
        called: its name in the help (default: the script's).

    Returns:
        The exit code.
    """
    command = next(one for one in COMMANDS if one.name == name)

    def run() -> int:
        import drgn

        from pageproof.attach import given_target

        assert isinstance(prog, drgn.Program)
        parser = _Parser(
            prog=called or f"{name}.py",
            **described(command),
        )
        command.add_options(parser)
        return _run_command(command, parser.parse_args(argv), lambda say: given_target(prog))

    return guarded(run, verbose=_is_verbose(argv))
