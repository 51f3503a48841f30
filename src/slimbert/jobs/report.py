"""report.md of a fine-tuned run: the scores beside the baselines, each label, what is confused with what, the worst
errors with their text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.metrics import confusion
from ..data.tasks import Split
from .scores import Score, ordered
from .tasks import Kind
from .tasks.features import Features
from .tasks.kind import Outputs

MOST_ERRORS = 20  # shown; the worst first
MOST_CLASSES = 12  # of the table of confusions
LONGEST = 200  # characters of a text that are shown


def report(
    kind: Kind,
    split: Split,
    features: Features,
    outputs: Outputs,
    scores: Mapping[str, Mapping[str, float]],
    *,
    part: str,
) -> str:
    """Markdown. scores: of the run and of its baselines, by name, on `part` of the data, whose rows are `split`."""
    pieces = ["# Report", _scores(scores, kind.description.metric, part)]
    if by_label := kind.by_label(split, features, outputs):
        rows = [[one["label"], one["rows"], _number(one["recall"]), _number(one["f1"])] for one in by_label]
        pieces.append("## Labels\n\n" + table(["label", "rows", "found", "F1"], rows))
    if kind.description.kind in ("classification", "pair") and len(kind.labels) <= MOST_CLASSES:
        given = [kind.labels.index(one.label) for one in kind.answers(split.texts, features, outputs)]
        pieces.append(_confusions(kind.labels, split.labels, np.array(given)))
    if errors := kind.errors(split, features, outputs):
        rows = [[_shown(one.text), _shown(one.label), _shown(one.answer), _number(one.wrongness)] for one in errors]
        title = f"## Errors\n\n{len(errors)} in all; the worst first.\n\n"
        pieces.append(title + table(["text", "right", "answered", "off by"], rows[:MOST_ERRORS]))
    return "\n\n".join(pieces) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(map(_cell, columns)) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)])


def _scores(scores: Mapping[str, Mapping[str, float]], metric: str, part: str) -> str:
    found = {name: ordered(score, metric) for name, score in scores.items()}
    first = next(iter(found.values()))
    rows = [[name, *(_with_interval(score) for score in some)] for name, some in found.items()]
    count = next(iter(scores.values()))["rows"]
    title = f"Scores on {count:,} rows of {part}, with 95% intervals where they are known.\n\n"
    return title + table(["", *(score.name for score in first)], rows)


def _confusions(names: Sequence[str], labels: Any, answers: Any) -> str:
    counts = confusion(labels, answers, classes=len(names))
    rows = [[f"**{name}**", *row] for name, row in zip(names, counts.tolist(), strict=True)]
    title = "## Confusions\n\nRows: what is right; columns: what was answered.\n\n"
    return title + table(["", *names], rows)


def _with_interval(score: Score) -> str:
    value = f"{score.value:.4g}" if score.in_units else f"{score.value:.3f}"
    return value if score.low is None else f"{value} ({score.low:.3f} to {score.high:.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3g}"


def _shown(value: Any) -> str:
    """A text or label on one line, cut where it is long; both of a pair."""
    if isinstance(value, tuple):
        return " // ".join(_shown(part) for part in value)
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    text = f"{text:.4g}" if isinstance(text, float) else text
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")
