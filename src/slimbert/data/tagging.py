"""Tagged text: words with one tag each, from files of words, from lists of words, or from texts with marked spans.

    .conll .iob .bio .txt   a word a line (data/conll.py)
    tokens, ner_tags        lists of words and of tags, as the Hugging Face data sets have them; tags are strings, or
                            numbers whose names the parquet file knows
    text, entities          a text and its spans, {"start": 0, "end": 5, "label": "PER"} or [0, 5, "PER"], in characters

Every example has words and a text in which they stand, so that what is found can be shown at its place: words from
lists are joined by blanks, texts are cut into words (data/words.py) so that each span begins and ends with a word.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from .columns import TEXTS
from .conll import is_conll, read_conll
from .files import broken
from .rows import Table, read_table
from .schemes import parts, tags_of, to_iob2
from .words import Place, split_words

WORDS = ("tokens", "words", "token", "word")
TAGS = ("ner_tags", "ner", "iob_tags", "bio_tags", "tags", "labels", "label")
SPANS = ("entities", "spans", "ents", "labels", "label", "annotations")
_KEYS = (("start", "start_offset"), ("end", "end_offset"), ("label", "type", "tag", "entity", "entity_group"))
_FORM = '{"start": 0, "end": 5, "label": "PER"} or [0, 5, "PER"]'
Tag = TypeVar("Tag", str, int)  # by its name or by its number


@dataclass(frozen=True)
class Tagged:
    """One sentence or text. text[start:end] is the word for each of `spans`; place: file:line or file:row.

    rests: the numbers of the words that are the rest of a word which a marked span cut; see `whole`.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    text: str
    spans: tuple[Place, ...]
    place: str = ""
    rests: tuple[int, ...] = ()


def of_words(words: Sequence[Any], tags: Sequence[str] | None = None, *, place: str = "words") -> Tagged:
    """Words as they are given; the text is they, joined by single blanks."""
    for number, word in enumerate(words, 1):
        if not isinstance(word, str):
            found = "missing" if word is None else f"{type(word).__name__} {str(word)[:40]!r}, not text"
            raise InputError(place, f"word {number} of {len(words)} is {found}", "write every word as text")
    if tags is not None and len(tags) != len(words):
        problem = f"{len(words)} words and {len(tags)} tags"
        raise InputError(place, problem, "give each word one tag, O where it is in no entity")
    text = " ".join(words)
    _check_characters(text, place)
    starts = accumulate((len(word) + 1 for word in words), initial=0)
    spans = tuple((start, start + len(word)) for start, word in zip(starts, words))
    return Tagged(tuple(words), None if tags is None else tuple(tags), text, spans, place)


def of_text(text: str, spans: Sequence[tuple[int, int, str]] | None = None, *, place: str = "text") -> Tagged:
    """A text cut into words. spans: (start, end, type) in characters, without overlap -> tags in IOB2.

    Blanks at the ends of a span do not count. InputError: a span outside the text, blank, or overlapping another.
    """
    _check_characters(text, place)
    if spans is None:
        found = split_words(text)
        return Tagged(tuple(text[a:b] for a, b in found), None, text, found, place)
    marked = sorted(set(spans))
    for start, end, name in marked:
        _check_span(start, end, name, text, place)
    for first, second in pairwise(marked):
        if second[0] < first[1]:
            problem = f"spans overlap: {_shown(first, text)} and {_shown(second, text)}"
            raise InputError(place, problem, "keep one of them: a word has one tag")
    found = split_words(text, [bound for start, end, _ in marked for bound in (start, end)])
    starts, ends = [start for start, _ in found], [end for _, end in found]
    inside = [(name, bisect_left(starts, start), bisect_right(ends, end) - 1) for start, end, name in marked]
    begins = {start for start, _ in split_words(text)}
    rests = tuple(number for number, start in enumerate(starts) if start not in begins)
    return Tagged(tuple(text[a:b] for a, b in found), tags_of(inside, len(found)), text, found, place, rests)


def whole(one: Tagged) -> Tagged:
    """Without tags, and cut into words as one does it who does not know the marked spans: so a model reads it."""
    return of_text(one.text, place=one.place) if one.rests else replace(one, tags=None)


def joined(one: Tagged, tags: Sequence[Tag], *, outside: Tag) -> list[Tag]:
    """Tags of the words -> of the words of `whole`: of a word in parts the first that is not `outside`."""
    made: list[Tag] = []
    for word, tag in enumerate(tags):
        if word not in one.rests:
            made.append(tag)
        elif made[-1] == outside:
            made[-1] = tag
    return made


def spread(one: Tagged, tags: Sequence[str]) -> list[str]:
    """Tags of the words of `whole` -> of the words: the rest of a word goes on with its entity."""
    owners = accumulate(int(word not in one.rests) for word in range(len(one.words)))
    found = [tags[owner - 1] for owner in owners]
    for word in one.rests:
        found[word] = "I-" + found[word][2:] if found[word].startswith("B-") else found[word]
    return found


def read_tagged(
    path: str | Path, *, text_column: str | None = None, tag_column: str | None = None
) -> tuple[list[Tagged], list[str]]:
    """(examples in order, tags as written; what was chosen, in sentences) of one file; tags None where it has none.

    text_column: of words or texts; tag_column: of tags or spans; in a file of words their numbers from 0. None: by
    their names. InputError: nothing there, a column missing or of another kind, a word missing, tags that are not as
    many as the words, spans that are wrong.
    """
    if is_conll(path):
        word, tag = (None if name is None else column_number(name, path) for name in (text_column, tag_column))
        sentences = read_conll(path, word_column=word, tag_column=tag)
        return [of_words(one.words, one.tags, place=one.place) for one in sentences], ["a word a line"]
    return read_records(read_table(path), text_column, tag_column)


def unify(splits: Mapping[str, Sequence[Tagged]]) -> tuple[dict[str, list[Tagged]], list[str]]:
    """All splits with tags in IOB2, and what was found; the scheme is recognised over all of them together."""
    labelled = [(one, one.tags) for examples in splits.values() for one in examples if one.tags is not None]
    converted, scheme = to_iob2([tags for _, tags in labelled], places=[one.place for one, _ in labelled])
    notes = [f"tags in {scheme}" + ("" if scheme in ("IOB2", "classes") else ", read as IOB2")]
    if scheme == "classes" and all(tag.isdecimal() for _, tags in labelled for tag in tags):
        notes.append("the tags are numbers without names, so they are classes of words; entities want B-PER, I-PER, O")
    mended = sum(
        parts(before)[0] in ("I", "E") and after.startswith("B-")
        for (_, old), new in zip(labelled, converted)
        for before, after in zip(old, new)
        if before != after
    )
    if mended and scheme in ("IOB2", "BIOES"):
        notes.append(f"{mended} tags of these go on with nothing and were read as the beginning of an entity")
    fresh = iter(converted)
    made = {
        split: [one if one.tags is None else replace(one, tags=next(fresh)) for one in examples]
        for split, examples in splits.items()
    }
    return made, notes


def read_records(table: Table, text_column: str | None, tag_column: str | None) -> tuple[list[Tagged], list[str]]:
    """As `read_tagged`, of a table that was read already."""
    for name in (text_column, tag_column):
        if name is not None:
            table.require(name)
    words = text_column or table.named(WORDS, of="list")
    if words is not None and table.holds(words) == "list":
        tags = tag_column or table.named(TAGS, of="list", other_than=words) or _only_other_list(table, words)
        notes = [f"words in column {words!r}" + (f", tags in {tags!r}" if tags else ", no tags")]
        known = table.class_names.get(tags) if tags else None
        return [_of_lists(record, place, words, tags, known) for place, record in table.records], notes
    text = text_column or table.named(TEXTS, of="str")
    if text is None:
        problem = f"no column of words ({', '.join(WORDS)}) and none of texts among {', '.join(table.columns)}"
        raise InputError(table.name, problem, "name it with --text-column")
    spans = tag_column or table.named(SPANS, of="list") or table.named(SPANS[:3], other_than=text)
    notes = [f"texts in column {text!r}" + (f", spans in {spans!r}" if spans else ", no spans")]
    return [_of_spans(record, place, text, spans) for place, record in table.records], notes


def _only_other_list(table: Table, words: str) -> str | None:
    others = [name for name in table.columns if name != words and table.holds(name) == "list"]
    return others[0] if len(others) == 1 else None


def _of_lists(
    record: Mapping[str, Any], place: str, words: str, tags: str | None, known: Sequence[str] | None
) -> Tagged:
    given = _value(record, words, list, place=place, remedy="write a list of words, or choose with --text-column")
    if tags is None:
        return of_words(given, place=place)
    marks = _value(record, tags, list, place=place, remedy="write a list of tags, or choose with --label-column")
    return of_words(given, [_tag(mark, number, known, place) for number, mark in enumerate(marks, 1)], place=place)


def _of_spans(record: Mapping[str, Any], place: str, text: str, spans: str | None) -> Tagged:
    given = _value(record, text, str, place=place, remedy="write the text, or choose with --text-column")
    if spans is None:
        return of_text(given, place=place)
    marks = _value(record, spans, list, place=place, remedy=f"write a list of {_FORM}, [] where there is none")
    return of_text(given, [_span(mark, place) for mark in marks], place=place)


def _value(record: Mapping[str, Any], column: str, kind: type, *, place: str, remedy: str) -> Any:
    value = record.get(column)
    if isinstance(value, kind):
        return value
    found = "is missing" if value is None else f"is {type(value).__name__} {str(value)[:40]!r}"
    raise InputError(place, f"{column!r} {found}", remedy)


def _tag(mark: Any, number: int, known: Sequence[str] | None, place: str) -> str:
    if isinstance(mark, str) and mark.strip():
        return mark.strip()
    if type(mark) is int and mark >= 0 and (known is None or mark < len(known)):
        return str(mark) if known is None else known[mark]
    there = "" if known is None else f", the file names {len(known)} tags"
    raise InputError(place, f"tag {number} is {mark!r}{there}", "write a tag as text or as its number from 0")


def _span(mark: Any, place: str) -> tuple[int, int, str]:
    if isinstance(mark, dict):
        mark = [next((mark[key] for key in keys if mark.get(key) is not None), None) for keys in _KEYS]
    if isinstance(mark, list) and len(mark) == 3:
        start, end, name = mark
        name = str(name) if type(name) is int else name
        if type(start) is int and type(end) is int and isinstance(name, str) and name.strip():
            return start, end, name.strip()
    raise InputError(place, f"{str(mark)[:80]} is not a span", f"write {_FORM}")


def _check_span(start: int, end: int, name: str, text: str, place: str) -> None:
    if not 0 <= start < end <= len(text):
        problem = f"span {start} to {end} ({name}) is not inside the text of {len(text)} characters"
        raise InputError(place, problem, "count characters from 0; the end is the first one behind the span")
    if not split_words(text[start:end]):
        raise InputError(place, f"span {start} to {end} ({name}) holds only blanks", "correct or remove it")


def _shown(span: tuple[int, int, str], text: str) -> str:
    return f"{text[span[0] : span[1]][:30]!r} ({span[2]} {span[0]} to {span[1]})"


def _check_characters(text: str, place: str) -> None:
    if problem := broken(text):
        raise InputError(place, problem, "write the whole character")


def column_number(column: str, path: str | Path) -> int:
    """Of a file of words, from 0, or from the end if negative."""
    try:
        return int(column)
    except ValueError as error:
        problem = f"column {column!r} is not a number"
        raise InputError(path, problem, "a file of words has columns 0, 1, ...; -1 is the last") from error
