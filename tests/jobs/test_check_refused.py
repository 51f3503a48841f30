"""The check says what fine-tuning refuses: all that it does, nothing that it does not, in its own words."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.checked import kinds, only
from jobs.labelled_files import Row, clean, clean_pairs, folder, sentence, write
from slimbert.data.tasks import load_task
from slimbert.errors import InputError
from slimbert.jobs.check.ids import ids
from slimbert.jobs.check.labels import labels
from slimbert.jobs.check.reading import read
from slimbert.jobs.check.run import check
from slimbert.jobs.check.texts import texts


def planted(rows: list[Row], **changes: Any) -> list[Row]:
    """The rows with the seventh changed."""
    rows[6] = rows[6] | changes
    return rows


def sets(count: int = 200) -> list[Row]:
    return [{"text": row["text"], "labels": (["a"], ["a", "b"], [])[i % 3]} for i, row in enumerate(clean(count))]


def tagged(count: int = 200) -> list[Row]:
    return [{"tokens": sentence(i, words=3).split(), "ner_tags": ["O", "B-PER", "I-PER"]} for i in range(count)]


def scored(count: int = 200) -> list[Row]:
    return [{"text": row["text"], "score": i / 7} for i, row in enumerate(clean(count))]


def numbered(rows: list[Row]) -> list[Row]:
    return [{"id": f"r{i}", **row} for i, row in enumerate(rows)]


REFUSED: dict[str, tuple[str, list[Row]]] = {
    "a label in another case": ("spelt", planted(clean(), label="Bad")),
    "no label": ("unlabelled", planted(clean(), label=None)),
    "a label that is NaN": ("unlabelled", planted(clean(), label="nan")),
    "an empty text": ("empty", planted(clean(), text=" ")),
    "no text": ("missing", planted(clean(), text=None)),
    "an empty text of a pair": ("empty", planted(clean_pairs(), sentence2="")),
    "an id twice": ("ids", planted(numbered(clean()), id="r3")),
    "one class": ("one_class", [row | {"label": "good"} for row in clean()]),
    "one row": ("one_row", clean(1)),
    "no row with a label": ("unlabelled", [row | {"label": None} for row in clean()]),
    "no column of labels": ("no_labels", [{"text": row["text"]} for row in clean()]),
    "no list of labels": ("unlabelled", planted(sets(), labels=None)),
    "a label of a list in another case": ("spelt", planted(sets(), labels=["A"])),
    "a text of a list missing": ("missing", planted(sets(), text=None)),
    "no tags": ("unlabelled", planted(tagged(), ner_tags=None)),
    "no words": ("missing", planted(tagged(), tokens=None)),
    "a type of entities in another case": ("spelt", planted(tagged(), ner_tags=["O", "B-Per", "I-Per"])),
    "no number": ("unlabelled", planted(scored(), score=None)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_fine_tuning_refuses_is_said(tmp_path: Path, name: str):
    kind, rows = REFUSED[name]
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError) as raised:
        load_task(path)
    made = check(path)
    found = kinds(made)[kind]
    assert made.refused == str(raised.value)
    assert found.refused and found.remedy.startswith("Fine-tuning refuses this. ")


TAKEN: dict[str, tuple[str | None, list[Row]]] = {
    "-1 for unlabelled": ("unlabelled", [row | {"label": i % 3 if i else -1} for i, row in enumerate(clean())]),
    "blanks around a label": ("spelt", planted(clean(), label="bad ")),
    "a set without a label": (None, planted(sets(), labels=[])),
    "a sentence without words": ("empty", planted(tagged(), tokens=[], ner_tags=[])),
    "an id missing": (None, planted(planted(numbered(clean()), id=None)[::-1], id=None)),
    "a text twice": ("duplicates", [*clean(), *clean(3)]),
    "a text with two labels": ("conflicts", [*clean(), *(row | {"label": "good"} for row in clean(3))]),
    "a text of one character": ("short", planted(clean(), text="x")),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_it_takes_is_not_called_refused(tmp_path: Path, name: str):
    kind, rows = TAKEN[name]
    path = write(tmp_path / "a.jsonl", rows)
    load_task(path)
    made = check(path)
    assert made.refused is None and not any("refuses" in found.remedy or found.refused for found in made.findings)
    assert made.findings == () if kind is None else kind in kinds(made)


def test_rows_that_are_left_out_are_not_refused(tmp_path: Path):
    rows = [row | {"label": i % 3 if i else -1} for i, row in enumerate(clean())]
    found = kinds(check(write(tmp_path / "a.csv", rows)))["unlabelled"]
    assert (found.severity, found.rows, found.remedy) == ("warning", 1, "Fine-tuning leaves them out.")
    shares = [row | {"label": (-1, 0, 1)[i % 3]} for i, row in enumerate(clean())]
    few = [row | {"label": -1 if i == 0 else i % 2} for i, row in enumerate(clean(100, seed=1))]
    made = check(folder(tmp_path / "b", train=shares, test=few))  # a class of train is one in test
    assert [split.labels.get("-1") for split in made.splits] == [67, 1] and "unlabelled" not in kinds(made)


def test_faults_of_splits(tmp_path: Path):
    good, other = clean(), clean(50, seed=1)
    found = kinds(check(folder(tmp_path / "a", validation=good, test=other)))
    assert found["no_train"].refused
    found = kinds(check(folder(tmp_path / "b", train=good, test=planted(other, label="ugly"))))
    assert found["unknown"].refused
    made = check(folder(tmp_path / "c", train=good, test=planted(clean(50, seed=2), label="Good")))
    assert kinds(made)["spelt"].refused and made.refused is not None and "write 'good'" in made.refused
    hidden = [{"text": row["text"], "label": -1} for row in clean(50, seed=3)]
    numbers = [row | {"label": i % 2} for i, row in enumerate(good)]
    made = check(folder(tmp_path / "d", train=numbers, test=planted(hidden, text="")))
    assert made.refused is None and not kinds(made)["empty"].refused  # no label there: it is not read
    (folder(tmp_path / "e", train=clean()) / "test.csv").write_text("")
    assert only(check(tmp_path / "e"), "unreadable").refused


def test_what_no_finding_says(tmp_path: Path):
    """Faults that only the reader of fine-tuning knows."""
    few = check(write(tmp_path / "a.csv", clean(6)))
    assert few.refused is not None and "too few to split" in few.refused
    lengths = planted(tagged(), ner_tags=["O", "B-PER"])
    made = check(write(tmp_path / "b.jsonl", lengths))
    assert made.refused is not None and "3 words and 2 tags" in made.refused and not made.misleads


def test_a_task_that_is_said_is_the_one_that_is_asked(tmp_path: Path):
    path = write(tmp_path / "a.csv", [row | {"label": i} for i, row in enumerate(clean())])
    made = check(path)
    assert made.refused is not None and "--task regression" in only(made, "no_classes").remedy
    assert check(path, task="regression").refused is None
    pairs = write(tmp_path / "b.csv", [{"title": sentence(i), "body": sentence((i, 2))} for i in range(200)])
    columns = ["title", "body"]
    made = check(pairs, text_columns=columns)
    assert made.refused is not None and "--task embedding" in only(made, "no_labels").remedy
    assert check(pairs, text_columns=columns, task="embedding").refused is None


LABELS = st.sampled_from(["good", "bad", "good ", "Good", "", None, "nan"])
TEXTS = st.sampled_from(["", " ", "x", None, "one more text"])
FAULTS = st.one_of(
    st.fixed_dictionaries({"label": LABELS}),
    st.fixed_dictionaries({"text": TEXTS}),
    st.fixed_dictionaries({"id": st.sampled_from(["r1", "new", None])}),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), FAULTS), max_size=3), st.sampled_from([".csv", ".jsonl"]))
def test_findings_and_fine_tuning_agree(tmp_path: Path, faults: list[tuple[int, Row]], suffix: str):
    """By the findings' own rules, before what fine-tuning says is known: one says so exactly where it refuses."""
    rows = numbered(clean(100))
    for row, changes in faults:
        rows[row] = rows[row] | changes
    path = write(tmp_path / f"a{suffix}", rows)
    data = read(path, text_columns=None, label_column=None)
    refused = False
    with contextlib.suppress(InputError):
        refused = True
        load_task(path)
        refused = False
    assert any(found.refused for job in (ids, labels, texts) for found in job(data)) == refused
