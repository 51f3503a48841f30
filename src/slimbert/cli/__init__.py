"""The command line: a command parses, calls one function of jobs/ and prints. `main` turns every end into an exit code.

0 done, 1 the run failed, 2 usage or data, 130 interrupted. Heavy imports stand inside the command functions, so that
`--help` needs neither torch nor numpy.
"""

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from . import data, deploy, depth, inspect, output, search, ticket, train

__all__ = ["app", "main"]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slimbert {__version__}")
        raise typer.Exit


def _top(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (may stand anywhere in the command).")
    ] = False,
) -> None:
    """Efficient BERT-style encoders: pretrain, fine-tune, compare and use them, on the hardware you have.

    Begin with `slimbert demo`, or with your own labelled file: `slimbert finetune ENCODER reviews.csv --out runs/a`.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def build(*, options: bool) -> typer.Typer:
    """The command line, with or without typer's own options in front of a command: help and shell completion.

    They cost an import of pydantic even where they are not given, so they are left out where they cannot be meant.
    """
    made = typer.Typer(
        name="slimbert",
        add_completion=options,
        rich_markup_mode=None,  # rich costs a third of a second before the first word of help
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback(invoke_without_command=True, add_help_option=options)(_top)
    for part in (train, deploy, depth, search, inspect, data, ticket):
        made.registered_commands += part.app.registered_commands
        made.registered_groups += part.app.registered_groups
    return made


app = build(options=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and give its exit code; nothing is raised but SystemExit."""
    words, debug = arguments(sys.argv[1:] if argv is None else argv)
    command_first = bool(words) and not words[0].startswith("-") and "_SLIMBERT_COMPLETE" not in os.environ
    try:
        code = (build(options=False) if command_first else app)(args=words, prog_name="slimbert", standalone_mode=False)
    except SystemExit as stop:  # typer's answer to a closed pipe: whoever read the output has had enough of it
        if isinstance(stop.__context__, BrokenPipeError):
            return 0
        raise
    except (Exception, KeyboardInterrupt) as error:
        return output.failure(error, debug=debug)
    if code == output.INTERRUPTED:  # typer's answer to Ctrl-C outside of a run
        output.complain("interrupted", output.UNFINISHED)
    return code if isinstance(code, int) else 0


def arguments(argv: Sequence[str]) -> tuple[list[str], bool]:
    """The words of a command line for typer, and whether `--debug` was among them.

    `--set a=1 b=2` is read as `--set a=1 --set b=2`. Words behind a lone `--` are left as they are.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    words: list[str] = []
    in_settings = False
    for word in argv[:end]:
        if word == "--debug":
            continue
        if in_settings and words[-1] != "--set":
            in_settings = bool(re.match(r"[A-Za-z_][\w.]*=", word))
            words += ["--set"] if in_settings else []
        in_settings |= word == "--set"
        words.append(word)
    return [*words, *argv[end:]], "--debug" in argv[:end]
