"""Commands about labelled data: data check. And what its result looks like to a person."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from . import output

if TYPE_CHECKING:
    from rich.console import Group

    from ..jobs.check.findings import Finding, Seen
    from ..jobs.check.run import Checked, SplitFound

LABELS, EXAMPLES = 10, 2  # that a person is shown; --json has all labels, and 5 examples

app = typer.Typer()
data = typer.Typer(rich_markup_mode=None)
app.add_typer(data, name="data", help="Look at labelled data.")


@data.callback()
def _data() -> None:
    """Look at labelled data."""


@data.command("check")
def data_check(
    data: o.Labelled,
    text_column: o.TextColumns = None,
    label_column: o.LabelColumn = None,
    task: o.TaskKind = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="DIR", help="Counts tokens; without it, words are counted.")
    ] = None,
    max_len: Annotated[
        int, typer.Option("--max-len", min=1, metavar="S", help="Tokens that a model reads at once.")
    ] = 256,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Find what would mislead: leakage, repeats, labels.

    Leakage between splits, repeated texts, conflicting or uneven labels, broken and long texts. Exit code 2 when
    training on the data would mislead, or when finetune refuses it. Nothing is changed.
    """
    from ..jobs.check.run import check

    with output.results(json) as show:
        columns: Any = {"text_columns": text_column, "label_column": label_column, "task": task}
        made = check(data, **columns, tokenizer=tokenizer, max_len=max_len)
        show(made, *checked(made, _options(text_column, label_column, task)))
    if made.misleads or made.refused:
        raise typer.Exit(output.USAGE)


def _options(texts: Sequence[str] | None, label: str | None, task: str | None) -> list[str]:
    """The same options again, for the next command."""
    given = [*(("--text-column", name) for name in texts or ()), ("--label-column", label), ("--task", task)]
    return [word for name, value in given if value is not None for word in (name, value)]


def checked(made: "Checked", options: Sequence[str]) -> list["Group | str"]:
    """What was read, the findings, examples, and the verdict; options: those that fine-tuning needs, too."""
    columns = ["split", "rows", "labelled", "majority", "50%", "90%", "99%", "longest", "longer"]
    parts: list[Group | str] = [
        output.table(f"{made.data}: {'; '.join(made.reasons)}", columns, map(_split, made.splits)),
        f"50%: half of the rows have at most so many {made.unit}; longer: than max_len ({made.max_len})",
        *["Words were counted; tokens are more: give --tokenizer"] * (made.unit == "words"),
        "",
        *_balance(made),
    ]
    rows = [[f.title, f.severity, f"{f.rows:>7,}" if f.rows else "", f.remedy] for f in made.findings]
    if rows:
        parts.append(output.table("Findings", ["finding", "severity", "   rows", "what to do"], rows, left=4))
    if any(finding.examples for finding in made.findings):
        parts.append("\n".join(["Examples", *_examples(made.findings), ""]))
    if made.misleads:
        titles = [_indented(finding.title) for finding in made.findings if finding.severity == "misleads"]
        parts.append("\n".join(["training on this would mislead:", *titles]))
    if made.refused:
        parts.append("\n".join(["fine-tuning refuses this data, first for:", _indented(made.refused, whole=True)]))
    if made.misleads or made.refused:
        return parts
    command = ("finetune", "ENCODER", made.data, *options, "--out", "runs/b")
    return [*parts, "nothing here would mislead", output.following(command)]


def _split(found: "SplitFound") -> list[str]:
    sizes = found.lengths
    share = "" if found.majority_share is None else output.share(found.majority_share)
    numbers = [output.count(size) for size in (sizes.p50, sizes.p90, sizes.p99, sizes.longest)]
    rows = [output.count(found.rows), output.count(found.labelled)]
    return [found.split, *rows, share, *numbers, output.share(sizes.cut_share)]


def _balance(made: "Checked") -> list["Group | str"]:
    """The most frequent labels of the first split with labels, and how often they stand in each."""
    names = list(dict.fromkeys(label for split in made.splits for label in split.labels))
    if not names:
        return []
    rows = []
    for name in names[:LABELS]:
        found = [(split.labels.get(name, 0), sum(split.labels.values())) for split in made.splits]
        rows.append([_short(name), *(f"{n:,} ({output.share(n / total)})" if total else "-" for n, total in found)])
    if len(names) > LABELS:
        rows.append([f"... {len(names) - LABELS} more", *("" for _ in made.splits)])
    return [output.table("Labels", ["label", *(split.split for split in made.splits)], rows)]


def _examples(findings: "tuple[Finding, ...]") -> Iterator[str]:
    for finding in findings:
        if finding.examples:
            yield _indented(finding.title)
        for rows in finding.examples[:EXAMPLES]:
            for row, after in zip(rows, (*rows[1:], None)):
                yield f"    {' -'[row is rows[0]]} {_place(row)}"
                if after is None or after.text != row.text:  # equal texts are shown once
                    yield f"      {row.text or '(no text)'}"


def _indented(text: str, *, whole: bool = False) -> str:
    """In lines of 78 characters; whole: long words, such as paths, stay in one piece."""
    cut = not whole
    return textwrap.fill(
        text, 78, initial_indent="  ", subsequent_indent="    ", break_long_words=cut, break_on_hyphens=cut
    )


def _place(row: "Seen") -> str:
    label = "" if row.label is None else f" {_short(row.label)!r}"
    return PurePath(row.place).name + label


def _short(name: str) -> str:
    name = name if name.isprintable() else repr(name)[1:-1]
    return name if len(name) <= 24 else name[:21] + "..."
