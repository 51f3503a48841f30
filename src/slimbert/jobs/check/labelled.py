"""The labels of the splits: of every row the labels in it, those as one word, and how the file spells them.

They are read as fine-tuning reads them: tags in IOB2, sets without an order, -1 as unlabelled where train has no such
class, an empty list as a text that no label fits.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from ...data.columns import Rows, class_names, is_text, read_labels
from ...data.schemes import to_iob2
from ...data.tasks import KINDS, is_list, separator
from ...errors import InputError
from .written import texts_of, written

LabelKind = Literal["classes", "lists", "numbers", "other", "none"]
Form = Literal["one", "set", "tags", "spans"]
_NUMBER = r"-?\d+(\.\d+)?(e[+-]?\d+)?"
_NO_NUMBER = ("nan", "inf", "-inf")


@dataclass(frozen=True)
class Labels:
    """The labels of N rows.

    form: what a row has: one label, a set of them in no order, a tag for every word, a type for every span.
    words: [N] one word a row, None without a label, "" for a list with nothing in it. items: [N] the labels in it.
    spelt: [N] the same as the file has them, with the blanks around. refused: whether fine-tuning refuses rows without
    a label beside others that have one, and does not leave them out.
    """

    kind: LabelKind
    form: Form
    words: list[str | None]
    items: list[tuple[str, ...]]
    spelt: list[tuple[str, ...]]
    refused: bool = True

    @property
    def given(self) -> int:
        """Rows that have a label, or a list in which none stands."""
        return len(self.words) - self.words.count(None)


def labels_of(rows: Rows, column: str | None, *, form: Form) -> Labels:
    """The labels of one split as they are written; of kind "none" where it has no such column."""
    if column is None or column not in rows.columns:
        nothing: list[tuple[str, ...]] = [()] * len(rows.table)
        return Labels("none", form, [None] * len(nothing), nothing, nothing)
    values, names = rows.table.column(column), class_names(rows, column)
    if is_list(values.type):
        return _of_lists(values.to_pylist(), names or (), "set" if form == "one" else form)
    kind: LabelKind = "classes"
    try:
        words = read_labels(rows, column, names=names)
    except InputError:
        kind = "numbers" if pa.types.is_floating(values.type) else "other"
        words = [None if text in _NO_NUMBER else text for text in texts_of(values)]
    spelt = texts_of(values) if is_text(values.type) else words
    return Labels(kind, "one", words, _each(words), _each(spelt), refused=None in words and names is None)


def _each(words: Sequence[str | None]) -> list[tuple[str, ...]]:
    return [() if word is None else (word,) for word in words]


def _of_lists(values: Sequence[Any], names: Sequence[str], form: Form) -> Labels:
    spelt = [tuple(_named(one, names) for one in value or () if one is not None) for value in values]
    items = [_set(some) if form == "set" else tuple(one.strip() for one in some) for some in spelt]
    there = [value is not None for value in values]
    return Labels("lists", form, _joined(items, there, form), items, spelt)


def _set(some: Sequence[str]) -> tuple[str, ...]:
    """A set of labels, always in the same order, whatever their case."""
    return tuple(sorted({word for one in some if (word := one.strip())}, key=lambda word: (word.casefold(), word)))


def _joined(items: Sequence[tuple[str, ...]], there: Sequence[bool], form: Form) -> list[str | None]:
    mark = ", " if form == "set" else " "
    return [mark.join(some) if is_there else None for some, is_there in zip(items, there, strict=True)]


def _named(value: Any, names: Sequence[str]) -> str:
    """An item of a list of labels: the name behind a number, where the file has names."""
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else written(value)


def meant(splits: Mapping[str, Labels], kind: str | None) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """The labels of all splits as what they are for, and sentences on it. kind: of the task, None where not said."""
    first = splits.get("train") or next(iter(splits.values()))
    if first.form == "tags":
        return _in_iob2(splits)
    if kind == "multilabel" and first.kind == "classes":
        mark = separator([word for word in first.words if word])
        return {name: _as_sets(one, mark) for name, one in splits.items()}, ()
    if kind == "regression" and first.kind == "classes" and first.given and all(map(_is_number, first.words)):
        first = replace(first, kind="numbers")
    if first.kind == "numbers":
        return {name: _as_numbers(one) for name, one in splits.items()}, ()
    return (_as_classes(splits) if first.kind == "classes" else dict(splits)), ()


def _in_iob2(splits: Mapping[str, Labels]) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """Tags in the scheme that is recognised over all splits together; such as are in none stay as they are, to be
    refused by fine-tuning."""
    tagged = {name: one for name, one in splits.items() if one.form == "tags"}
    try:
        made, scheme = to_iob2([items for one in tagged.values() for items in one.items])
    except InputError:
        return dict(splits), ()
    found = dict(splits)
    fresh = iter(made)
    for name, one in tagged.items():
        items = [next(fresh) for _ in one.items]
        there = [word is not None for word in one.words]
        found[name] = replace(one, items=items, words=_joined(items, there, "tags"))
    return found, (f"tags in {scheme}" + ", read as IOB2" * (scheme not in ("IOB2", "classes")),)


def _as_sets(labels: Labels, mark: str) -> Labels:
    """Words that hold several labels as sets of them; an empty word is a set with none in it."""
    if labels.kind != "classes":
        return labels
    items = [_set((word or "").split(mark)) for word in labels.words]
    empty = [bool(spelt) and not spelt[0].strip() for spelt in labels.spelt]
    there = [word is not None or is_empty for word, is_empty in zip(labels.words, empty, strict=True)]
    return Labels("lists", "set", _joined(items, there, "set"), items, items)


def _as_numbers(labels: Labels) -> Labels:
    """Numbers; where all are -1, as GLUE hides them, there is none."""
    hidden = set(labels.words) == {"-1"}
    words: list[str | None] = [None] * len(labels.words) if hidden else labels.words
    kind: LabelKind = "numbers" if labels.kind == "classes" else labels.kind
    return replace(labels, kind=kind, words=words, items=_each(words), refused=True)


def _as_classes(splits: Mapping[str, Labels]) -> dict[str, Labels]:
    """-1 as a class or as unlabelled, as train has it."""
    single = {name: one.words for name, one in splits.items() if one.kind == "classes"}
    known = KINDS["classification"]().unify(single, [])
    return {
        name: replace(one, words=known[name], items=_each(known[name])) if name in known else one
        for name, one in splits.items()
    }


def judged(labels: Labels) -> Labels:
    """Labels that hardly repeat are no classes: numbers, or something else. (By the same limit `load_task` refuses.)"""
    different = Counter(labels.words)
    different.pop(None, None)
    if labels.kind != "classes" or len(different) <= max(2, labels.given / 2):
        return labels
    return replace(labels, kind="numbers" if all(map(_is_number, different)) else "other")


def _is_number(word: str | None) -> bool:
    """Also True where there is no word."""
    return word is None or math.isfinite(number_of(word))


def number_of(word: str | None) -> float:
    """A label that is a number; nan where it is none, or none that a computer can hold."""
    value = float(word) if word is not None and re.fullmatch(_NUMBER, word) else math.nan
    return value if math.isfinite(value) else math.nan
