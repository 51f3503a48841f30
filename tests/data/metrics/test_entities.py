"""Entities against seqeval on any sequence of tags, legal or not; schemes against layouts of known entities."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from slimbert.data.metrics import (
    Entity,
    bootstrap_score,
    entities,
    entity_counts,
    entity_scores,
    f1_of_counts,
    scheme_of,
    to_iob2,
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
def test_entities_equal_seqeval(row):
    assert entities(row) == get_entities(row)


@given(sequences)
def test_bilou_is_bioes_by_other_letters(row):
    letters = {"E": "L", "S": "U"}
    written = [letters.get(tag[0], tag[0]) + tag[1:] if "-" in tag else tag for tag in row]
    assert entities(written) == get_entities(row)


@given(st.lists(st.sampled_from(["O", "PER", "LOC", "TER", "BLOC", "ORG", "-X-"]), max_size=12))
def test_plain_tags_are_runs(row):
    assert entities(row) == get_entities([tag if tag == "O" else f"I-{tag}" for tag in row])


@given(tagged())
def test_scores_equal_seqeval(pair):
    truth, answers = pair
    found = entity_scores(truth, answers)
    for name, score in {"precision": precision_score, "recall": recall_score, "f1": f1_score}.items():
        assert found[name] == pytest.approx(score(truth, answers, zero_division=0), abs=1e-12)
    if not found["types"]:  # where seqeval's mean is of nothing
        assert found["macro_f1"] == found["f1"] == 0
        return
    expected = classification_report(truth, answers, output_dict=True, zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected.pop("macro avg")["f1-score"], abs=1e-12)
    assert found["entities"] == expected.pop("micro avg")["support"]
    del expected["weighted avg"]
    assert found["types"].keys() == expected.keys()
    for name, scores in expected.items():
        ours = found["types"][name]
        ratios = [ours["precision"], ours["recall"], ours["f1"]]
        assert ratios == pytest.approx([scores["precision"], scores["recall"], scores["f1-score"]], abs=1e-12)
        assert ours["entities"] == scores["support"]


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
def test_every_scheme_is_read_recognised_and_rewritten(scheme, layout):
    if scheme == "plain":  # there, neighbours of one type would be one entity; and B-X would be a prefix
        layout = [(gap + 1, size, name.replace("B-", "")) for gap, size, name in layout]
    row, placed = write(layout, scheme)
    assert entities(row) == placed
    assert scheme_of([row]) == scheme
    assert to_iob2(row, scheme) == write(layout, "IOB2")[0]


@given(sequences)
def test_rewriting_keeps_the_entities_of_any_sequence(row):
    written = to_iob2(row, scheme_of([row]))
    assert entities(written) == entities(row)
    assert scheme_of([written]) == "IOB2"
    assert to_iob2(written, "IOB2") == written


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "IOB2"),
        ([["O", "O"]], "IOB2"),
        ([["B", "I", "O"]], "IOB2"),
        ([["B-PER", "O"], ["I-PER"]], "mixed"),  # as IOB2 the second slips, as IOB1 the first
        ([["B-PER", "I-LOC"]], "mixed"),
        ([["I-PER", "B-PER", "O"]], "IOB1"),
        ([["S-PER", "O", "E-PER"]], "mixed"),
        ([["B-PER", "O", "S-PER"]], "mixed"),
        ([["B-PER", "E-LOC"]], "mixed"),
        ([["B-PER", "L-PER", "S-PER"]], "mixed"),  # L is of BILOU, S of BIOES
        ([["NOUN", "B", "VERB"]], "plain"),
        ([["NOUN", "B-PER"]], "mixed"),
        ([["B-PER", "B-PER"], ["O"]], "IOB2"),
    ],
)
def test_scheme_of(rows, expected):
    assert scheme_of(rows) == expected


def test_plain_tags_are_taken_whole():
    assert to_iob2(["B", "B", "O", "I-X"], "plain") == ["B-B", "I-B", "O", "B-I-X"]


def test_unequal_rows_are_refused():
    with pytest.raises(ValueError, match="2 rows and 1 answers"):
        entity_scores([["O"], ["O"]], [["O"]])
    with pytest.raises(ValueError, match="row 1: 2 tags and 1 answers"):
        entity_counts([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="unknown scheme 'IOB3'"):
        to_iob2(["O"], "IOB3")


@pytest.mark.data
def test_conll_counts_are_the_published_ones(data_folder):
    """Tjong Kim Sang & De Meulder 2003, table 2."""
    rows = pq.read_table(data_folder / "conll2003" / "train.parquet", columns=["ner_tags"])["ner_tags"].to_pylist()
    assert scheme_of(rows) == "IOB2"
    found = entity_scores(rows, rows)
    published = {"LOC": 7140, "MISC": 3438, "ORG": 6321, "PER": 6600}
    assert {name: scores["entities"] for name, scores in found["types"].items()} == published
    assert found["f1"] == found["macro_f1"] == 1
    assert np.array_equal(entity_counts(rows, rows).sum(axis=0), [sum(published.values())] * 3)
