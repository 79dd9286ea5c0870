# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: options, a fresh guest, the replay, and its output.

What needs drgn is imported when the command runs, since all commands of the lab load this file.
"""

import argparse
from pathlib import Path

from pageproof_lab import LabError
from pageproof_lab.article.steps import Step, Transcript
from pageproof_lab.guest import boot, qemu
from pageproof_lab.guest.guest import Guest
from pageproof_lab.images import build, kernels
from pageproof_lab.images.build import Built
from pageproof_lab.proc import say

FORMATS = ("text", "json")


def add_article_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the guests of other commands do not have."""
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="parameter of umh_shm.ko, to see which steps fail then; repeatable",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the guest up if all steps were done"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="(default: text)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the transcript to this file"
    )


def article(args: argparse.Namespace, options: qemu.Options, name: str | None) -> int:
    """Repeat the article's session on a fresh guest.

    Args:
        args: the options of `add_article_options`, and the kernel.
        options: of the guest.
        name: of the lab, if it stays up.

    Returns:
        0 if each step showed what it should, else 1.

    Raises:
        LabError: the guest did not come up, or a step could not be done.
    """
    output: Path | None = args.output
    if output is not None and not output.absolute().parent.is_dir():
        raise LabError(f"-o {output}: its directory does not exist")
    kernel = kernels.fetch(args.kernel)
    built = build.build(kernel)
    with boot.boot(kernel, options, name=name, built=built) as here:
        transcript = _replay(here, built, tuple(args.parameter), args)
        if name is not None:
            here.detach()
    return 0 if transcript.ok else 1


def _replay(
    here: Guest, built: Built, parameters: tuple[str, ...], args: argparse.Namespace
) -> Transcript:
    from pageproof_lab.article import text
    from pageproof_lab.article.replay import replay

    steps: list[Step] = []
    shown: list[str] = []
    for number, step in enumerate(replay(here, built, parameters), 1):
        steps.append(step)
        shown.append(text.step_text(number, step) + "\n")
        if args.output is not None or args.format == "json":
            say(f"step {number}: {step.title}: {'ok' if step.ok else 'NOT AS EXPECTED'}")
        else:
            print(shown[-1], flush=True)
    transcript = Transcript(here.facts.release, here.facts.append, parameters, tuple(steps))
    shown.append(text.end_text(transcript))
    whole = text.to_json(transcript) if args.format == "json" else "\n".join(shown)
    if args.output is not None:
        try:
            args.output.write_text(f"{whole}\n", encoding="utf-8")
        except OSError as error:
            raise LabError(f"-o {args.output}: {error.strerror}") from error
    else:
        print(whole if args.format == "json" else shown[-1], flush=True)
    return transcript
