"""Questions with their answers in a context: SQuAD's own JSON, and rows of any table with the same fields.

    Rajpurkar et al. 2016, arXiv:1606.05250; is_impossible: Rajpurkar, Jia and Liang 2018, arXiv:1806.03822

    nested    data[] / paragraphs[] / context, qas[] / id, question, is_impossible, answers[] / text, answer_start
    rows      id, context, question, is_impossible, answers: {text: [...], answer_start: [...]} or a list of objects;
              or one answer, a text in the column answers (or answer), its place in answer_start

`answer_start` counts characters from 0. Where the answer does not stand at its place but once elsewhere in the context
(tools count bytes, or trim), it is taken from there, and a note says how many were; any other such answer is an error.
So is one without a place that stands there more than once.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from .files import broken, expand, form
from .records import json_records
from .rows import Record, Table, read_table, table_of_records

_ONE_ANSWER = ("answer", "answer_text")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")  # as files say it


class Fields(NamedTuple):
    """What the columns of a table are called."""

    question: str = "question"
    context: str = "context"
    answers: str = "answers"


FIELDS = Fields()


@dataclass(frozen=True)
class Question:
    """answers: (text, start), each at its place, without blanks at its ends; none where the context holds none."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Questions:
    """In the order of the file. labelled: whether answers are given at all; notes: sentences for the reader."""

    questions: tuple[Question, ...]
    labelled: bool
    notes: tuple[str, ...]


def read_questions(
    path: str | Path, *, records: Sequence[tuple[str, Any]] | None = None, fields: Fields = FIELDS
) -> Questions:
    """One file: .json of SQuAD, or rows in .json, .jsonl, .parquet, .csv or .tsv, whose columns may stand in any order.

    records: of a .json or .jsonl file, with their places, where they were read already. fields: the columns of rows.
    InputError: no context or question, an answer that is not in its context or more than once but not at its place,
    an id twice, answers to what is marked impossible or none to what is marked possible, answers for some questions and
    no field of answers for others.
    """
    if records is None and form(path) == ".json":
        records = list(json_records(expand(path)[0]))
    if form(path) == ".json" and records is not None and any(_is_nested(record) for _, record in records):
        return _checked(str(path), list(_nested(records)))
    table = read_table(path) if records is None else table_of_records(str(path), records)
    return _checked(str(path), _flat(table, fields))


def read_rows(table: Table, fields: Fields = FIELDS) -> Questions:
    """As `read_questions`, of a table that was read already."""
    return _checked(table.name, _flat(table, fields))


def is_squad(records: Sequence[tuple[str, Any]]) -> bool:
    """Whether the records of a .json file are SQuAD's own: articles with paragraphs, or questions below `data`."""
    return any(_is_nested(record) and _asks(record) for _, record in records)


def _is_nested(record: Any) -> bool:
    return isinstance(record, dict) and (isinstance(record.get("data"), list) or "paragraphs" in record)


def _asks(record: dict[str, Any]) -> bool:
    """Whether what stands below `data` is about questions at all; other tables are packed in the same way."""
    data = record.get("data")
    below = data if isinstance(data, list) and data else [record]
    return any(
        isinstance(one, dict) and not one.keys().isdisjoint(("paragraphs", "question", "context")) for one in below
    )


def _nested(records: Sequence[tuple[str, Any]]) -> Iterator[Record]:
    """The questions as flat records, each with the place in the JSON."""
    for place, record in records:
        file = place.rpartition(":")[0]
        whole = isinstance(record, dict) and "data" in record
        articles = _list(record, "data", place) if whole else [record]
        for number, article in enumerate(articles):
            at = f"{file}: data[{number}]" if whole else place
            if not isinstance(article, dict) or "paragraphs" not in article:
                yield at, _object(article, at)  # rows may stand under "data", too
                continue
            for which, paragraph in enumerate(_list(article, "paragraphs", at)):
                inner = f"{at}.paragraphs[{which}]"
                for last, asked in enumerate(_list(paragraph, "qas", inner)):
                    here = f"{inner}.qas[{last}]"
                    yield here, {**_object(asked, here), "context": paragraph.get("context")}


def _list(record: Any, field: str, place: str) -> list[Any]:
    value = _object(record, place).get(field)
    if isinstance(value, list):
        return value
    found = "is missing" if value is None else f"is {type(value).__name__}"
    raise InputError(place, f"{field!r} {found}", "write a list, as SQuAD does")


def _object(record: Any, place: str) -> dict[str, Any]:
    if isinstance(record, dict):
        return record
    raise InputError(place, f"expected an object, found {type(record).__name__}", "write it as SQuAD does")


def _flat(table: Table, fields: Fields) -> list[Record]:
    """The rows under the usual names."""
    for name in fields[:2]:
        table.require(name)
    return [(place, _renamed(record, fields)) for place, record in table.records]


def _renamed(record: dict[str, Any], fields: Fields) -> dict[str, Any]:
    made = record | {"question": record.get(fields.question), "context": record.get(fields.context)}
    if fields.answers == FIELDS.answers:
        return made
    others = {name: value for name, value in made.items() if name not in (FIELDS.answers, *_ONE_ANSWER)}
    return others | {FIELDS.answers: record.get(fields.answers)}


def _checked(name: str, records: Sequence[Record]) -> Questions:
    if not records:
        raise InputError(name, "there is no question in it", "check the file")
    made: list[Question] = []
    seen: dict[str, str] = {}
    given = moved = sought = 0
    for one, (place, record) in zip(_ids(records), records):
        context, question = _text(record, "context", place), _text(record, "question", place)
        answers = _answers(record, place)
        given += answers is not None
        found = [_placed(text, start, context, place) for text, start in answers or ()]
        moved += sum(old not in (None, start) for (_, start), (_, old) in zip(found, answers or ()))
        sought += sum(old is None for _, old in answers or ())
        if one in seen:
            raise InputError(place, f"the id {one!r} stands at {seen[one]}, too", "give every question its own id")
        seen[one] = place
        made.append(Question(one, question, context, tuple(found)))
    if 0 < given < len(made):
        problem = f"{given} of {len(made)} questions have a field of answers, the others none"
        raise InputError(name, problem, "write an empty list of answers where the context gives none")
    return Questions(tuple(made), given > 0, tuple(_notes(made, given > 0, moved=moved, sought=sought)))


def _ids(records: Sequence[Record]) -> list[str]:
    """The id of each record; its number where it has none, behind so many # that no id in the file is the same."""
    values = (record.get("id") for _, record in records)
    given = [None if _missing(value) or value == "" else str(value) for value in values]
    known, mark = {*given}, ""
    while any(one is None and f"{mark}{number}" in known for number, one in enumerate(given)):
        mark += "#"
    return [f"{mark}{number}" if one is None else one for number, one in enumerate(given)]


def _notes(questions: Sequence[Question], labelled: bool, *, moved: int, sought: int) -> Iterator[str]:
    yield f"{len(questions)} questions on {len({one.context for one in questions})} contexts"
    if not labelled:
        yield "no answers are given"
    elif impossible := sum(not one.answers for one in questions):
        yield f"{impossible} questions have no answer in their context"
    if moved:
        yield f"{moved} answers were not at their answer_start, but once in the context, and are taken from there"
    if sought:
        yield f"{sought} answers have no answer_start, but stand once in their context, and are taken from there"


def _text(record: Mapping[str, Any], field: str, place: str) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        found = {type(None): "is missing", str: "is empty"}.get(type(value), f"is {type(value).__name__}, not text")
        raise InputError(place, f"{field!r} {found}", f"give every row a {field}")
    if problem := broken(value):
        raise InputError(place, f"{field!r} holds {problem}", "write the whole character")
    return value


def _answers(record: Mapping[str, Any], place: str) -> list[tuple[str, int | None]] | None:
    """(text, place as given) of each answer; a text or number is the only one. None without a field of answers."""
    impossible = _truth(record.get("is_impossible"), place)
    field = next((name for name in (FIELDS.answers, *_ONE_ANSWER) if not _missing(record.get(name))), None)
    if field is None:
        return [] if impossible else None
    given = _written(record[field])
    if field in _ONE_ANSWER or isinstance(given, str):
        given = [{"text": given, "answer_start": record.get("answer_start")}] if given != "" else []
    if isinstance(given, dict):
        given = _columns(given, place)
    if not isinstance(given, list):
        found = f"{field!r} is {type(given).__name__}"
        raise InputError(place, found, 'write {"text": ["..."], "answer_start": [0]}')
    answers = [_answer(one, place) for one in given]
    if impossible and answers:
        raise InputError(place, "is_impossible is true, yet there are answers", "correct one of the two")
    if impossible is False and not answers:
        raise InputError(place, "is_impossible is false, yet there is no answer", "correct one of the two")
    return answers


def _columns(given: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """{text: [...], answer_start: [...]} -> one object for each answer."""
    texts, starts = _written(given.get("text")), given.get("answer_start")
    texts = [texts] if isinstance(texts, str) else texts
    starts = [starts] if isinstance(starts, int | float | str) else starts
    if not isinstance(texts, list) or not (starts is None or isinstance(starts, list)):
        raise InputError(place, f"{str(given)[:80]} are no answers", 'write {"text": ["..."], "answer_start": [0]}')
    starts = [None] * len(texts) if starts is None else starts
    if len(texts) != len(starts):
        problem = f"{len(texts)} texts of answers and {len(starts)} values of answer_start"
        raise InputError(place, problem, "give each text its place")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts)]


def _missing(value: Any) -> bool:
    """Whether there is none, or what pandas writes among numbers where there is none."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _written(answer: Any) -> Any:
    """A number as it stands in a context: a column of .csv or .parquet in which every answer is one (a year) holds
    numbers, beside empty cells with a fraction of zero."""
    if isinstance(answer, float) and math.isfinite(answer):
        return str(int(answer)) if answer.is_integer() else repr(answer)
    return str(answer) if type(answer) is int else answer


def _truth(given: Any, place: str) -> bool | None:
    """True or false, as a value or in words; None where nothing is said."""
    word = "" if given is None else str(given).strip().lower().removesuffix(".0")
    if word not in ("", "nan", *_TRUE, *_FALSE):
        raise InputError(place, f"is_impossible is {given!r}", "write true or false")
    return word in _TRUE if word in (*_TRUE, *_FALSE) else None


def _whole(start: Any) -> Any:
    """A number that stands beside empty cells is text (.csv) or has a fraction of zero (.csv of pandas, .parquet)."""
    if isinstance(start, str) and re.fullmatch(r"\d+(\.0*)?", start.strip()):
        start = float(start)
    if isinstance(start, float):
        return None if math.isnan(start) else int(start) if start.is_integer() else start
    return start or None if isinstance(start, str) else start


def _answer(given: Any, place: str) -> tuple[str, int | None]:
    """Without blanks at its ends."""
    text = _written(given.get("text")) if isinstance(given, dict) else None
    start = _whole(given.get("answer_start")) if isinstance(given, dict) else None
    if not isinstance(text, str) or not text.strip() or not (start is None or type(start) is int):
        raise InputError(place, f"{str(given)[:80]} is no answer", 'write {"text": "...", "answer_start": 0}')
    before = len(text) - len(text.lstrip())
    return text.strip(), None if start is None else start + before


def _placed(text: str, start: int | None, context: str, place: str) -> tuple[str, int]:
    """The answer at its place; at the only one in the context where it is not at the given one."""
    if start is not None and start >= 0 and context.startswith(text, start):
        return text, start
    first = context.find(text)
    if first >= 0 and context.find(text, first + 1) < 0:
        return text, first
    shown = f"the answer {text[:60]!r}"
    if first < 0:
        raise InputError(place, f"{shown} does not stand in its context", "answers are spans of the context")
    if start is None:
        raise InputError(place, f"{shown} stands in its context more than once", "give answer_start")
    where = "outside" if not 0 <= start < len(context) else f"{context[start : start + 20]!r} stands there"
    problem = f"{shown} is not at character {start} ({where}), but more than once elsewhere"
    raise InputError(place, problem, f"correct answer_start; the first is at {first}")
