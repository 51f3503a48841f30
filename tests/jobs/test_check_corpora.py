"""The check of real corpora agrees with independent counts: sets of texts, and similarities of all pairs of rows."""

import itertools
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from slimbert.data.duplicates import ALIKE
from slimbert.data.tasks import load_task
from slimbert.jobs.check.run import Checked, check

CORPORA = {
    "sst2": ("sentence",),
    "ag_news": ("text",),
    "cola": ("sentence",),
    "product_match/abt_buy": ("text_left", "text_right"),
    "qqp": ("question1", "question2"),
}
Rows = list[tuple[str, ...]]


@pytest.fixture(scope="module", params=CORPORA)
def corpus(request: pytest.FixtureRequest, data_folder: Path) -> tuple[Checked, dict[str, Rows], dict[str, list[int]]]:
    """What the check says of a corpus; the texts and labels of its splits, read without it."""
    folder = data_folder / request.param
    texts, labels = {}, {}
    for split in ("train", "validation", "test"):
        if (folder / f"{split}.parquet").exists():
            read = pq.read_table(folder / f"{split}.parquet").to_pydict()
            texts[split] = list(zip(*(read[name] for name in CORPORA[request.param])))
            labels[split] = read["label"]
    return check(folder), texts, labels


def found(made: Checked, kind: str) -> dict[str, int]:
    """title -> rows of the findings of a kind."""
    return {finding.title: finding.rows for finding in made.findings if finding.kind == kind}


@pytest.mark.data
def test_exact_repeats_and_leakage_are_those_of_sets(corpus):
    made, texts, _ = corpus
    again = sum(len(rows) - len(set(rows)) for rows in texts.values())
    assert sum(found(made, "duplicates").values()) == again
    sets = {split: set(rows) for split, rows in texts.items()}
    leaks = {
        f"{later} rows that stand in {earlier}": sum(row in sets[earlier] for row in texts[later])
        for earlier, later in itertools.combinations(texts, 2)
    }
    assert found(made, "leakage") == {title: rows for title, rows in leaks.items() if rows}


@pytest.mark.data
def test_conflicts_are_those_of_a_dictionary(corpus):
    made, texts, labels = corpus
    seen = defaultdict(list)
    for split, rows in texts.items():
        for row, label in zip(rows, labels[split]):
            if label != -1:
                seen[row].append(label)
    assert sum(found(made, "conflicts").values()) == sum(len(some) for some in seen.values() if len(set(some)) > 1)


@pytest.mark.data
def test_splits_labels_and_lengths(corpus):
    made, texts, labels = corpus
    for split in made.splits:
        known = [label for label in labels[split.split] if label != -1]
        assert (split.rows, split.labelled) == (len(texts[split.split]), len(known))
        assert split.labels == {str(label): rows for label, rows in Counter(known).items()}
        sizes = sorted(sum(len(text.split()) for text in row) for row in texts[split.split])
        assert (split.lengths.longest, split.lengths.p50) == (sizes[-1], sizes[(len(sizes) - 1) // 2])


def nearest(old: list[list[str]], new: list[list[str]]) -> np.ndarray:
    """[new] the highest similarity to any old row, by sparse products; [column][row] texts, pairs in either order."""
    number: dict[tuple[str, ...], int] = {}

    def matrix(texts: list[str]) -> csr_array:
        rows, columns = [], []
        for row, text in enumerate(texts):
            words = re.findall(r"\w+", text.lower())
            words += [""] * (3 - len(words))
            for triple in {tuple(words[i : i + 3]) for i in range(len(words) - 2)}:
                rows.append(row)
                columns.append(number.setdefault(triple, len(number)))
        return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(texts), 2_000_000))

    def similarity(one: csr_array, other: csr_array) -> np.ndarray:
        both = (one @ other.T).toarray()
        return both / (one.sum(axis=1)[:, None] + other.sum(axis=1)[None, :] - both)

    known, asked = [matrix(texts) for texts in old], [matrix(texts) for texts in new]
    best = []
    for start in range(0, len(new[0]), 500):
        some = [texts[start : start + 500] for texts in asked]
        orders = (known, known[::-1])[: len(known)]
        alike = [np.minimum.reduce([similarity(a, b) for a, b in zip(some, order)]) for order in orders]
        best.append(np.maximum.reduce(alike).max(axis=1))
    return np.concatenate(best)


@pytest.mark.data
@pytest.mark.parametrize("name", ["ag_news", "cola", "product_match/abt_buy", "qqp"])
def test_near_leakage_is_near_in_fact(data_folder: Path, name: str):
    """All that is found is near by the similarity of all pairs of rows; of those very near, hardly any is missed."""
    later = "test" if name in ("ag_news", "product_match/abt_buy") else "validation"
    texts = {
        split: [
            pq.read_table(data_folder / name / f"{split}.parquet").column(column).to_pylist()
            for column in CORPORA[name]
        ]
        for split in ("train", later)
    }
    exact = set(zip(*texts["train"]))
    fresh = np.array([row not in exact for row in zip(*texts[later])])
    best = nearest(texts["train"], texts[later])[fresh]
    rows = found(check(data_folder / name), "near_leakage").get(f"{later} rows that nearly stand in train", 0)
    assert 0.98 * (best >= 0.8).sum() <= rows <= (best >= ALIKE).sum()


@pytest.mark.data
def test_what_is_found_is_what_load_task_sees(data_folder: Path):
    for name in CORPORA:
        made, task = check(data_folder / name), load_task(data_folder / name)
        assert (made.text_columns, made.label_column) == (task.text_columns, task.label_column)
        assert set(made.splits[0].labels) == set(task.labels) and made.refused is None


@pytest.mark.data
@pytest.mark.parametrize("name", ["stsb", "conll2003", "mnli/validation_matched.parquet"])
def test_corpora_of_other_tasks_are_checked_too(data_folder: Path, name: str):
    made = check(data_folder / name)
    assert made.splits[0].rows > 0
    assert made.label_kind == {"stsb": "numbers", "conll2003": "lists"}.get(name, "classes")
    assert made.refused is None and not any(finding.refused for finding in made.findings)
