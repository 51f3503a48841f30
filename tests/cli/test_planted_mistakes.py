"""Mistakes planted in data files: the command names file and row and the fix, in one line, and writes nothing.

What is no mistake, a byte order mark, CRLF, columns in another order, is read silently and correctly.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.project import QUICK, Slimbert
from cli.test_bad_input import refused
from jobs.labelled_files import write
from slimbert.train.run import RunFolder

Row = dict[str, Any]
Content = str | bytes


class Mistake(NamedTuple):
    """files: name -> content; `a.*` is given to the command, or the folder where there are others. place: how the error
    begins, behind the folder; fix: words of the remedy; said: words of the problem."""

    files: dict[str, Content]
    place: str
    said: str
    fix: str
    options: tuple[str, ...] = ()
    command: str = "finetune"


def reviews(count: int = 20) -> list[Row]:
    return [{"text": f"phone number {i} was fine", "label": ("pos", "neg")[i % 2]} for i in range(count)]


def pairs(count: int = 20) -> list[Row]:
    return [
        {"sentence1": f"phone {i}", "sentence2": f"screen {i}", "label": ("same", "other")[i % 2]} for i in range(count)
    ]


def scores(count: int = 20) -> list[Row]:
    return [{"text": f"phone number {i}", "score": i / 7} for i in range(count)]


def several(count: int = 20) -> list[Row]:
    return [{"text": f"phone number {i}", "labels": [["pos"], ["neg", "long"]][i % 2]} for i in range(count)]


def together(count: int = 20) -> list[Row]:
    return [{"query": f"which phone {i}", "passage": f"the screen of {i}"} for i in range(count)]


def tagged(count: int = 20) -> list[Row]:
    return [{"tokens": ["Ada", "was", f"here{i}"], "ner_tags": ["B-PER", "O", "O"]} for i in range(count)]


def marked(count: int = 20) -> list[Row]:
    return [{"text": f"Ada was here {i}", "entities": [[0, 3, "PER"]]} for i in range(count)]


def asked(count: int = 20) -> list[Row]:
    rows = []
    for i in range(count):
        answers = {"text": ["Ada"], "answer_start": [0]}
        rows.append({"id": f"q{i}", "question": "who was here?", "context": f"Ada was here {i}", "answers": answers})
    return rows


def planted(rows: list[Row], **changes: Any) -> list[Row]:
    """The rows with the seventh changed."""
    rows[6] = rows[6] | changes
    return rows


def lacking(rows: list[Row], name: str) -> list[Row]:
    """The rows, the seventh without a field."""
    rows[6] = {key: value for key, value in rows[6].items() if key != name}
    return rows


def as_csv(rows: list[Row]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([list(rows[0]), *(row.values() for row in rows)])
    return out.getvalue()


def as_lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_words(rows: list[Row]) -> str:
    """CoNLL: four lines a row, so the seventh begins on line 25."""
    sentences = ["".join(f"{word}\t{tag}\n" for word, tag in zip(row["tokens"], row["ner_tags"])) for row in rows]
    return "\n".join(sentences)


def in_line(text: str, number: int, change: Callable[[str], str]) -> str:
    """The text with one line (from 1) changed."""
    lines = text.splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    return "".join(lines)


NER, QA, NUMBER = ("--task", "ner"), ("--task", "qa"), ("--task", "regression")
TWICE = {"context": "Ada met Ada", "answers": {"text": ["Ada"], "answer_start": [3]}}
NOWHERE = {"answers": {"text": ["Grace"], "answer_start": [0]}}
IMPOSSIBLE = {"is_impossible": True}
ROW, LINE = ":row 7: ", ":7: "  # of a table, and of a file whose records are lines

MISTAKES = {
    # labels
    "labels that differ only in case": Mistake(
        {"a.csv": as_csv(planted(reviews(), label="Pos"))}, ROW, "'Pos', and 'pos' before", "write a label one way"
    ),
    "sets of labels that differ only in case": Mistake(
        {"a.jsonl": as_lines(planted(several(), labels=["Pos"]))}, ROW, "only in case", "write a label one way"
    ),
    "types of entities that differ only in case": Mistake(
        {"a.conll": as_words(planted(tagged(), ner_tags=["B-Per", "O", "O"]))},
        ":25: ",
        "'Per', and 'PER' before",
        "write a label one way",
    ),
    "an empty label": Mistake({"a.csv": as_csv(planted(reviews(), label=""))}, ROW, "no label in column", "fill in"),
    "a label that is NaN": Mistake({"a.csv": as_csv(planted(reviews(), label="nan"))}, ROW, "no label", "fill in or"),
    "a number that is NaN": Mistake(
        {"a.csv": as_csv(planted(scores(), score="nan"))}, ROW, "'nan' in 'score' is no number", "fill in", NUMBER
    ),
    "a number in words": Mistake(
        {"a.csv": as_csv(planted(scores(), score="four"))}, ROW, "'four' in 'score' is no number", "remove this", NUMBER
    ),
    "no set of labels": Mistake(
        {"a.jsonl": as_lines(planted(several(), labels=None))}, ROW, "no labels in column", "write an empty list"
    ),
    "a NaN among several labels": Mistake(
        {"a.jsonl": as_lines(planted(several(), labels=["nan"]))}, ROW, "nan in column 'labels'", "remove it"
    ),
    "a score that is NaN": Mistake(
        {"a.csv": as_csv(planted([row | {"score": 0.5} for row in together()], score="NaN"))},
        ROW,
        "'NaN' in 'score' is no number",
        "fill in",
        ("--task", "embedding"),
    ),
    "a label only in test": Mistake(
        {"train.csv": as_csv(reviews()), "test.csv": as_csv(planted(reviews(), label="mixed"))},
        "test.csv:row 7: ",
        "unknown label 'mixed'",
        "the labels to learn are neg, pos",
    ),
    "a label written otherwise in test": Mistake(
        {"train.csv": as_csv(reviews()), "test.csv": as_csv(planted(reviews(), label="POS"))},
        "test.csv:row 7: ",
        "unknown label 'POS'",
        "write 'pos', as the labels to learn have it",
    ),
    "a tag only in test": Mistake(
        {"train.conll": as_words(tagged()), "test.conll": as_words(planted(tagged(), ner_tags=["B-LOC", "O", "O"]))},
        "test.conll:25: ",
        "unknown tag 'B-LOC' of word 1",
        "O, B-PER, I-PER",
    ),
    "an unknown label to evaluate on": Mistake(
        {"a.csv": as_csv(planted(reviews(), label="mixed"))}, ROW, "unknown label", "neg, pos", command="evaluate"
    ),
    "one class": Mistake(
        {"a.csv": as_csv([row | {"label": "pos"} for row in reviews()])}, ": ", "one class only", "needs two or more"
    ),
    "one row": Mistake({"a.csv": as_csv(reviews(1))}, ": ", "one row only", "label at least 10 rows"),
    "one sentence": Mistake({"a.conll": as_words(tagged(1))}, ": ", "one row only", "label at least 10 rows"),
    "one question": Mistake({"a.jsonl": as_lines(asked(1))}, ": ", "one row only", "label at least 10 rows", QA),
    "four rows": Mistake({"a.csv": as_csv(reviews(4))}, ": ", "4 rows (4 different", "label at least 10 rows"),
    # columns and rows
    "a missing label column": Mistake(
        {"a.csv": as_csv(reviews())}, ": ", "no column 'lable'", "text, label", ("--label-column", "lable")
    ),
    "a missing column of a pair": Mistake(
        {"a.csv": as_csv([{k: v for k, v in row.items() if k != "sentence2"} for row in pairs()])},
        ": ",
        "no column 'sentence2'",
        "name one of its columns: sentence1, label",
        ("--task", "mrpc"),
    ),
    "pairs asked for where there are none": Mistake(
        {"a.csv": as_csv(reviews())}, ": ", "--task pair was asked for", "--text-column", ("--task", "pair")
    ),
    "a text column that one split lacks": Mistake(
        {
            "train.csv": as_csv(reviews()),
            "test.csv": as_csv([{"review": row["text"], "label": row["label"]} for row in reviews()]),
        },
        "train.csv: ",
        "text stands here only",
        "the same in all files",
    ),
    "no line with the names of the columns": Mistake(
        {"a.csv": "".join(as_csv(reviews()).splitlines(keepends=True)[1:])}, ":1: ", "looks like a row", "text,label"
    ),
    "two columns of one name": Mistake(
        {"a.csv": as_csv(reviews()).replace("text,label", "label,label")}, ":1: ", "two columns", "rename one"
    ),
    "an id twice": Mistake(
        {"a.csv": as_csv(planted([{"id": i, **row} for i, row in enumerate(reviews())], id=2))},
        ROW,
        "the id 2 in column 'id' stands at",
        "remove one of the rows, or rename the column",
    ),
    "an id of a sentence twice": Mistake(
        {"a.jsonl": as_lines(planted([{"id": f"s{i}", **row} for i, row in enumerate(tagged())], id="s2"))},
        LINE,
        "the id 's2'",
        "remove one of the rows",
    ),
    "an empty text": Mistake({"a.csv": as_csv(planted(reviews(), text=" "))}, ROW, "empty text", "fill in or remove"),
    "a missing text": Mistake({"a.jsonl": as_lines(lacking(reviews(), "text"))}, ROW, "no text in column", "fill in"),
    "a missing text of a pair": Mistake(
        {"a.jsonl": as_lines(lacking(pairs(), "sentence2"))}, ROW, "no text in column 'sentence2'", "fill in"
    ),
    "an empty text of two that belong together": Mistake(
        {"a.csv": as_csv(planted(together(), passage=""))}, ROW, "empty text in column 'passage'", "fill in"
    ),
    "an object where a text should be": Mistake(
        {"a.jsonl": as_lines(planted(reviews(), text={"en": "fine"}))}, LINE, "'text' is dict here", "one kind of value"
    ),
    "objects where texts should be": Mistake(
        {"a.jsonl": as_lines([row | {"text": {"en": row["text"]}} for row in reviews()])},
        ":row 1: ",
        "holds an object where a row should be flat: {'en': 'phone number 0",
        'write every row as {"text"',
    ),
    "objects where labels should be": Mistake(
        {"a.jsonl": as_lines([row | {"label": {"name": row["label"]}} for row in reviews()])},
        ":row 1: ",
        "'label' holds an object",
        'write every row as {"text"',
    ),
    "rows below a key": Mistake(
        {"a.json": json.dumps({"data": reviews()})}, ":row 1: ", "'data' holds an object", 'write every row as {"text"'
    ),
    # files
    "mixed encodings": Mistake(
        {"a.csv": as_csv(planted(reviews(), text="café")).encode("latin-1")}, ":8: ", "not UTF-8", "save the file as"
    ),
    "UTF-16": Mistake({"a.csv": as_csv(reviews()).encode("utf-16")}, ":1: ", "not UTF-8", "looks like UTF-16"),
    "a broken line of JSON": Mistake(
        {"a.jsonl": in_line(as_lines(reviews()), 7, lambda line: line[:20] + "\n")}, LINE, "broken JSON", "JSON object"
    ),
    "a comma without quotes": Mistake(
        {"a.csv": in_line(as_csv(reviews()), 8, lambda line: "well, " + line)}, ":8: ", "3 cells", "quote cells that"
    ),
    "a quote that is never closed": Mistake(
        {"a.csv": in_line(as_csv(reviews()), 8, lambda line: '"' + line)}, ":21: ", "broken row", "quote cells"
    ),
    "an empty file": Mistake({"a.csv": ""}, ": ", "is empty", "needs a header line and rows"),
    "a folder without splits": Mistake(
        {"one.csv": as_csv(reviews()), "b.csv": ""}, ": ", "no train", "or give one file"
    ),
    # tags and spans
    "more tags than words": Mistake(
        {"a.jsonl": as_lines(planted(tagged(), ner_tags=["O"] * 4))}, LINE, "3 words and 4 tags", "each word one tag"
    ),
    "a word without a tag": Mistake(
        {"a.conll": in_line(as_words(tagged()), 26, lambda line: "was\n")},
        ":26: ",
        "1 of the 2 columns",
        "same columns",
    ),
    "a tag without a type": Mistake(
        {"a.conll": as_words(planted(tagged(), ner_tags=["B", "O", "O"]))}, ":25: ", "has no type", "write B-PER"
    ),
    "a span outside the text": Mistake(
        {"a.jsonl": as_lines(planted(marked(), entities=[[0, 99, "PER"]]))}, LINE, "not inside the text", "from 0"
    ),
    "spans that overlap": Mistake(
        {"a.jsonl": as_lines(planted(marked(), entities=[[0, 3, "PER"], [2, 7, "LOC"]]))}, LINE, "overlap", "keep one"
    ),
    "a span without a type": Mistake(
        {"a.jsonl": as_lines(planted(marked(), entities=[[0, 3]]))}, LINE, "is not a span", 'write {"start": 0', NER
    ),
    # questions
    "an answer that is not in its context": Mistake(
        {"a.jsonl": as_lines(planted(asked(), **NOWHERE))}, LINE, "does not stand in its context", "spans of the", QA
    ),
    "an answer that is not at its place": Mistake(
        {"a.jsonl": as_lines(planted(asked(), **TWICE))}, LINE, "is not at character 3", "correct answer_start", QA
    ),
    "an id of a question twice": Mistake(
        {"a.jsonl": as_lines(planted(asked(), id="q2"))}, LINE, "the id 'q2' stands at", "its own id", QA
    ),
    "an answer to what has none": Mistake(
        {"a.jsonl": as_lines(planted(asked(), **IMPOSSIBLE))}, LINE, "yet there are answers", "correct one", QA
    ),
    "an empty question": Mistake(
        {"a.jsonl": as_lines(planted(asked(), question=" "))}, LINE, "'question' is empty", "give every row", QA
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_place_and_fix(name: str, toy: Path, tmp_path: Path, slimbert: Slimbert):
    made = MISTAKES[name]
    data = tmp_path / "data"
    data.mkdir()
    for file, content in made.files.items():
        (data / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    (file, *others) = made.files
    given = data if others else data / file
    first, then = (toy / "lm", ("--out", tmp_path / "run", *QUICK)) if made.command == "finetune" else (toy / "run", ())
    ended = slimbert(made.command, first, given, *made.options, *then)
    place = f"{data}{'/' if made.place[0] != ':' else ''}{made.place}" if others else f"{given}{made.place}"
    refused(ended, f"error: {place}", made.said, made.fix)
    assert not (tmp_path / "run").exists()


def test_a_line_over_the_limit_of_the_reader(
    toy: Path, tmp_path: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("slimbert.data.files.LONGEST_LINE", 1 << 20)
    monkeypatch.setattr("slimbert.data.files.BLOCK", 1 << 16)
    (tmp_path / "a.csv").write_text(as_csv(planted(reviews(), text="long " * 300_000)))
    ended = slimbert("finetune", toy / "lm", tmp_path / "a.csv", "--out", tmp_path / "run", *QUICK)
    refused(ended, f"error: {tmp_path / 'a.csv'}:8: ", "a line longer than 1 MiB", "break the text into lines")


# what is no mistake

FORMS: dict[str, dict[str, Any]] = {"plain": {}, "other": {"mark": b"\xef\xbb\xbf", "ends": "\r\n", "order": -1}}
TABLES = [("a.csv", reviews), ("a.tsv", reviews), ("a.jsonl", reviews), ("a.json", reviews), ("a.csv", pairs)]
TABLES += [("a.csv", scores), ("a.jsonl", several), ("a.csv", together), ("a.jsonl", tagged), ("a.jsonl", marked)]
TABLES += [("a.jsonl", asked), ("a.json", asked)]


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave loss.png out: drawing takes longer than a toy run."""
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)


def hashes(toy: Path, folder: Path, slimbert: Slimbert, files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """(form, the hash of texts, labels and splits) of a run on every file."""
    for form, path in files.items():
        out = folder / f"run-{form}"
        ended = slimbert("finetune", toy / "lm", path, "--out", out, "--no-baselines", *QUICK)
        assert ended.code == 0, (form, ended.err)
        yield form, json.loads((out / "data.json").read_text())["sha256"]


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize(("name", "rows"), TABLES, ids=[f"{name} {rows.__name__}" for name, rows in TABLES])
def test_forms_of_a_file_are_read_alike(
    name: str, rows: Callable[[], list[Row]], toy: Path, tmp_path: Path, slimbert: Slimbert
):
    files = {form: write(tmp_path / form / name, rows(), **options) for form, options in FORMS.items()}
    assert len({made for _, made in hashes(toy, tmp_path, slimbert, files)}) == 1


@pytest.mark.usefixtures("no_picture")
def test_forms_of_a_file_of_words_are_read_alike(toy: Path, tmp_path: Path, slimbert: Slimbert):
    words = as_words(tagged())
    swapped = "\n".join("\t".join(line.split("\t")[::-1]) for line in words.splitlines())
    contents = {
        "plain": words.encode(),
        "other": b"\xef\xbb\xbf" + swapped.replace("\n", "\r\n").encode(),
        "blanks": words.replace("\t", " ").encode(),
    }
    files = {}
    for form, content in contents.items():
        files[form] = tmp_path / f"{form}.conll"
        files[form].write_bytes(content)
    assert len({made for _, made in hashes(toy, tmp_path, slimbert, files)}) == 1
