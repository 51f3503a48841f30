"""Questions of SQuAD: nested and flat files say the same; answers stand at their place or are named."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.tongues import any_file
from slimbert.data.columns import Rows
from slimbert.data.rows import table_of
from slimbert.data.squad import Fields, Question, read_questions, read_rows
from slimbert.errors import InputError

CONTEXT = "Ann Lee moved to Ulm — Ulm lies on the Danube."
ASKED = [
    Question("1", "Who moved?", CONTEXT, (("Ann Lee", 0), ("Ann", 0))),
    Question("2", "Where to?", CONTEXT, (("Ulm", 17),)),
    Question("3", "When?", CONTEXT, ()),
]
MOVED = "1 answers were not at their answer_start, but once in the context, and are taken from there"
SOUGHT = "1 answers have no answer_start, but stand once in their context, and are taken from there"


def flat() -> list[dict[str, Any]]:
    return [
        {
            "answers": {"answer_start": [start for _, start in one.answers], "text": [text for text, _ in one.answers]},
            "question": one.question,
            "context": one.context,
            "title": "Ann",
            "id": one.id,
        }
        for one in ASKED
    ]


def listed() -> list[dict[str, Any]]:
    return [
        {**row, "answers": [{"text": t, "answer_start": s} for t, s in one.answers], "is_impossible": not one.answers}
        for row, one in zip(flat(), ASKED)
    ]


def nested() -> dict[str, Any]:
    qas = [{key: row[key] for key in ("question", "id", "answers", "is_impossible")} for row in listed()]
    return {"version": "v2.0", "data": [{"title": "Ann", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}


def put(path: Path, content: Any) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, content[0])
            writer.writeheader()
            writer.writerows(content)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.json"])
@pytest.mark.parametrize("rows", [flat, listed])
def test_rows_in_every_form(tmp_path: Path, name: str, rows: Any) -> None:
    found = read_questions(put(tmp_path / name, rows()))
    assert found.questions == tuple(ASKED)
    assert found.labelled
    assert found.notes == ("3 questions on 1 contexts", "1 questions have no answer in their context")


def test_nested_json(tmp_path: Path) -> None:
    whole = nested()
    assert read_questions(put(tmp_path / "a.json", whole)).questions == tuple(ASKED)
    assert read_questions(put(tmp_path / "b.json", whole["data"])).questions == tuple(ASKED)
    assert read_questions(put(tmp_path / "c.json", {"version": "1", "data": flat()})).questions == tuple(ASKED)
    (tmp_path / "d.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(whole, indent=1).replace("\n", "\r\n").encode())
    assert read_questions(tmp_path / "d.json").questions == tuple(ASKED)


def test_a_table_that_was_read_and_a_csv_of_one_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = [[*(one.answers or [("", "")])[0], one.context, one.question] for one in ASKED]
        csv.writer(file).writerows([["answer", "answer_start", "context", "question"], *rows])
    found = read_questions(path)
    assert [one.answers for one in found.questions] == [(("Ann Lee", 0),), (("Ulm", 17),), ()]
    assert [one.id for one in found.questions] == ["0", "1", "2"]
    table = pa.Table.from_pylist(flat())
    assert read_rows(table_of(Rows(table, ((path, 3),)))).questions == tuple(ASKED)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_as_pandas_writes_it(tmp_path: Path, name: str) -> None:
    """True and False in words, places with a fraction beside empty cells, columns called otherwise."""
    rows = [(*(one.answers or [("", None)])[0], one.context, one.question, not one.answers) for one in ASKED]
    plain = [
        {
            "reply": text,
            "answer_start": None if start is None else float(start),
            "passage": context,
            "asked": question,
            "is_impossible": impossible,
        }
        for text, start, context, question, impossible in rows
    ]
    put(tmp_path / name, plain)
    fields = Fields("asked", "passage", "reply")
    found = read_questions(tmp_path / name, fields=fields)
    assert [one.answers for one in found.questions] == [(("Ann Lee", 0),), (("Ulm", 17),), ()]
    with pytest.raises(InputError, match="no column 'text'; name one of its columns"):
        read_questions(tmp_path / name, fields=fields._replace(context="text"))


@pytest.mark.parametrize("said", ["perhaps", 2, 0.5])
def test_impossible_is_true_or_false(tmp_path: Path, said: Any) -> None:
    assert "is_impossible is" in fails(tmp_path / "a.jsonl", [{**flat()[0], "is_impossible": said}])


def test_without_answers_there_are_only_questions(tmp_path: Path) -> None:
    rows = [{key: row[key] for key in ("id", "question", "context")} for row in flat()]
    found = read_questions(put(tmp_path / "a.jsonl", rows))
    assert not found.labelled
    assert found.notes == ("3 questions on 1 contexts", "no answers are given")
    assert "2 of 3 questions have a field of answers" in fails(tmp_path / "b.jsonl", [*flat()[:2], rows[2]])


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
@pytest.mark.parametrize("column", ["answers", "answer", "answer_text"])
def test_a_text_is_the_only_answer(tmp_path: Path, name: str, column: str) -> None:
    given = [one.answers[0] if one.answers else ("", None) for one in ASKED]
    rows = [
        {"question": one.question, "context": CONTEXT, column: text, "answer_start": start}
        for one, (text, start) in zip(ASKED, given)
    ]
    found = read_questions(put(tmp_path / name, rows))
    assert [one.answers for one in found.questions] == [(("Ann Lee", 0),), (("Ulm", 17),), ()]
    assert found.notes == ("3 questions on 1 contexts", "1 questions have no answer in their context")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
@pytest.mark.parametrize("column", ["answers", "answer", "reply"])
@pytest.mark.parametrize("numbers", [[1999, 12], [1999, 2.5]])
def test_a_number_is_an_answer(tmp_path: Path, name: str, column: str, numbers: list[float]) -> None:
    context = "Built in 1999, it is 2.5 m high and cost 12 million."
    rows = [{"question": "How many?", "context": context, column: one} for one in numbers]
    fields = Fields(answers=column) if column == "reply" else Fields()
    found = read_questions(put(tmp_path / name, rows), fields=fields)
    assert [one.answers for one in found.questions] == [((str(one), context.index(str(one))),) for one in numbers]


def test_numbers_beside_questions_without_an_answer(tmp_path: Path) -> None:
    """As pandas has them, nan where there is none; also where texts stand in lists."""
    context = "Built in 1999."
    rows = [
        {"question": "When?", "context": context, "answer": 1999.0, "is_impossible": False},
        {"question": "Who?", "context": context, "answer": float("nan"), "is_impossible": True},
    ]
    found = read_questions(put(tmp_path / "a.parquet", rows))
    assert [one.answers for one in found.questions] == [(("1999", 9),), ()]
    for answers in ({"text": 1999, "answer_start": 9}, {"text": [1999], "answer_start": [9]}, [{"text": 1999}]):
        found = read_questions(
            put(tmp_path / "a.jsonl", [{"question": "When?", "context": context, "answers": answers}])
        )
        assert found.questions[0].answers == (("1999", 9),)


@pytest.mark.parametrize("column", ["answers", "answer"])
def test_an_empty_text_is_no_answer_to_what_is_possible(tmp_path: Path, column: str) -> None:
    row = {"question": "When?", "context": CONTEXT, column: "", "is_impossible": False}
    assert "is_impossible is false, yet there is no answer" in fails(tmp_path / "a.jsonl", [row])


@pytest.mark.parametrize(("name", "missing"), [("a.csv", ""), ("a.jsonl", ""), ("a.jsonl", None), ("a.parquet", None)])
def test_missing_ids_do_not_count(tmp_path: Path, name: str, missing: str | None) -> None:
    """Their questions are numbered; the mark makes the number one that no other question has."""
    plain = {"question": "Who moved?", "context": CONTEXT, "answer": "Ann Lee"}
    rows = [{"id": one, **plain} for one in ("3", missing, "x", missing)]
    assert [one.id for one in read_questions(put(tmp_path / name, rows)).questions] == ["3", "#1", "x", "#3"]


def test_missing_ids_among_numbers_do_not_count(tmp_path: Path) -> None:
    plain = {"question": "Who moved?", "context": CONTEXT, "answer": "Ann Lee"}
    rows = [{"id": one, **plain} for one in (3.0, float("nan"), 7.0, float("nan"))]
    assert [one.id for one in read_questions(put(tmp_path / "a.parquet", rows)).questions] == ["3.0", "1", "7.0", "3"]


@pytest.mark.parametrize(("start", "said"), [(3, MOVED), (-1, MOVED), (99, MOVED), (None, SOUGHT)])
def test_an_answer_that_stands_once_is_taken_from_there(tmp_path: Path, start: int | None, said: str) -> None:
    rows = [{**flat()[0], "answers": {"text": ["Danube"], "answer_start": [start]}}]
    found = read_questions(put(tmp_path / "a.jsonl", rows))
    assert found.questions[0].answers == (("Danube", CONTEXT.index("Danube")),)
    assert found.notes[1:] == (said,)


def test_blanks_at_the_ends_of_an_answer_do_not_count(tmp_path: Path) -> None:
    rows = [{**flat()[1], "answers": {"text": [" to Ulm "], "answer_start": [13]}}]
    found = read_questions(put(tmp_path / "a.jsonl", rows))
    assert found.questions[0].answers == (("to Ulm", 14),)
    assert len(found.notes) == 1


def fails(path: Path, content: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_questions(put(path, content))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": None}, "a.jsonl:2: 'context' is missing; give every row a context"),
        ({"context": " "}, "a.jsonl:2: 'context' is empty"),
        ({"question": 7}, "a.jsonl:2: 'question' is int, not text"),
        ({"context": "\ud800 Ulm"}, "a.jsonl:2: 'context' holds half a surrogate pair at character 1"),
        ({"id": "1"}, "a.jsonl:2: the id '1' stands at"),
        ({"answers": {"text": ["Rome"], "answer_start": [0]}}, "the answer 'Rome' does not stand in its context"),
        ({"answers": {"text": ["Ulm"], "answer_start": [16]}}, "'Ulm' is not at character 16 (' Ulm"),
        ({"answers": {"text": ["Ulm"], "answer_start": [99]}}, "'Ulm' is not at character 99 (outside)"),
        ({"answers": {"text": ["Ulm"], "answer_start": [None]}}, "more than once; give answer_start"),
        ({"answers": {"text": ["Ulm"], "answer_start": []}}, "1 texts of answers and 0 values of answer_start"),
        ({"answers": {"text": [""], "answer_start": [0]}}, "is no answer; write"),
        ({"answers": {"text": ["Ulm"], "answer_start": ["x17"]}}, "is no answer; write"),
        ({"answers": ["Ulm"]}, "Ulm is no answer"),
        ({"answers": True}, "'answers' is bool"),
        ({"answers": "Ulm"}, "'Ulm' stands in its context more than once; give answer_start"),
        ({"answers": {"start": 3}}, "{'start': 3} are no answers"),
        ({"is_impossible": True}, "is_impossible is true, yet there are answers"),
        ({"answers": [], "is_impossible": False}, "is_impossible is false, yet there is no answer"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    rows = flat()
    rows[1] = {**rows[1], **change}
    found = fails(tmp_path / "a.jsonl", rows)
    assert message in found
    assert found.startswith(f"{tmp_path / 'a.jsonl'}:2: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": [{"paragraphs": [{"context": "x"}]}]}, "a.json: data[0].paragraphs[0]: 'qas' is missing"),
        ({"data": [{"paragraphs": 3}]}, "a.json: data[0]: 'paragraphs' is int"),
        ({"data": [7]}, "a.json: data[0]: expected an object, found int"),
        ({"data": []}, "a.json: there is no question in it"),
        (
            {"data": [{"paragraphs": [{"qas": [{"question": "x"}]}]}]},
            "data[0].paragraphs[0].qas[0]: 'context' is missing",
        ),
        ([{"question": "x"}], "a.json: no column 'context'"),
        ([], "a.json: there is no row in it"),
    ],
)
def test_broken_json_is_named(tmp_path: Path, content: Any, message: str) -> None:
    assert message in fails(tmp_path / "a.json", content)


@settings(max_examples=200, deadline=None)
@given(
    content=any_file({**flat()[1], "is_impossible": False, "data": None}) | any_file(nested()),
    name=st.sampled_from(["a.jsonl", "a.json"]),
)
def test_any_file_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        found = read_questions(path)
    except InputError as error:
        assert error.place.startswith(str(path)) and error.remedy
        return
    assert all(one.context.startswith(text, start) for one in found.questions for text, start in one.answers)


@pytest.mark.data
@pytest.mark.parametrize(("split", "count"), [("train", 87_599), ("validation", 10_570)])
def test_squad(data_folder: Path, split: str, count: int) -> None:
    found = read_questions(data_folder / "squad" / f"{split}.parquet")
    assert len(found.questions) == count
    assert len(found.notes) == 1  # none without an answer, none moved
    for one in found.questions:
        assert one.answers
        assert all(one.context.startswith(text, start) for text, start in one.answers)
