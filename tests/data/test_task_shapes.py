"""Tasks beyond classes: numbers and several labels a row, guessed, asked for, split and refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimbert.data import files
from slimbert.data.tasks import KINDS, NAMED, load_split, load_task, load_texts
from slimbert.errors import InputError


def write(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def texts(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


# which kind it is


def test_fractional_numbers_are_regression_and_few_of_them_are_classes(tmp_path: Path):
    task = load_task(write(tmp_path / "a.parquet", text=texts(40), score=[i / 7 for i in range(40)]))
    assert (task.kind, task.metric, task.labels) == ("regression", "spearman", ("score",))
    assert task.notes[0] == "task: regression ('score' holds fractional numbers)"
    whole = np.sort(np.concatenate([part.labels for part in (task.train, task.validation, task.test)]))
    np.testing.assert_array_equal(whole, np.arange(40) / 7)
    assert load_task(write(tmp_path / "b.parquet", text=texts(40), score=[0.5, 1.5] * 20)).kind == "classification"


def test_whole_numbers_are_classes_unless_asked(tmp_path: Path):
    path = write(tmp_path / "a.parquet", text=texts(50), stars=[1, 2, 3, 4, 5] * 10)
    assert load_task(path).labels == ("1", "2", "3", "4", "5")
    task = load_task(path, kind="regression")
    assert set(task.train.labels) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert task.notes[0] == "task: regression (as asked)"


def test_numbers_stand_on_every_side(tmp_path: Path):
    """Low, middle and high numbers are dealt out evenly: the means of the parts are near one another."""
    task = load_task(write(tmp_path / "a.parquet", text=texts(1000), score=[math.sqrt(i) for i in range(1000)]))
    means = [part.labels.mean() for part in (task.train, task.validation, task.test)]
    assert max(means) - min(means) < 1.0  # of a range of 32


@pytest.mark.parametrize("form", ["lists", "words", "numbers"])
def test_several_labels(tmp_path: Path, form: str):
    sets = [["a", "b"], ["b"], [], ["c", "a"]] * 10
    column = {
        "lists": sets,
        "words": ["|".join(one) for one in sets],
        "numbers": [["abc".index(name) for name in one] for one in sets],
    }[form]
    path = write(tmp_path / "a.parquet", text=texts(40), labels=column)
    task = load_task(path, kind="multilabel" if form == "words" else None)
    assert (task.kind, task.metric) == ("multilabel", "micro_f1")
    assert task.labels == (("0", "1", "2") if form == "numbers" else ("a", "b", "c"))
    parts = (task.train, task.validation, task.test)
    rows = {text: labels for part in parts for text, labels in zip(part.texts, part.labels)}
    for number, one in enumerate(sets):
        assert [name for name, there in zip("abc", rows[f"text number {number}"]) if there] == sorted(one)


def test_one_separator_for_all_splits(tmp_path: Path):
    """Train parts by |, so that a comma in a test label is no separator."""
    write(tmp_path / "train.parquet", text=texts(20), labels=["Food, drink|Travel", "Travel"] * 10)
    write(tmp_path / "validation.parquet", text=["v"] * 4, labels=["Travel"] * 4)
    write(tmp_path / "test.parquet", text=["t"], labels=["Food, drink"])
    task = load_task(tmp_path, kind="multilabel")
    assert task.labels == ("Food, drink", "Travel")
    assert task.test is not None and task.test.labels.tolist() == [[True, False]]
    known: dict = {"labels": task.labels, "text_columns": ("text",), "label_column": "labels", "kind": "multilabel"}
    assert load_split(tmp_path, **known).labels.tolist() == [[True, False]]
    numbers = write(tmp_path / "numbers.parquet", text=texts(2), labels=[3, 1])
    assert load_split(numbers, **{**known, "labels": ("1", "2", "3")}).labels.tolist() == [
        [False, False, True],
        [True, False, False],
    ]
    strange = write(tmp_path / "strange.parquet", text=texts(2), labels=["Food, drink|Sea", "Travel"])
    with pytest.raises(InputError, match="'Sea'"):
        load_split(strange, **known)


def test_questions_on_one_text_cannot_be_split(tmp_path: Path):
    answers = {"text": ["b"], "answer_start": [2]}
    data = write(tmp_path / "a.parquet", question=texts(40), context=["a b"] * 40, answers=[answers] * 40)
    with pytest.raises(InputError, match=r"its 40 rows share 1 different texts or contexts.* give train, validation"):
        load_task(data)


def test_columns_of_questions_may_be_named(tmp_path: Path):
    contexts, reply = [f"{text} ends" for text in texts(40)], ["ends"] * 40
    data = write(tmp_path / "a.parquet", asked=texts(40), passage=contexts, reply=reply, question=["?"] * 40)
    named: dict = {"kind": "qa", "text_columns": ("asked", "passage"), "label_column": "reply"}
    task = load_task(data, **named)
    assert (task.kind, task.text_columns, task.label_column) == ("qa", ("asked", "passage"), "reply")
    assert {one.context for one in task.train.texts} <= set(contexts)
    assert all(answers[0][0] == "ends" for answers in task.train.labels)
    split = load_split(data, labels=(), **named)
    assert len(split) == 40
    assert load_texts(data, text_columns=("asked", "passage"), kind="qa")[0] == (texts(1)[0], contexts[0])
    with pytest.raises(InputError, match=r"1 text columns asked for.*of the questions, then of the contexts"):
        load_task(data, kind="qa", text_columns=("asked",))
    nested = {"data": [{"paragraphs": [{"context": "a b", "qas": []}]}]}
    (tmp_path / "a.json").write_text(json.dumps(nested))
    with pytest.raises(InputError, match="SQuAD's form has names of its own"):
        load_task(tmp_path / "a.json", **named)


def test_columns_of_a_file_of_words_may_be_named(tmp_path: Path):
    lines = "".join(f"Ann NNP B-PER\nwent{i} VBD O\n\n" for i in range(20))
    (tmp_path / "train.conll").write_text(lines)
    (tmp_path / "test.conll").write_text(lines.replace("Ann", "Lee"))
    task = load_task(tmp_path, label_column="1")
    assert (task.metric, set(task.labels), task.label_column) == ("word_accuracy", {"NNP", "VBD"}, "1")
    assert task.test is not None and len(task.test) == 20
    split = load_split(tmp_path, labels=task.labels, text_columns=task.text_columns, label_column="1", kind="ner")
    assert [names.tolist() for names in split.labels[:1]] == [[task.labels.index("NNP"), task.labels.index("VBD")]]
    assert load_task(tmp_path).metric == "f1"
    with pytest.raises(InputError, match="column 'pos' is not a number; a file of words has columns 0, 1"):
        load_task(tmp_path, label_column="pos")


def test_names_of_hugging_face_stand_behind_numbers_in_lists(tmp_path: Path):
    features = {"info": {"features": {"labels": {"feature": {"names": ["joy", "anger"], "_type": "ClassLabel"}}}}}
    table = pa.table({"text": texts(20), "labels": [[0], [1], [0, 1], []] * 5})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet")
    assert load_task(tmp_path / "a.parquet").labels == ("joy", "anger")


def test_benchmarks_have_their_columns_and_their_score(tmp_path: Path):
    path = write(tmp_path / "a.parquet", sentence=texts(40), other=texts(40), label=[0, 1] * 20)
    task = load_task(path, kind="cola")
    assert (task.kind, task.text_columns, task.metric) == ("classification", ("sentence",), "matthews")
    with pytest.raises(InputError, match="no column 'question1'"):
        load_task(path, kind="qqp")
    with pytest.raises(InputError, match="no such task; choose one of classification"):
        load_task(path, kind="sst3")
    assert {one.kind for one in NAMED.values()} <= set(KINDS)


def test_every_benchmark_stands_in_the_docs(root: Path):
    """With the score that selects; Wang et al. 2018, table 1, for those of GLUE."""
    page = (root / "docs" / "fine-tuning.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    scores = {"matthews": "Matthews'", "spearman": "Spearman's", "f1": "F1", "accuracy": "accuracy"}
    for name, one in NAMED.items():
        (line,) = [line for line in lines if f"`{name}`" in line and line.count("|") == 4]
        assert scores[one.metric] in line, name
    assert {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"} <= set(NAMED)


def squad(count: int) -> dict[str, Any]:
    """SQuAD's own JSON, a context a question."""
    paragraphs = []
    for i in range(count):
        asked = {"id": str(i), "question": f"Which is {i}?", "answers": [{"text": str(i), "answer_start": 6}]}
        paragraphs.append({"context": f"It is {i} .", "qas": [asked]})
    return {"data": [{"paragraphs": paragraphs}]}


def of_words(count: int) -> tuple[list[list[str]], list[list[str]]]:
    return [["Ann", f"went{i}"] for i in range(count)], [["B-PER", "O"]] * count


@pytest.mark.parametrize("form", ["train.conll", "train.txt", "train.jsonl"])
def test_tags_by_the_name_of_a_benchmark_in_every_form(tmp_path: Path, form: str):
    """A folder of text files is one of words, where it has no other files."""
    words, tags = of_words(20)
    if form == "train.jsonl":
        rows = [{"tokens": some, "ner_tags": own} for some, own in zip(words, tags)]
        (tmp_path / form).write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = ["\n".join(map(" ".join, zip(some, own))) for some, own in zip(words, tags)]
        (tmp_path / form).write_text("\n\n".join(lines))
    task = load_task(tmp_path, kind="conll2003")
    assert (task.kind, task.metric, task.labels) == ("ner", "f1", ("O", "B-PER", "I-PER"))


@pytest.mark.parametrize("kind", ["squad", "squad_v2", None])
def test_questions_by_the_name_of_a_benchmark_in_every_form(tmp_path: Path, kind: str | None):
    (tmp_path / "train-v1.1.json").write_text(json.dumps(squad(20)))
    (tmp_path / "dev-v1.1.json").write_text(json.dumps(squad(5)))
    task = load_task(tmp_path, kind=kind)
    assert (task.kind, task.metric, len(task.test or ())) == ("qa", "f1", 5)
    (tmp_path / "train-v2.0.json").write_text(json.dumps(squad(20)))
    with pytest.raises(InputError, match=r"several files for train: train-v1.1.json, train-v2.0.json"):
        load_task(tmp_path, kind=kind)


def test_tags_that_are_numbers_without_names(tmp_path: Path):
    rows = [{"tokens": words, "ner_tags": [1, 0]} for words in of_words(20)[0]]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"--task conll2003: the tags are 0, 1: classes of words.*give --task ner"):
        load_task(tmp_path / "a.jsonl", kind="conll2003")
    task = load_task(tmp_path / "a.jsonl")
    assert task.metric == "word_accuracy"
    assert any("numbers without names" in note for note in task.notes)


def test_a_label_column_that_is_no_list_beside_lists_of_words(tmp_path: Path):
    rows = [{"text": f"go {i}", "tokens": ["go", str(i)], "intent": "ab"[i % 2]} for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = load_task(tmp_path / "a.jsonl", label_column="intent")
    assert (task.kind, task.text_columns, task.labels) == ("classification", ("text",), ("a", "b"))


@pytest.mark.parametrize("spans", [[[0, 3, "PER"]], [{"start": 0, "end": 3, "label": "PER"}]])
def test_texts_with_spans_can_be_answered(tmp_path: Path, spans: list):
    rows = [{"text": f"Ada {i}", "entities": spans} for i in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert load_texts(tmp_path / "a.jsonl", text_columns=("text",), kind="ner") == ["Ada 0", "Ada 1", "Ada 2"]


def test_what_no_task_needs_may_be_of_any_kind(tmp_path: Path):
    """What it needs may not, and the row is named: by the first value that does not go with those before."""
    values: list = [1, "x", {"a": 1}, [1, "b"], None]
    rows = [{"text": f"t{i}", "label": "ab"[i % 2], "meta": values[i % 5]} for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert load_task(tmp_path / "a.jsonl").labels == ("a", "b")
    assert len(load_texts(tmp_path / "a.jsonl", text_columns=("text",))) == 20
    with pytest.raises(InputError, match=r"a.jsonl:2: 'meta' is str here and int before"):
        load_task(tmp_path / "a.jsonl", label_column="meta")
    sets = [{"text": f"t{i}", "labels": [1] if i == 12 else ["a", "b"]} for i in range(20)]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, sets)))
    with pytest.raises(InputError, match=r"b.jsonl:13: 'labels' holds other values here"):
        load_task(tmp_path / "b.jsonl")


def test_numbers_that_are_texts(tmp_path: Path):
    """They stay as they are written, where a run says that the column holds texts."""
    (tmp_path / "a.csv").write_text("title,label\n3.50,a\n007,b\n1e3,a\n")
    (tmp_path / "b.csv").write_text("title,label\n3.50,a\n4,b\n")
    assert load_texts(tmp_path / "a.csv", text_columns=("title",)) == ["3.50", "007", "1e3"]
    assert load_texts(tmp_path / "b.csv", text_columns=("title",)) == ["3.50", "4"]
    split = load_split(tmp_path / "b.csv", labels=("a", "b"), text_columns=("title",), label_column="label")
    assert list(split.texts) == ["3.50", "4"]
    (tmp_path / "c.jsonl").write_text('{"title": 3.5}\n{"title": 4}\n')
    assert load_texts(tmp_path / "c.jsonl", text_columns=("title",)) == ["3.5", "4"]


def test_minus_one_is_a_class_where_train_or_the_model_has_it(tmp_path: Path):
    write(tmp_path / "train.parquet", text=texts(30), label=[-1, 0, 1] * 10)
    write(tmp_path / "validation.parquet", text=texts(4), label=[0, 1, 0, 1])
    write(tmp_path / "test.parquet", text=texts(100), label=[-1, *([0, 1, 1] * 33)])
    task = load_task(tmp_path)
    assert task.test is not None and task.labels == ("-1", "0", "1")
    assert len(task.test) == 100
    named: dict = {"text_columns": ("text",), "label_column": "label"}
    assert len(load_split(tmp_path, labels=task.labels, **named)) == 100
    assert len(load_split(tmp_path, labels=("0", "1"), **named)) == 99
    alone = write(tmp_path / "alone.parquet", text=texts(3), label=[-1] * 3)
    assert load_split(alone, labels=task.labels, **named).labels.tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="no row has a label"):
        load_split(alone, labels=("0", "1"), **named)


# what is refused


@pytest.mark.parametrize(
    ("kind", "labels", "problem"),
    [
        ("regression", [1.5] * 19 + [float("nan")], r"parquet:row 20: nan in 'label' is no number; fill in or remove"),
        ("regression", [1.5] * 19 + [float("inf")], r"row 20: inf in 'label' is no number"),
        ("regression", [1.5] * 19 + [None], r"row 20: no number in column 'label'"),
        ("regression", ["1.5"] * 19 + ["much"], r"row 20: 'much' in 'label' is no number"),
        ("regression", [2.5] * 20, "one number only"),
        ("regression", [None] * 20, "no row has a label"),
        ("multilabel", [[]] * 20, "no row has a label in 'label'"),
        ("multilabel", [1, 2] * 10, "holds int64, not several labels a row"),
        ("classification", [i / 7 for i in range(20)], "scores, not classes"),
        ("classification", [["a"], ["b"]] * 10, "not one label a row"),
    ],
)
def test_bad_labels_are_one_line_with_the_row(tmp_path: Path, kind: str, labels: list, problem: str):
    path = write(tmp_path / "a.parquet", text=texts(20), label=labels)
    with pytest.raises(InputError, match=problem):
        load_task(path, kind=kind)


def test_a_label_that_train_lacks(tmp_path: Path):
    write(tmp_path / "train.parquet", text=texts(20), label=[["a"], ["b"]] * 10)
    write(tmp_path / "validation.parquet", text=["v"] * 4, label=[["a"]] * 4)
    write(tmp_path / "test.parquet", text=["t"], label=[["z"]])
    with pytest.raises(InputError, match=r"test.parquet:row 1: unknown label 'z'; the labels to learn are a, b"):
        load_task(tmp_path)


def test_splits_to_evaluate_on(tmp_path: Path):
    numbers = write(tmp_path / "a.parquet", text=texts(4), score=[1.5, 2.5, 0.0, -1.0])
    named = {"text_columns": ("text",), "label_column": "score"}
    assert load_split(numbers, labels=("score",), kind="regression", **named).labels.tolist() == [1.5, 2.5, 0.0, -1.0]
    sets = write(tmp_path / "b.parquet", text=texts(2), score=[["b"], []])
    found = load_split(sets, labels=("a", "b"), kind="multilabel", **named)
    assert found.labels.tolist() == [[False, True], [False, False]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["regression", "multilabel", None]),
    labels=st.lists(
        st.one_of(
            st.floats(), st.none(), st.integers(), st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2)
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_any_labels_give_a_task_or_one_clear_error(tmp_path: Path, kind: str | None, labels: list):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{i}", "label": one}) + "\n" for i, one in enumerate(labels)))
    try:
        task = load_task(path, kind=kind)
    except InputError as error:
        assert error.remedy
    else:
        assert len(task.train) and len(task.validation)


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(20)],
        [{"text": f"t{i}", "labels": [["a"], ["b"]][i % 2]} for i in range(20)],
        [{"text": f"Ada {i}", "entities": [[0, 3, "PER"]]} for i in range(20)],
        [{"id": str(i), "question": "q", "context": f"c {i}", "answers": [{"text": "c"}]} for i in range(20)],
        [{"query": f"q{i}", "passage": f"p{i}"} for i in range(20)],
    ],
    ids=["classes", "sets", "spans", "questions", "pairs"],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rows: list):
    """Whatever is tried while the task is guessed."""
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows)))
    opened = []
    real = files.opened
    monkeypatch.setattr("slimbert.data.files.opened", lambda given: opened.append(given) or real(given))
    load_task(path)
    assert opened == [str(path)]


def test_files_of_a_split_that_do_not_fit(tmp_path: Path):
    write(tmp_path / "train-00000-of-00002.parquet", text=texts(10), label=[0, 1] * 5)
    write(tmp_path / "train-00001-of-00002.parquet", text=texts(10), label=[["a"], ["b"]] * 5)
    with pytest.raises(InputError, match=r"train-00001-of-00002.parquet: its columns do not fit those of .*00000"):
        load_task(tmp_path)


def test_ids_that_are_text_or_label_may_repeat(tmp_path: Path):
    path = write(tmp_path / "a.parquet", text=texts(20), id=["a", "b"] * 10)
    assert load_task(path, label_column="id").labels == ("a", "b")
    path = write(tmp_path / "b.parquet", text=texts(20), label=["a", "b"] * 10, idx=[None, *range(18), 3])
    with pytest.raises(InputError, match=r"row 20: the id 3 in column 'idx' stands at .*b.parquet:row 5, too"):
        load_task(path)
    with pytest.raises(InputError, match="the id 3"):
        load_split(path, labels=("a", "b"), text_columns=("text",), label_column="label")
