"""report.md: what is confused with what, cell by cell, and the worst errors of every kind of task with their text."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from jobs.small import WORDS
from slimbert.data.squad import Question
from slimbert.data.tagging import of_words
from slimbert.data.tasks import Split
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.report import LONGEST, MOST_CLASSES, MOST_ERRORS, report
from slimbert.jobs.tasks import KINDS, Description, Kind, kind_of
from slimbert.jobs.tasks.features import Features
from slimbert.jobs.tasks.kind import Error

Outputs = list[Any]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    """Each word is one piece."""
    made = TextTokenizer.train(WORDS * 3, 400)
    assert all(len(ids) == 3 for ids in made.encode(WORDS, 8))
    return made


def logs(*shares: Sequence[float]) -> Outputs:
    """Of which softmax makes these probabilities."""
    return [np.log(np.array(row, dtype=np.float32)) for row in shares]


def written(kind: Kind, split: Split, outputs: Outputs) -> str:
    features, metric = kind.features(split, labelled=False), kind.description.metric
    scores = {"fine-tuned encoder": {"rows": len(split), metric: 0.5}}
    return report(kind, split, features, outputs, scores, part="test")


def section(text: str, title: str) -> list[str]:
    """The lines below a title, without blank ones."""
    found = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in found.splitlines() if line]


def test_the_report_of_classes_by_hand(tokenizer: TextTokenizer):
    """Off by: the probability of the wrong answer beyond that of the right one."""
    texts = ["right", "sure | of\nit", "nearly", "further", "right, too", "and here", "sure again"]
    split = Split(texts, np.array([0, 0, 1, 2, 1, 2, 0]))
    outputs = logs(
        (0.8, 0.1, 0.1), (0.05, 0.9, 0.05), (0.5, 0.3, 0.2), (0.6, 0.1, 0.3),
        (0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.15, 0.7, 0.15),
    )  # fmt: skip
    text = written(kind_of(tokenizer, Description(), ("ham", "spam", "x|y")), split, outputs)
    assert "Scores on 7 rows of test" in text and "| fine-tuned encoder | 0.500 |" in text
    assert section(text, "Labels")[2:] == [
        "| ham | 3 | 0.333 | 0.333 |",
        "| spam | 2 | 0.5 | 0.4 |",
        "| x\\|y | 2 | 0.5 | 0.667 |",
    ]
    assert section(text, "Confusions") == [
        "Rows: what is right; columns: what was answered.",
        "|  | ham | spam | x\\|y |",
        "| --- | ---: | ---: | ---: |",
        "| **ham** | 1 | 2 | 0 |",
        "| **spam** | 1 | 1 | 0 |",
        "| **x\\|y** | 1 | 0 | 1 |",
    ]
    assert section(text, "Errors") == [
        "4 in all; the worst first.",
        "| text | right | answered | off by |",
        "| --- | ---: | ---: | ---: |",
        "| sure \\| of it | ham | spam | 0.85 |",
        "| sure again | ham | spam | 0.55 |",
        "| further | x\\|y | ham | 0.3 |",
        "| nearly | spam | ham | 0.2 |",
    ]


def test_only_the_worst_errors_are_shown(tokenizer: TextTokenizer):
    """In lines that can be read; many classes are not set against one another; without errors nothing is said."""
    names = tuple(f"class {i}" for i in range(MOST_CLASSES + 1))
    kind, sure = kind_of(tokenizer, Description(), names), np.eye(len(names), dtype=np.float32)
    split = Split([f"{i} " + "long " * 100 for i in range(25)], np.zeros(25, dtype=np.int64))
    text = written(kind, split, [(1 + i) * sure[1] for i in range(25)])
    lines = section(text, "Errors")
    assert lines[0] == "25 in all; the worst first." and "## Confusions" not in text
    shown = [line.split(" | ")[0].removeprefix("| ") for line in lines[3:]]
    assert [line.split()[0] for line in shown] == [str(i) for i in range(24, 24 - MOST_ERRORS, -1)]
    assert {(len(line), line[-3:]) for line in shown} == {(LONGEST, "...")}
    assert "## Errors" not in written(kind, split, [sure[0]] * 25)


# the errors of every other kind, by hand


class Case(NamedTuple):
    """Outputs by hand, the errors in the order of the report, and the first of them as its line."""

    description: Description
    labels: tuple[str, ...]
    split: Split
    outputs: Outputs | Callable[[Features], Outputs]
    errors: list[Error]
    line: str


def odds(*shares: Sequence[float]) -> Outputs:
    """Of which sigmoids make these probabilities."""
    return [np.log(np.array(row) / (1 - np.array(row))).astype(np.float32) for row in shares]


def chosen(*rows: Sequence[int], of: int) -> Outputs:
    """[K, of] each: scores that are sure of these tags."""
    return [20 * np.eye(of, dtype=np.float32)[list(row)] for row in rows]


def spans(*places: int) -> Callable[[Features], Outputs]:
    """Scores [K, 2] of each window that are sure of the span of one piece at this place; 0 is the first piece."""

    def made(features: Features) -> Outputs:
        outputs = [np.zeros((len(kept), 2), dtype=np.float32) for kept in features.columns["select"].values]
        for scores, place in zip(outputs, places, strict=True):
            scores[place] = 20
        return outputs

    return made


def beside(*cosines: float) -> Outputs:
    """Two vectors [2, 2] each, with this cosine."""
    return [np.array([[1, 0], [one, np.sqrt(1 - one**2)]], dtype=np.float32) for one in cosines]


def vectors(*firsts: Sequence[float]) -> Outputs:
    """The first text's vector, as given, and that of the second: an axis of its own."""
    axes = np.eye(len(firsts), dtype=np.float32)
    return [np.stack([np.array(first, dtype=np.float32), axis]) for first, axis in zip(firsts, axes, strict=True)]


PAIRS = [("bama", "dene"), ("firi", "goso"), ("kutu", "lama")]
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TAGGED = [of_words(words) for words in (["bama", "dene"], ["lama"], ["firi", "goso", "kutu"])]
ASKED = [
    Question("1", "bama?", "bama dene firi", (("dene", 5),)),
    Question("2", "dene?", "dene firi goso", (("firi goso", 5),)),
    Question("3", "firi?", "firi goso", (("goso", 5),)),
    Question("4", "kutu?", "kutu lama", ()),
]
OF_PAIRS: dict[str, Any] = {"kind": "embedding", "text_columns": ("a", "b")}

CASES = {
    "pair": Case(
        Description(kind="pair", text_columns=("a", "b"), metric="f1", thresholds=(0.25,)),
        ("no", "yes"),
        Split(PAIRS, np.array([1, 0, 0])),
        logs((0.7, 0.3), (0.7, 0.3), (0.1, 0.9)),  # from 0.25 on it is yes
        [Error(PAIRS[2], "no", "yes", 0.8), Error(PAIRS[1], "no", "yes", 0.4)],
        "| kutu // lama | no | yes | 0.8 |",
    ),
    "regression": Case(
        Description(kind="regression", metric="spearman"),
        ("score",),
        Split(["bama", "dene", "firi"], np.array([1.0, 2.0, 3.0])),
        [np.array([value], dtype=np.float32) for value in (1.5, 2.0, 0.0)],
        [Error("firi", 3.0, 0.0, 3.0), Error("bama", 1.0, 1.5, 0.5)],
        "| firi | 3 | 0 | 3 |",
    ),
    "multilabel": Case(
        Description(kind="multilabel", metric="micro_f1", thresholds=(0.3, 0.5)),
        ("x", "y"),
        Split(["bama", "dene", "firi", "goso"], np.array([[1, 0], [0, 0], [1, 0], [1, 1]], dtype=bool)),
        odds((0.35, 0.1), (0.6, 0.1), (0.2, 0.7), (0.4, 0.45)),
        [Error("firi", ["x"], ["y"], 0.8), Error("dene", [], ["x"], 0.6), Error("goso", ["x", "y"], ["x"], 0.55)],
        "| firi | x | y | 0.8 |",
    ),
    "ner": Case(
        Description(kind="ner", text_columns=("tokens",), label_column="ner_tags", metric="f1"),
        TAGS,
        Split(TAGGED, [np.array(row) for row in ([1, 2], [0], [3, 0, 1])]),
        chosen([1, 2], [3], [0, 0, 0], of=len(TAGS)),
        [Error("firi goso kutu", "B-PER O B-LOC", "O O O", 2.0), Error("lama", "O", "B-PER", 1.0)],
        "| firi goso kutu | B-PER O B-LOC | O O O | 2 |",
    ),
    "qa": Case(
        Description(kind="qa", text_columns=("question", "context"), label_column="answers", metric="f1", max_len=32),
        (),
        Split(ASKED, [one.answers for one in ASKED]),
        spans(1, 2, 2, 1),
        [
            Error("bama?", ["dene"], "bama", 1.0),
            Error("kutu?", [], "kutu", 1.0),
            Error("dene?", ["firi goso"], "firi", 1 / 3),
        ],
        "| bama? | dene | bama | 1 |",
    ),
    "embedding": Case(
        Description(**OF_PAIRS, metric="mrr"),
        (),
        Split(PAIRS, np.arange(3)),
        vectors((0.9, 0.1, 0.5), (0.5, 0.1, 0.9), (0.9, 0.1, 0.5)),
        [Error("firi", "goso", "at place 3", 3.0), Error("kutu", "lama", "at place 2", 2.0)],
        "| firi | goso | at place 3 | 3 |",
    ),
    "embedding of scores": Case(
        Description(**OF_PAIRS, label_column="score", metric="spearman"),
        ("0.0", "5.0"),
        Split(PAIRS, np.array([0.0, 0.5, 1.0])),
        beside(0.0, 0.6, 0.2),
        [Error(PAIRS[2], 1.0, 0.2, 0.8), Error(PAIRS[1], 0.5, 0.6, 0.1)],
        "| kutu // lama | 1 | 0.2 | 0.8 |",
    ),
}


def test_every_kind_of_task_is_here():
    assert {case.description.kind for case in CASES.values()} | {"classification"} == set(KINDS)


@pytest.mark.parametrize("name", CASES)
def test_the_worst_errors_come_first_with_their_text(tokenizer: TextTokenizer, name: str):
    """What is right is not among them."""
    case = CASES[name]
    kind = kind_of(tokenizer, case.description, case.labels)
    features = kind.features(case.split, labelled=False)
    outputs = case.outputs(features) if callable(case.outputs) else case.outputs
    found = kind.errors(case.split, features, outputs)
    assert [one.text for one in found] == [one.text for one in case.errors]
    for one, other in zip(found, case.errors, strict=True):
        assert one.wrongness == pytest.approx(other.wrongness, abs=1e-6)
        for mine, expected in ((one.label, other.label), (one.answer, other.answer)):
            assert mine == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected)
    lines = section(written(kind, case.split, outputs), "Errors")
    assert lines[0] == f"{len(case.errors)} in all; the worst first." and lines[3] == case.line
