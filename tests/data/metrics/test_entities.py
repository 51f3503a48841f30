"""Entities against an oracle on any sequence of tags, legal or not; schemes against layouts of known entities."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conlleval import chunks, micro
from slimbert.data.metrics import (
    Entity,
    bootstrap_score,
    entities,
    entity_counts,
    entity_scores,
    f1_of_counts,
)

TYPES = ["PER", "LOC", "A-B", "E-X", "O", "", "_", "I"]
tags = st.one_of(
    st.just("O"),
    st.sampled_from("BIES"),
    st.builds("{}-{}".format, st.sampled_from("BIES"), st.sampled_from(TYPES)),
    st.builds("{}-{}".format, st.sampled_from("BI"), st.sampled_from(TYPES[:2])),
)
sequences = st.lists(tags, max_size=12)


@st.composite
def tagged(draw):
    """Two taggings of the same rows."""
    truth = draw(st.lists(sequences, min_size=1, max_size=5))
    return truth, [draw(st.lists(tags, min_size=len(row), max_size=len(row))) for row in truth]


@given(sequences)
def test_entities_equal_the_oracle(row):
    assert entities(row) == chunks(row)


@given(sequences)
def test_bilou_is_bioes_by_other_letters(row):
    letters = {"E": "L", "S": "U"}
    written = [letters.get(tag[0], tag[0]) + tag[1:] if "-" in tag else tag for tag in row]
    assert entities(written) == chunks(row)


@given(st.lists(st.sampled_from(["O", "PER", "LOC", "TER", "BLOC", "ORG", "-X-"]), max_size=12))
def test_plain_tags_are_runs(row):
    assert entities(row) == chunks([tag if tag == "O" else f"I-{tag}" for tag in row])


@given(tagged())
def test_scores_equal_the_oracle(pair):
    """Over all, and of each type by itself: the other types are taken out of both sides."""
    truth, answers = pair
    found = entity_scores(truth, answers)
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(micro(truth, answers), abs=1e-12)
    types = {kind for rows in (truth, answers) for row in rows for kind, _, _ in chunks(row)}
    assert set(found["types"]) == types
    for kind, scores in found["types"].items():
        sides = [[(r, *one) for r, row in enumerate(rows) for one in chunks(row) if one[0] == kind] for rows in pair]
        right = len(set(sides[0]) & set(sides[1]))
        assert (scores["entities"], scores["answered"]) == (len(sides[0]), len(sides[1]))
        assert scores["recall"] == pytest.approx(right / len(sides[0]) if sides[0] else 0, abs=1e-12)
        assert scores["precision"] == pytest.approx(right / len(sides[1]) if sides[1] else 0, abs=1e-12)
        assert scores["f1"] == pytest.approx(2 * right / (len(sides[0]) + len(sides[1])), abs=1e-12)
    mean = np.mean([scores["f1"] for scores in found["types"].values()]) if types else 0
    assert found["macro_f1"] == pytest.approx(mean, abs=1e-12)


@given(tagged())
def test_counts_of_rows_sum_to_the_score(pair):
    truth, answers = pair
    counts = entity_counts(truth, answers)
    found = entity_scores(truth, answers)
    assert counts.shape == (found["rows"], 3)
    assert float(f1_of_counts(counts.sum(axis=0))) == pytest.approx(found["f1"], abs=1e-12)
    low, high = bootstrap_score(counts, f1_of_counts, draws=50)
    assert 0 <= low <= high <= 1


def test_example():
    truth = [["B-PER", "I-PER", "O", "B-LOC", "O"]]
    answers = [["B-PER", "I-PER", "O", "B-PER", "I-LOC"]]
    assert entities(answers[0]) == [("PER", 0, 1), ("PER", 3, 3), ("LOC", 4, 4)]
    found = entity_scores(truth, answers)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert found["types"]["PER"]["f1"] == pytest.approx(2 / 3)
    assert (found["entities"], found["answered"]) == (2, 3)


WRITTEN = {  # scheme -> prefixes of the first, the middle, the last and a single token of an entity
    "IOB2": "BIIB",
    "IOB1": "IIII",
    "BIOES": "BIES",
    "BILOU": "BILU",
    "BMEW": "BMEW",
}


def write(layout: list[tuple[int, int, str]], scheme: str) -> tuple[list[str], list[Entity]]:
    """Tags of entities given as (tokens outside before it, tokens, type), and where they are."""
    row: list[str] = []
    placed: list[Entity] = []
    for gap, size, name in layout:
        row += ["O"] * gap
        start = len(row)
        if scheme == "plain":
            row += [name] * size
        else:
            first, middle, last, single = WRITTEN[scheme]
            touches = placed and placed[-1].end == start - 1 and placed[-1].type == name
            letters = [first, *[middle] * (size - 2), last] if size > 1 else [single]
            letters[0] = "B" if scheme == "IOB1" and touches else letters[0]
            row += [f"{letter}-{name}" for letter in letters]
        placed.append(Entity(name, start, len(row) - 1))
    return [*row, "O"], placed


layouts = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(["PER", "LOC", "B-X"])), min_size=1, max_size=5
)


@pytest.mark.parametrize("scheme", [*WRITTEN, "plain"])
@given(layout=layouts)
def test_every_scheme_is_read(scheme, layout):
    if scheme == "plain":  # there, neighbours of one type would be one entity; and B-X would be a prefix
        layout = [(gap + 1, size, name.replace("B-", "")) for gap, size, name in layout]
    row, placed = write(layout, scheme)
    assert entities(row) == placed


def test_unequal_rows_are_refused():
    with pytest.raises(ValueError, match="2 rows and 1 answers"):
        entity_scores([["O"], ["O"]], [["O"]])
    with pytest.raises(ValueError, match="row 1: 2 tags and 1 answers"):
        entity_counts([["O"], ["O", "O"]], [["O"], ["O"]])


@pytest.mark.data
def test_conll_counts_are_the_published_ones(data_folder):
    """Tjong Kim Sang & De Meulder 2003, table 2."""
    rows = pq.read_table(data_folder / "conll2003" / "train.parquet", columns=["ner_tags"])["ner_tags"].to_pylist()
    found = entity_scores(rows, rows)
    published = {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600}
    assert {name: scores["entities"] for name, scores in found["types"].items()} == published
    assert found["f1"] == found["macro_f1"] == 1
    assert np.array_equal(entity_counts(rows, rows).sum(axis=0), [sum(published.values())] * 3)
