"""SQuAD's scores: closed forms, laws, and thresholds against every possible one."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimbert.data.metrics import (
    answer_f1,
    answer_rows,
    best_threshold,
    bootstrap_interval,
    exact_match,
    normalise_answer,
    squad_scores,
    withhold,
)

words = st.lists(st.sampled_from(["the", "an", "red", "Red", "fox,", "in", "1.5", "--", "été"]), max_size=5)
texts = st.one_of(words.map(" ".join), st.text(max_size=12))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Red\tfox!", "red fox"),
        ("a.b.", "ab"),
        ("th-e end", "end"),  # punctuation goes before articles are sought
        ("another Theme", "another theme"),
        ("l'été, «an»", "lété « »"),  # only ASCII punctuation, as published
        ("$1,000.50", "100050"),
        ("AN a The", ""),
        ("", ""),
    ],
)
def test_normalised(text, expected):
    assert normalise_answer(text) == expected


@given(texts)
def test_normalising_twice_changes_nothing(text):
    assert normalise_answer(normalise_answer(text)) == normalise_answer(text)


@pytest.mark.parametrize(
    ("truth", "answer", "exact", "f1"),
    [
        (["the red fox"], "Red fox.", 1, 1),
        (["red fox"], "a quick red fox", 0, 2 * 2 / (2 + 3)),
        (["red fox"], "red red", 0, 2 * 1 / 4),  # a word counts as often as it stands in both
        (["cat", "red fox", "fox"], "the fox", 1, 1),
        (["cat", "red fox"], "the fox", 0, 2 / 3),
        (["red fox"], "", 0, 0),
        (["red fox"], "the", 0, 0),
        ([], "", 1, 1),
        ([], "the", 1, 1),  # nothing is left of it
        ([], "fox", 0, 0),
        (["the"], "", 1, 1),  # nothing is left of the truth: as if there were none
        (["the", "fox"], "", 0, 0),
    ],
)
def test_scores_of_one_answer(truth, answer, exact, f1):
    assert exact_match(truth, answer) == exact
    assert answer_f1(truth, answer) == pytest.approx(f1)


@given(texts, texts)
def test_laws_of_one_answer(first, second):
    assert exact_match([first], first) == answer_f1([first], first) == 1
    assert 0 <= exact_match([first], second) <= answer_f1([first], second) <= 1
    assert answer_f1([first], second) == answer_f1([second], first)
    assert answer_f1([first, second], second) >= answer_f1([second], first)


@given(texts, st.lists(texts, min_size=1, max_size=3))
def test_more_true_answers_never_lower_a_score(answer, truth):
    if normalise_answer(truth[0]):
        for score in (exact_match, answer_f1):
            assert score(truth, answer) >= score(truth[:1], answer)


def test_what_is_reported():
    truth = [["red fox"], ["cat", "a cat"], [], []]
    answers = ["fox", "the cat", "", "dog"]
    found = squad_scores(truth, answers)
    low, high = bootstrap_interval(answer_rows(truth, answers).f1)
    assert low < found["f1"] < high
    assert list(found)[:5] == ["rows", "f1", "f1_low", "f1_high", "exact"]
    assert found == pytest.approx(
        {
            "rows": 4,
            "f1": (2 / 3 + 1 + 1) / 4,
            "f1_low": low,
            "f1_high": high,
            "exact": 0.5,
            "has_answer_rows": 2,
            "has_answer_exact": 0.5,
            "has_answer_f1": (2 / 3 + 1) / 2,
            "no_answer_rows": 2,
            "no_answer_exact": 0.5,
            "no_answer_f1": 0.5,
        }
    )
    some = squad_scores(truth[:2], answers[:2])
    assert some == pytest.approx({"rows": 2, "f1": (2 / 3 + 1) / 2, "f1_low": 2 / 3, "f1_high": 1, "exact": 0.5})
    assert set(squad_scores(truth[2:], answers[2:])) & {"has_answer_f1", "no_answer_f1"} == {"no_answer_f1"}


# (the best span's F1 if the question has an answer, else None; has the answer any text?; null score)
questions = st.lists(
    st.tuples(st.sampled_from([None, 0.0, 0.4, 1.0]), st.booleans(), st.integers(-50, 50)),
    min_size=1,
    max_size=15,
    unique_by=lambda row: row[2],
)


def columns(rows):
    answerable = np.array([f1 is not None for f1, *_ in rows])
    answered = np.array([text for _, text, _ in rows])
    raw = np.array([float(not text) if f1 is None else f1 * text for f1, text, _ in rows])
    return raw, np.array([null for *_, null in rows], dtype=np.float64), answered, answerable


def after(raw, nulls, answerable, threshold) -> float:
    return float(np.where(nulls > threshold, ~answerable, raw).mean())


@given(questions)
def test_no_threshold_is_better(rows):
    raw, nulls, answered, answerable = columns(rows)
    found = best_threshold(raw, nulls, answered=answered, answerable=answerable)
    possible = [after(raw, nulls, answerable, threshold) for threshold in (-100, *nulls)]
    assert found.score == pytest.approx(max(possible), abs=1e-12)
    assert after(raw, nulls, answerable, found.threshold) == pytest.approx(found.score, abs=1e-12)
    first = min(t for t, score in zip((-100, *nulls), possible, strict=True) if score > found.score - 1e-12)
    assert found.threshold == first or first == -100


@given(questions)
def test_thresholds_work_on_the_answers_themselves(rows):
    truth = [[] if f1 is None else {0.0: ["x"], 0.4: ["red b c d"], 1.0: ["red"]}[f1] for f1, *_ in rows]
    answers = ["red" if text else "" for _, text, _ in rows]
    scored = answer_rows(truth, answers)
    nulls = np.array([null for *_, null in rows], dtype=np.float32) / 7
    answered = np.array([bool(answer) for answer in answers])
    found = best_threshold(scored.f1, nulls, answered=answered, answerable=scored.answerable)
    kept = withhold(answers, nulls, threshold=found.threshold)
    assert squad_scores(truth, kept)["f1"] == pytest.approx(found.score, abs=1e-12)


def test_threshold_by_hand():
    raw, answerable = np.array([1.0, 0.5, 0.0, 0.0]), np.array([True, True, False, False])
    answered, nulls = np.array([True] * 4), np.array([0.1, 0.6, 0.4, 0.9])
    # withhold all: 2; let through 0.1: 3; 0.4 (no answer): 2; 0.6: 2.5; 0.9: 1.5
    assert best_threshold(raw, nulls, answered=answered, answerable=answerable) == (0.1, 3 / 4)
    assert best_threshold(raw[2:], nulls[2:], answered=answered[2:], answerable=answerable[2:]) == (0.0, 1.0)
    below, score = best_threshold(raw[2:], nulls[2:] - 1, answered=answered[2:], answerable=answerable[2:])
    assert (below < -0.6, below, score) == (True, pytest.approx(-0.6), 1.0)


def test_equal_null_scores_are_taken_one_by_one():
    """As the published script does: it sees 1 + 1 between the rows, though a threshold of 0.5 gives 1."""
    found = best_threshold(
        np.array([1.0, 0.0]),
        np.array([0.5, 0.5]),
        answered=np.array([True, True]),
        answerable=np.array([True, False]),
    )
    assert found == (0.5, 1.0)


def test_bad_rows_are_refused():
    with pytest.raises(ValueError, match="2 questions and 1 answers"):
        squad_scores([[], []], [""])
    with pytest.raises(ValueError, match="'red' is one text"):
        answer_f1("red", "red")
    with pytest.raises(ValueError, match=r"need \[N\] each"):
        best_threshold(np.ones(2), np.ones(3), answered=np.ones(2, dtype=bool), answerable=np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="no numbers"):
        best_threshold(
            np.ones(1), np.array([np.nan]), answered=np.ones(1, dtype=bool), answerable=np.ones(1, dtype=bool)
        )


@pytest.mark.data
def test_true_answers_are_right(data_folder):
    """The first answer to every real question is right; a second person's is less so, and by F1 more than exactly."""
    answers = pq.read_table(data_folder / "squad" / "validation.parquet", columns=["answers"])["answers"].to_pylist()
    truth = [row["text"] for row in answers]
    whole = {"rows": len(truth), "f1": 1.0, "f1_low": 1.0, "f1_high": 1.0, "exact": 1.0}
    assert squad_scores(truth, [row[0] for row in truth]) == whole
    several = [row for row in truth if len(row) > 1]
    people = squad_scores([[row[0], *row[2:]] for row in several], [row[1] for row in several])
    assert 0.75 < people["exact"] < people["f1"] < 0.95
