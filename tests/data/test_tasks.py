"""Labelled files and folders: what is guessed, how rows are split, and what is refused with place and remedy."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimbert.data.splits import same_texts, stratified
from slimbert.data.tasks import NAMED, load_split, load_task, load_texts
from slimbert.errors import InputError


def write(path: Path, **columns: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        rows = [",".join(map(str, row)) for row in zip(*columns.values())]
        path.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")
    return path


def texts(count: int, word: str = "text") -> list[str]:
    return [f"{word} number {i}" for i in range(count)]


def reviews(count: int = 40) -> dict[str, list]:
    return {"review": texts(count), "label": ["good" if i % 4 else "bad" for i in range(count)]}


# what is chosen


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_is_read_split_and_explained(tmp_path, suffix):
    task = load_task(write(tmp_path / f"reviews.{suffix}", **reviews()))
    assert (task.kind, task.labels) == ("classification", ("bad", "good"))
    assert (task.text_columns, task.label_column) == (("review",), "label")
    assert [len(part) for part in (task.train, task.validation, task.test)] == [32, 4, 4]
    assert np.bincount(task.train.labels).tolist() == [8, 24]
    assert "text in column 'review' (by its name)" in task.notes
    assert "2 classes in train: bad 8, good 24" in task.notes


def test_the_same_data_in_another_form_is_the_same_task(tmp_path):
    hashes = {load_task(write(tmp_path / f"a.{suffix}", **reviews())).sha256 for suffix in ("csv", "jsonl", "parquet")}
    assert len(hashes) == 1
    assert load_task(tmp_path / "a.csv", seed=1).sha256 not in hashes


@pytest.mark.parametrize("names", [("sentence1", "sentence2"), ("Premise", "Hypothesis"), ("question", "sentence")])
def test_pairs_are_found_by_their_names(tmp_path, names):
    columns = {names[0]: texts(20), names[1]: texts(20, "other"), "idx": list(range(20)), "label": [0, 1] * 10}
    task = load_task(write(tmp_path / "a.parquet", **columns))
    assert (task.kind, task.text_columns) == ("pair", names)
    assert all(isinstance(text, tuple) and len(text) == 2 for text in task.train.texts)


def test_unknown_names_are_guessed_by_content(tmp_path):
    task = load_task(write(tmp_path / "spam.csv", v1=["ham", "spam"] * 10, v2=texts(20), id=list(range(20))))
    assert (task.label_column, task.text_columns) == ("v1", ("v2",))
    assert "labels in 'v1' (the only column of few, repeating values)" in task.notes


def test_columns_may_be_named(tmp_path):
    path = write(tmp_path / "a.csv", text=texts(20), title=texts(20, "t"), label=[0, 1] * 10, mood=["x", "y"] * 10)
    task = load_task(path, text_columns=["title"], label_column="mood")
    assert (task.text_columns, task.labels) == (("title",), ("x", "y"))
    assert load_task(path, text_columns=["title", "text"]).kind == "pair"
    for wrong in ({"text_columns": ["titel"]}, {"label_column": "moods"}, {"text_columns": ["text", "title", "mood"]}):
        with pytest.raises(InputError, match=r"a\.csv: "):
            load_task(path, **wrong)
    with pytest.raises(InputError, match="text and label at once"):
        load_task(path, text_columns=["mood"], label_column="mood")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([10, 2], ("2", "10")),
        ([True, False], ("false", "true")),
        ([1.0, 2.0], ("1", "2")),
        ([0.5, 1.0], ("0.5", "1")),
        ([-1, 1], ("-1", "1")),
        ([" b", "a "], ("a", "b")),
    ],
)
def test_labels_become_words(tmp_path, values, names):
    task = load_task(write(tmp_path / "a.parquet", text=texts(40), label=values * 20))
    assert sorted(task.labels) == sorted(names)
    if all(isinstance(value, int) for value in values):
        assert task.labels == names  # numbers in the order of numbers


def test_class_names_of_hugging_face_are_kept(tmp_path):
    features = {"info": {"features": {"label": {"names": ["positive", "negative"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": texts(21), "label": [0, 1, 1] * 6 + [0, 1, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet")
    task = load_task(tmp_path / "a.parquet")
    assert task.labels == ("positive", "negative")
    assert "1 rows of all are unlabelled (-1) and were dropped" in task.notes


# folders


def folder(path: Path, **rows: dict[str, list]) -> Path:
    for split, columns in rows.items():
        write(path / f"{split}.parquet", **columns)
    return path


def labelled(count: int, word: str) -> dict[str, list]:
    return {"text": texts(count, word), "label": [i % 2 for i in range(count)]}


def test_given_splits_are_kept(tmp_path):
    path = folder(tmp_path, train=labelled(20, "a"), validation=labelled(6, "b"), test=labelled(8, "c"))
    task = load_task(path)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [20, 6, 8]
    assert task.test.texts[0] == "c number 0"


@pytest.mark.parametrize("hidden", [{"label": [-1] * 8}, {"label": [None] * 8}, {}], ids=["-1", "null", "no column"])
def test_where_only_validation_is_labelled_it_becomes_the_test(tmp_path, hidden):
    path = folder(
        tmp_path, train=labelled(20, "a"), validation=labelled(6, "b"), test={"text": texts(8, "c"), **hidden}
    )
    task = load_task(path)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [18, 2, 6]
    assert task.test.texts[0] == "b number 0"
    assert "test has no labels and was dropped" in task.notes
    assert any("only validation is labelled" in note for note in task.notes)


def test_what_is_missing_is_cut_from_train(tmp_path):
    task = load_task(folder(tmp_path / "a", train=labelled(20, "a"), test=labelled(6, "c")))
    assert [len(part) for part in (task.train, task.validation, task.test)] == [18, 2, 6]
    task = load_task(folder(tmp_path / "b", train=labelled(20, "a")))
    assert [len(part) for part in (task.train, task.validation, task.test)] == [16, 2, 2]
    assert load_task(tmp_path / "b", fractions=(0.9, 0.1, 0.0)).test is None


def test_pieces_and_other_names_of_splits(tmp_path):
    for i in range(2):
        write(tmp_path / f"train-0000{i}-of-00002.parquet", **labelled(10, str(i)))
    write(tmp_path / "dev.parquet", **labelled(6, "dev"))
    write(tmp_path / "test.parquet", **labelled(6, "test"))
    task = load_task(tmp_path)
    assert (len(task.train), len(task.validation)) == (20, 6)
    write(tmp_path / "train.csv", **labelled(6, "test"))
    with pytest.raises(InputError, match="several files for train"):
        load_task(tmp_path)


def test_matched_validation_of_mnli_is_the_validation(tmp_path):
    folder(
        tmp_path, train=labelled(20, "a"), validation_matched=labelled(6, "b"), validation_mismatched=labelled(6, "c")
    )
    task = load_task(tmp_path)
    assert set(task.test.texts) == set(labelled(6, "b")["text"])
    how = f"slimbert evaluate RUN {tmp_path} --split validation_mismatched"
    assert f"not used: validation_mismatched; where there are labels, {how} scores it" in task.notes


def test_a_file_that_is_no_split_is_scored_by_its_name(tmp_path):
    """The two validation sets of MNLI, each by itself; what is named like no split is not spoken of."""
    splits = {"train": labelled(20, "a"), "dev_matched": labelled(6, "b"), "about": labelled(6, "e")}
    folder(tmp_path, **splits)
    for piece in range(2):
        write(tmp_path / f"dev_mismatched-0000{piece}-of-00002.parquet", **labelled(4, f"c{piece}"))
    options = {"labels": ["0", "1"], "text_columns": ["text"], "label_column": "label"}
    found = {name: load_split(tmp_path, split=name, **options) for name in ("validation", "dev_mismatched", "about")}
    assert {name: len(split) for name, split in found.items()} == {"validation": 6, "dev_mismatched": 8, "about": 6}
    assert set(found["dev_mismatched"].texts) == {*labelled(4, "c0")["text"], *labelled(4, "c1")["text"]}
    with pytest.raises(InputError, match="the split 'test'; it has train, validation, about, dev_mismatched"):
        load_split(tmp_path, **options)
    (note,) = [note for note in load_task(tmp_path).notes if note.startswith("not used")]
    assert note.startswith("not used: dev_mismatched; ")
    assert not any(note.startswith("not used") for note in load_task(tmp_path / "train.parquet").notes)


def test_repeated_texts_stand_on_one_side_and_overlaps_are_told(tmp_path):
    columns = {"text": texts(30) * 2, "label": [i % 2 for i in range(30)] * 2}
    task = load_task(write(tmp_path / "a.csv", **columns))
    sides = [set(part.texts) for part in (task.train, task.validation, task.test)]
    assert sum(map(len, sides)) == 30
    assert any("30 repeats" in note for note in task.notes)
    both = labelled(20, "a")
    task = load_task(folder(tmp_path / "b", train=both, validation=labelled(6, "b"), test=both))
    assert "20 texts of the test also stand in train" in task.notes


# what is refused: place, problem, remedy

BROKEN = {
    "one class only": {"text": texts(20), "label": [1] * 20},
    "no text in column 'text'": {"text": [*texts(19), None], "label": [0, 1] * 10},
    "empty text in column 'text'": {"text": [*texts(19), "  "], "label": [0, 1] * 10},
    "no label in column 'label'": {"text": texts(20), "label": [0, 1] * 9 + [0, None]},
    "no row has a label": {"text": texts(20), "label": [None] * 20},
    "texts or numbers, not classes": {"text": texts(20), "label": list(range(20))},
    "no label column found": {"text": texts(20), "other": texts(20)},
    "no text column among": {"number": list(range(20)), "label": [0, 1] * 10},
    "differ only in case": {"text": texts(20), "label": ["good", "bad"] * 9 + ["Good", "bad"]},
    "too few to split": {"text": texts(4), "label": [0, 1] * 2},
    "no row in it": {"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())},
}


@pytest.mark.parametrize("problem", BROKEN)
def test_bad_data_is_one_error_with_place_and_remedy(tmp_path, problem):
    path = write(tmp_path / "a.parquet", **BROKEN[problem])
    with pytest.raises(InputError, match=problem) as caught:
        load_task(path)
    assert caught.value.place.startswith(str(path))
    assert caught.value.remedy
    if problem.startswith(("no text in", "empty text", "no label in")):
        assert caught.value.place == f"{path}:row 20"


def test_nan_labels_name_their_row(tmp_path):
    path = write(tmp_path / "a.parquet", text=texts(20), label=[0.0, 1.0] * 9 + [float("nan"), 1.0])
    with pytest.raises(InputError, match=r"a\.parquet:row 19: no label in column 'label'"):
        load_task(path)
    write(tmp_path / "b.csv", text=texts(20), label=["a", "b"] * 9 + ["NaN", "b"])
    with pytest.raises(InputError, match=r"b\.csv:row 19: no label"):
        load_task(tmp_path / "b.csv")
    write(tmp_path / "a.csv", text=texts(20), label=[0, 1] * 9 + ["", 1])
    with pytest.raises(InputError, match=r"a\.csv:row 19: no label"):
        load_task(tmp_path / "a.csv")


def test_rows_are_counted_in_their_own_file(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", **labelled(10, "a"))
    bad = write(tmp_path / "train-00001-of-00002.parquet", text=[*texts(9), None], label=[0, 1] * 5)
    with pytest.raises(InputError) as caught:
        load_task(tmp_path)
    assert caught.value.place == f"{bad}:row 10"


def test_a_label_that_train_lacks_is_refused(tmp_path):
    path = folder(tmp_path, train=labelled(20, "a"), validation=labelled(6, "b"), test={"text": ["x"], "label": [7]})
    with pytest.raises(InputError, match=r"test\.parquet:row 1: unknown label '7'; the labels to learn are 0, 1"):
        load_task(path)


def test_missing_things(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_task(tmp_path / "reviews.csv")
    with pytest.raises(InputError, match=r"no train, validation or test file .*, but nothing"):
        load_task(tmp_path)
    folder(tmp_path, validation=labelled(6, "b"))
    with pytest.raises(InputError, match="no labelled split to train on"):
        load_task(tmp_path)
    folder(tmp_path, train=labelled(20, "a"), validation={"sentence": texts(6), "label": [0, 1] * 3})
    with pytest.raises(InputError):
        load_task(tmp_path)


def test_equal_texts_with_different_labels_cannot_empty_a_class(tmp_path):
    path = write(tmp_path / "a.csv", text=["same"] * 10 + texts(10), label=[0] + [1] * 19)
    task = load_task(path)
    assert set(task.train.labels) == {0, 1}


# for evaluate and predict


def test_load_split_maps_to_the_labels_of_the_model(tmp_path):
    path = folder(tmp_path, train=labelled(20, "a"), validation=labelled(6, "b"))
    split = load_split(path, labels=["1", "0"], text_columns=["text"], label_column="label", split="validation")
    assert split.labels.tolist() == [1, 0] * 3
    whole = load_split(path / "train.parquet", labels=["0", "1"], text_columns=["text"], label_column="label")
    assert len(whole) == 20
    with pytest.raises(InputError, match="no file for the split 'test'; it has train, validation"):
        load_split(path, labels=["0", "1"], text_columns=["text"], label_column="label")
    with pytest.raises(InputError, match="unknown label '1'"):
        load_split(path, labels=["0", "2"], text_columns=["text"], label_column="label", split="train")


def test_load_texts_answers_every_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\r\nthree".encode())
    assert load_texts(tmp_path / "a.txt", text_columns=["text"]) == ["one", "", "three"]
    assert load_texts(write(tmp_path / "a.csv", text=[12, 13]), text_columns=["text"]) == ["12", "13"]
    assert load_texts(write(tmp_path / "b.csv", a=["x"], b=["y"]), text_columns=["a", "b"]) == [("x", "y")]
    with pytest.raises(InputError, match="cannot hold pairs"):
        load_texts(tmp_path / "a.txt", text_columns=["a", "b"])
    with pytest.raises(InputError, match="no column 'text'"):
        load_texts(tmp_path / "b.csv", text_columns=["text"])


# laws


@given(
    labels=st.lists(st.integers(0, 3), min_size=10, max_size=200),
    seed=st.integers(0, 5),
    repeats=st.integers(1, 3),
)
def test_splitting_is_stratified_deterministic_and_keeps_groups(labels, seed, repeats):
    kept = np.array(labels)
    groups = np.arange(len(kept)) // repeats
    kept = kept[groups * repeats]  # a group has one label here
    fractions = (0.8, 0.1, 0.1)
    parts = stratified(kept, fractions, seed=seed, groups=groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(kept)))
    assert all((a == b).all() for a, b in zip(parts, stratified(kept, fractions, seed=seed, groups=groups)))
    assert len({(g, n) for n, part in enumerate(parts) for g in groups[part]}) == len(set(groups))
    assert set(kept[parts[0]]) == set(kept)
    for label in set(labels):
        count = np.count_nonzero(kept == label)
        for part, fraction in zip(parts, fractions):
            # off by less than 3 groups: its own rounding, that of the other classes, the one that train must have
            assert abs(np.count_nonzero(kept[part] == label) - fraction * count) < 3 * repeats


@given(st.lists(st.text(max_size=2)))
def test_same_texts(words):
    numbers = same_texts(words)
    assert all((numbers[i] == numbers[j]) == (a == b) for i, a in enumerate(words) for j, b in enumerate(words))


CELL = st.one_of(
    st.none(),
    st.integers(-2, 5),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.just("ok"),
    st.lists(st.none(), max_size=1),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    column=st.one_of(
        st.lists(CELL, min_size=1, max_size=30), st.lists(st.sampled_from(["a", "b", -1, 1, None]), min_size=10)
    ),
    damage=st.integers(0, 2000),
)
def test_any_labels_give_a_task_or_one_clear_error(tmp_path, column, damage):
    path = tmp_path / "any.jsonl"
    raw = "".join(json.dumps({"text": f"text {i}", "label": v}) + "\n" for i, v in enumerate(column)).encode()
    cut = raw[: -(damage % 40) or None] if damage % 3 == 0 else raw
    path.write_bytes(cut)
    try:
        task = load_task(path)
    except InputError as error:
        assert error.place.startswith(str(path))
        assert error.problem and error.remedy
    else:
        assert len(task.labels) >= 2
        assert set(task.train.labels) <= set(range(len(task.labels)))
        assert sum(len(part) for part in (task.train, task.validation, task.test)) <= len(column)


# the real corpora


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "kind", "columns", "sizes"),
    [
        ("sst2", "classification", ("sentence",), (65349, 2000, 872)),
        ("rte", "pair", ("sentence1", "sentence2"), (2213, 277, 277)),
        ("ag_news", "classification", ("text",), (8881, 1110, 7600)),
        ("cola", "classification", ("sentence",), (7601, 950, 1043)),
        ("amazon_polarity_md", "classification", ("content",), (4717, 586, 572)),
        ("conll2003", "ner", ("tokens",), (12481, 1560, 3250)),
        ("squad", "qa", ("question", "context"), (85599, 2000, 10570)),
        ("stsb", "regression", ("sentence1", "sentence2"), (5749, 1500, 1379)),
        ("product_match/abt_buy", "pair", ("text_left", "text_right"), (5743, 1916, 1916)),
    ],
)
def test_real_corpora_are_understood(data_folder, name, kind, columns, sizes):
    task = load_task(data_folder / name)
    label = {"ner": "ner_tags", "qa": "answers"}.get(kind, "label")
    assert (task.kind, task.text_columns, task.label_column) == (kind, columns, label)
    assert (len(task.train), len(task.validation), len(task.test)) == sizes


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        *((name, name) for name in ("sst2", "cola", "rte", "stsb", "qnli", "qqp", "imdb", "ag_news", "conll2003")),
        ("amazon_polarity", "amazon_polarity_md"),
        ("product_match", "product_match/amazon_google"),
    ],
)
def test_benchmarks_are_read_by_their_names(data_folder, name, folder):
    task, named = load_task(data_folder / folder, kind=name), NAMED[name]
    assert (task.kind, task.metric) == (named.kind, named.metric)
    assert task.test is not None and len(task.test) > 200


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("wiki_en", "no label column"),
    ],
)
def test_real_corpora_without_labels_are_refused(data_folder, name, problem):
    with pytest.raises(InputError, match=problem):
        load_task(data_folder / name)
