"""What is seen: results on standard output, everything else on standard error, an error as one line."""

import contextlib
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import typer

from ..atomic import is_full, plain
from ..errors import Interrupted, SlimbertError

if TYPE_CHECKING:
    from rich.console import Group

FAILED, USAGE, INTERRUPTED = 1, 2, 130
UNFINISHED = "the same command begins again, or goes on where its folder says so"
CLICK_ERROR: Any = typer.BadParameter.__mro__[
    2
]  # its ClickException; newer versions of typer carry a click of their own

Show = Callable[..., None]  # (result, *what a person is shown: tables and lines)


@contextlib.contextmanager
def results(as_json: bool) -> Iterator[Show]:
    """A function that shows the result of a command: as one JSON document, or as tables and lines.

    Meanwhile standard output is that function's alone: what anything else prints goes to standard error. Of several
    processes that run one job, only the first shows anything.
    """
    stdout, first = sys.stdout, os.environ.get("RANK", "0") == "0"

    def show(result: Any, *shown: "Group | str") -> None:
        if first and as_json:
            stdout.write(document(result, indent=2) + "\n")
        elif first:
            _print(stdout, shown)

    with contextlib.redirect_stdout(sys.stderr):
        yield show
        stdout.flush()


@contextlib.contextmanager
def json_lines() -> Iterator[Callable[[Iterable[Any]], None]]:
    """A function that writes each of some answers as a line of JSON, at once, so that answers stream."""
    stdout = sys.stdout

    def write(answers: Iterable[Any]) -> None:
        stdout.writelines(document(answer) + "\n" for answer in answers)
        stdout.flush()

    with contextlib.redirect_stdout(sys.stderr):
        yield write


def document(result: Any, *, indent: int | None = None) -> str:
    """JSON text of named tuples, dataclasses, arrays and plain data; what is not a finite number becomes null."""
    return json.dumps(plain(result), indent=indent, ensure_ascii=False, allow_nan=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> "Group":
    """A table whose first `left` columns hold words and the others numbers, readable at 80 columns."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        made.add_column(name, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return _titled(title, made)


def pairs(title: str, values: Mapping[str, object]) -> "Group":
    """Names and values, one under the other."""
    from rich.table import Table

    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values.items():
        made.add_row(name, str(value))
    return _titled(title, made)


def _titled(title: str, made: Any) -> "Group":
    """The title on a line of its own: rich would wrap it to the width of the table."""
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title, "bold"), made) if title else Group(made)


def following(*commands: Sequence[object]) -> str:
    """The lines that say which commands come next."""
    return "\n".join(["next:", *("  slimbert " + shlex.join(map(str, command)) for command in commands)])


def count(value: float | None) -> str:
    """1234567 -> 1,234,567."""
    return "-" if value is None else f"{value:,.0f}"


def share(value: float) -> str:
    """0.1234 -> 12.3%."""
    return f"{value:.1%}"


def bytes_of(size: float) -> str:
    """123456789 -> 123 MB (1e6 bytes)."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return f"{size / scale:.3g} {unit}" if size < 1e3 * scale else f"{size / scale:,.0f} {unit}"
    return f"{size:.0f} B"


def clock(seconds: float) -> str:
    """75.3 -> 1:15; below a minute 12.3 s."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    from ..train import progress

    return progress.clock(seconds)


def remark(message: str) -> None:
    """A line on standard error about what is being done."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def complain(kind: str, message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{kind}: {' '.join(message.split())}\n")


def failure(error: BaseException, *, debug: bool) -> int:
    """Tell how a command ended badly, in one line (with `debug` also where), and give its exit code."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        complain("interrupted", UNFINISHED)
        return INTERRUPTED
    if isinstance(error, SlimbertError):
        complain("interrupted" if isinstance(error, Interrupted) else "error", str(error))
        return error.exit_code
    if isinstance(error, CLICK_ERROR):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "slimbert"
        complain("error", f"{error.format_message().rstrip('.')}; see {path} --help")
        return USAGE
    if isinstance(error, OSError) and (is_full(error) or error.filename is not None):
        place = error.filename or "disk"
        remedy = "free some space or choose another --out" if is_full(error) else "check the path and its permissions"
        complain("error", f"{place}: {(error.strerror or str(error)).lower()}; {remedy}")
        return USAGE
    first = (str(error).strip().splitlines() or ["no message"])[0]
    complain("error", f"{type(error).__name__}: {first[:300]}; --debug shows where")
    return FAILED


def _print(stdout: TextIO, shown: Iterable["Group | str"]) -> None:
    from rich.console import Console

    console = Console(file=stdout, highlight=False)
    for one in shown:
        console.print(one, markup=False, soft_wrap=isinstance(one, str))
