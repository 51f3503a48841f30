"""What a check finds, and how much it matters."""

from typing import Literal, NamedTuple

Severity = Literal["misleads", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("misleads", "warning", "note")
EXAMPLES = 5  # of a finding, at most
EXCERPT = 64  # characters of a text that an example shows


class Seen(NamedTuple):
    """A row as an example shows it. place: file:row, from 1; text: an excerpt; label: None where there is none."""

    place: str
    text: str
    label: str | None


class Finding(NamedTuple):
    """One fault of the data.

    kind: a word for programs; title: the same for people. misleads: a score trained on, or measured with, these rows
    would not mean what it says. rows: how many; share: of the rows looked at. examples: each is one row, or two that
    belong together. refused: fine-tuning does not begin with such rows, and says so.
    """

    kind: str
    severity: Severity
    title: str
    rows: int
    share: float
    remedy: str
    examples: tuple[tuple[Seen, ...], ...]
    refused: bool = False


def excerpt(text: str, *, at: int = 0) -> str:
    """EXCERPT characters or fewer around place `at`, on one line; what does not print is written as its escape."""
    start = max(0, min(at - EXCERPT // 2, len(text) - EXCERPT))
    part = text[start : start + EXCERPT]
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in part)
    return "..." * (start > 0) + plain + "..." * (start + EXCERPT < len(text))
