"""Faults of single texts: none there, hardly any, broken characters, numbers of rows instead of texts."""

import re
from collections.abc import Callable, Iterator

from .findings import EXAMPLES, Finding, Seen, Severity
from .reading import Data

MOST_EMPTY = 0.5  # of a split without text: what is learnt there is how often each label occurs
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CONTINUED = "\x80-\xbf" + bytes(range(0x80, 0xA0)).decode("cp1252", "ignore")  # a second byte of UTF-8, read singly
_MOJIBAKE = re.compile(f"[ÂÃ][{_CONTINUED}]|â[€\x80][{_CONTINUED}]|ðŸ|ï»¿|(?:[ÐÑ][{_CONTINUED}]){{2}}")

Find = Callable[[str | None], int]  # a text -> the place of a fault in it, -1 where there is none


def texts(data: Data) -> Iterator[Finding]:
    """All findings about single texts."""
    yield from _absent(data)
    sorts: tuple[tuple[str, Severity, str, Find, str], ...] = (
        ("short", "note", "texts of one character", _one_character, "Look whether anything was cut away."),
        ("replaced", "warning", "characters lost in decoding (U+FFFD)", _lost, "Make the file again from its source."),
        ("mojibake", "warning", "UTF-8 read as Latin-1", _mojibake, "Read the source as UTF-8 and write it again."),
        ("control", "note", "control characters", _control, "Remove them; a tokenizer drops most."),
    )
    for kind, severity, title, find, remedy in sorts:
        rows, examples = _where(data, find)
        if rows:
            yield Finding(kind, severity, title, rows, rows / len(data), remedy, examples)
    yield from _numbered(data)


def _where(data: Data, find: Find) -> tuple[int, tuple[tuple[Seen, ...], ...]]:
    """Number of rows with the fault, and examples."""
    count = 0
    examples: list[tuple[Seen, ...]] = []
    for part in data.parts.values():
        for row, several in enumerate(zip(*part.texts)):
            for column, text in enumerate(several):
                at = find(text)
                if at >= 0:
                    count += 1
                    if len(examples) < EXAMPLES:
                        examples.append((part.seen(row, column=column, at=at),))
                    break
    return count, tuple(examples)


def _absent(data: Data) -> Iterator[Finding]:
    """Rows of which a text is missing or blank; together they are not to be most of a split."""
    without = [
        sum(any(text is None or not text.strip() for text in several) for several in zip(*part.texts)) / len(part)
        for part in data.parts.values()
    ]
    severity: Severity = "misleads" if max(without) > MOST_EMPTY else "warning"
    remedy = "Fill them in or remove the rows; check the text column."
    missing, examples = _where(data, _gone)
    if missing:
        refused = _is_read(data, _gone)
        yield Finding("missing", severity, "missing texts", missing, missing / len(data), remedy, examples, refused)
    empty, examples = _where(data, _blank)
    if empty:
        refused = data.train.labels.form not in ("tags", "spans") and _is_read(data, _blank)
        yield Finding("empty", severity, "empty texts", empty, empty / len(data), remedy, examples, refused)


def _is_read(data: Data, find: Find) -> bool:
    """Whether a text with the fault stands where fine-tuning reads it: in a split with labels, or with none to find."""
    read = (part for part in data.parts.values() if part.labels.given or data.kind == "none")
    return any(find(text) >= 0 for part in read for column in part.texts for text in column)


def _gone(text: str | None) -> int:
    return 0 if text is None else -1


def _blank(text: str | None) -> int:
    return 0 if text is not None and not text.strip() else -1


def _one_character(text: str | None) -> int:
    return 0 if text and len(text.strip()) == 1 else -1


def _lost(text: str | None) -> int:
    return text.find("\ufffd") if text else -1


def _mojibake(text: str | None) -> int:
    found = None if text is None or text.isascii() else _MOJIBAKE.search(text)
    return found.start() if found else -1


def _control(text: str | None) -> int:
    found = _CONTROL.search(text or "")
    return found.start() if found else -1


def _numbered(data: Data) -> Iterator[Finding]:
    """A column of keys: every value another one, and none with a blank (in a script that has blanks)."""
    train = data.train
    for place, (name, column) in enumerate(zip(data.text_columns, train.texts)):
        values = [text.strip() for text in column if text is not None]
        whole = len(values) > 1 and len(set(values)) == len(values) and not any(re.search(r"\s", v) for v in values)
        if whole and sum(value.isascii() for value in values) > len(values) / 2:
            title = f"column {name!r} looks like keys, not texts"
            remedy = "Name the column of the texts with --text-column."
            examples = tuple((train.seen(row, column=place),) for row in range(min(EXAMPLES, len(train))))
            yield Finding("keys", "misleads", title, len(values), len(values) / len(train), remedy, examples)
