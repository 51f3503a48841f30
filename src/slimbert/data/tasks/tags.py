"""A tag for every word: entities, parts of speech. Texts are `tagging.Tagged`, labels the numbers of their tags."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import InputError
from ..columns import TEXTS, Columns, id_columns, refuse_twice
from ..metrics.tags import has_entities
from ..rows import Table
from ..schemes import OUTSIDE, all_tags, parts
from ..splits import same_texts
from ..tagging import SPANS, TAGS, WORDS, Tagged, column_number, of_words, read_records, read_tagged, unify, whole
from .classes import refuse_other_case, unknown
from .file import DataFile
from .task import Ints, Split

FILE_OF_WORDS = ("word", "tag")  # what the columns of a file with a word a line are called


@dataclass(frozen=True, eq=False)
class TagFiles:
    """The files of one split: words with a tag each, by lines or by rows."""

    files: tuple[DataFile, ...]

    @cached_property
    def tables(self) -> list[Table | None]:
        """The rows of each file; None for a file of a word a line."""
        return [None if file.has_lines_of_words else file.rows for file in self.files]

    @property
    def name(self) -> str:
        return str(self.files[0].path)

    @property
    def columns(self) -> list[str]:
        first = self.tables[0]
        return list(FILE_OF_WORDS if first is None else first.columns)

    def has(self, column: str) -> bool:
        """Whether there is such a column; a file of a word a line finds out as it is read."""
        return self.tables[0] is None or column in self.columns

    def check_ids(self, columns: Columns) -> None:
        """InputError where two rows of a file have the same id."""
        for table in (one for one in self.tables if one is not None):
            for name in id_columns(table.columns, columns):
                refuse_twice(name, [record.get(name) for _, record in table.records], table.place)

    def read(self, columns: Columns, *, labelled: bool) -> list[Tagged]:
        """All examples, with tags where `labelled`."""
        found: list[Tagged] = []
        for file, table in zip(self.files, self.tables, strict=True):
            if table is None:
                word, tag = _numbered(columns.texts[0]), _numbered(columns.label)
                found += read_tagged(file.path, text_column=word, tag_column=tag)[0]
            else:
                tags = columns.label if labelled else None
                found += read_records(table, columns.texts[0], tags)[0]
        return found


def read_words(file: DataFile, column: str) -> list[Tagged]:
    """The words of each example of a file of words, or of a column of lists; tags are not read."""
    if file.has_lines_of_words:
        return [replace(one, tags=None) for one in read_tagged(file.path, text_column=_numbered(column))[0]]
    return [of_words(record.get(column) or (), place=place) for place, record in file.rows.records]


def _numbered(column: str) -> str | None:
    """The number of a column of a file of words; None where another name stands for the usual one."""
    return column if re.fullmatch(r"-?\d+", column) else None


class Tags:
    """Tags in any scheme, read as IOB2; see data/tagging.py and data/schemes.py."""

    def open(self, files: Sequence[DataFile]) -> TagFiles:
        return TagFiles(tuple(files))

    def choose(self, rows: TagFiles, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
        if texts and len(texts) > 1:
            raise InputError(rows.name, f"{len(texts)} text columns asked for", "give the one that holds the words")
        table = rows.tables[0]
        asked = (*(texts or ()), *((label,) if label else ()))
        if table is None:
            for name in asked:
                column_number(name, rows.name)
            said = f"a word a line, its tag beside it{', columns as asked' * bool(asked)}"
            return Columns(((texts or FILE_OF_WORDS)[0],), label or FILE_OF_WORDS[1], (said,))
        for name in asked:
            table.require(name)
        words = texts[0] if texts else table.named(WORDS, of="list") or table.named(TEXTS, of="str")
        if words is None:
            problem = f"no column of words or texts among {', '.join(table.columns)}"
            raise InputError(rows.name, problem, "name it with --text-column")
        lists = table.holds(words) == "list"
        tags = label or table.named(TAGS if lists else SPANS, of="list", other_than=words)
        if tags is None:
            problem = f"no column of {'tags' if lists else 'spans'} among {', '.join(table.columns)}"
            raise InputError(rows.name, problem, "name it with --label-column")
        kinds = ("words", "tags") if lists else ("texts", "spans")
        return Columns((words,), tags, (f"{kinds[0]} in column {words!r}, {kinds[1]} in {tags!r}",))

    def kind(self, columns: Columns) -> str:
        return "ner"

    def values(self, rows: TagFiles, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        """The example of each row; None without tags."""
        found = rows.read(columns, labelled=rows.has(columns.label))
        if cut := [one for one in found if one.rests]:
            word = cut[0].words[cut[0].rests[0] - 1] + cut[0].words[cut[0].rests[0]]
            said = f"{split}: in {len(cut)} texts a marked span begins or ends inside a word"
            notes.append(
                f"{said} ({word[:30]!r}, {cut[0].place}); words are answered whole, so it cannot be found exactly"
            )
        return [None if one.tags is None else one for one in found]

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        """All tags in IOB2, the scheme being recognised over all splits together."""
        made, said = unify({name: [one for one in some if one is not None] for name, some in values.items()})
        notes += said
        return made

    def names(self, rows: TagFiles, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        found = all_tags([one.tags for one in values])
        types = [parts(name)[1] for name in found if parts(name)[0] == "B"]
        if len({name.casefold() for name in types}) < len(types):
            named = ((row, parts(tag)[1]) for row, one in enumerate(values) for tag in one.tags if tag != OUTSIDE)
            refuse_other_case(named, lambda row: str(values[row].place))
        if len(found) < 2:
            problem = f"one tag only: every word has {found[0]!r}" if found else "there is no word"
            raise InputError(rows.name, problem, "training needs two or more; check the label column")
        return found

    def split(self, rows: TagFiles, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        number = {name: i for i, name in enumerate(names)}
        labels = []
        for one in values:
            for word, tag in enumerate(one.tags, 1):
                if tag not in number:
                    raise unknown(one.place, tag, names, what=f"tag {tag!r} of word {word}")
            labels.append(np.array([number[tag] for tag in one.tags], dtype=np.int64))
        return Split([replace(one, tags=None) for one in values], labels)

    def strata(self, split: Split) -> Ints:
        """The rarest tag of each example, so that rare ones stand on every side."""
        counts = Counter(tag for tags in split.labels for tag in tags.tolist())
        return np.array([min(tags.tolist(), key=lambda tag: counts[tag], default=-1) for tags in split.labels])

    def group(self, text: Tagged) -> Any:
        return whole(text).words

    def groups(self, split: Split) -> Ints:
        return same_texts([self.group(text) for text in split.texts])

    def metric(self, names: tuple[str, ...]) -> str:
        return "f1" if has_entities(names) else "word_accuracy"

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        counts = Counter(names[tag] for tags in split.labels for tag in tags.tolist())
        words = f"{counts.total():,} words in train"
        begun = {name: count for name, count in counts.items() if parts(name)[0] != "I" and name != OUTSIDE}
        few = ", ".join(f"{parts(name)[1]} {count:,}" for name, count in sorted(begun.items())[:12])
        return f"{words}: {few}" + ", ..." * (len(begun) > 12)
