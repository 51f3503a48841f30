"""Adaptive depth on every kind of task that has it: trained, and the safe answers held against the full depth."""

from pathlib import Path
from typing import Any

import pytest

from jobs.small import encoder_in, labelled
from jobs.test_task_kinds import sentences, write
from jobs.test_token_tasks import questions
from jobs.test_token_tasks import sentences as tagged
from slimbert.data.tasks import load_task
from slimbert.errors import InputError
from slimbert.jobs.depth.curve import depth_curve
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.model import load_model

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True, "with_baselines": False}
STOPS = ("halting.method=dact", "halting.tau=1.0", "halting.ramp=0.2", "lr=2e-3", "min_updates=80", "evaluations=1")
ANSWER = {"ner": "words", "multilabel": "labels", "pair": "label"}
RUNS = [  # each kind on a wide and on a narrow encoder, all families among them
    ("ner", "3{sf}"),
    ("ner", "1{mf}:2{mf}"),
    ("multilabel", "3{mf}"),
    ("multilabel", "1{sf}:2{sf}"),
    ("pair", "2{cgsg}"),
    ("pair", "1{sf},1{s}:1{f}"),
    ("regression", "3{sf}"),
    ("regression", "1{cgsg}:1{cgsg}"),
]


def data_of(kind: str, folder: Path) -> Path:
    if kind == "pair":
        return labelled(folder / "pairs.csv", pairs=True)
    if kind == "ner":  # texts of 3 to 11 words: batches hold places that no word has
        rows = [tagged(40, seed=words, words=words) for words in (3, 5, 7, 10)]
        tokens, tags = ([one for row in rows for one in row[i]] for i in (0, 1))
        return write(folder / "a.parquet", tokens=tokens, ner_tags=tags)
    texts, good, bad = sentences(200)
    if kind == "multilabel":
        return write(
            folder / "a.parquet", text=texts, labels=[["g"] * (g > 0) + ["b"] * (b > 0) for g, b in zip(good, bad)]
        )
    scores = [0.5 + (g - b) / 6 + i / 1e6 for i, (g, b) in enumerate(zip(good, bad))]
    return write(folder / "a.parquet", text=texts, score=scores)


@pytest.fixture(params=RUNS, ids=" ".join)
def run(request: Any, data: Path, tmp_path: Path) -> tuple[str, Path, Path]:
    """(kind of task, the data, a run that may stop early)."""
    kind, pattern = request.param
    rows = data_of(kind, tmp_path)
    encoder = encoder_in(tmp_path / "encoder", data, pattern)
    made = finetune(encoder, rows, out=tmp_path / "run", settings=STOPS, **HERE)
    assert made.kind == kind
    return kind, rows, tmp_path / "run"


def test_safe_answers_are_those_of_the_full_depth(run: tuple[str, Path, Path]):
    kind, data, folder = run
    texts = [getattr(text, "text", text) for text in load_task(data).train.texts]
    full = [one._asdict() for one in load(folder, device="cpu", depth="full").predict(texts)]
    rule = "safe=0.1" if kind == "regression" else "safe"
    told = load(folder, device="cpu", depth=rule).predict_to_depth(texts)
    assert all(one["guaranteed"] for one in told)
    units = load_model(folder).config.encoder.points()
    assert min(one["depth"] for one in told) < units, "nothing stopped early: the test shows nothing"
    if kind == "regression":
        assert max(abs(one["value"] - two["value"]) for one, two in zip(told, full, strict=True)) <= 0.1 + 1e-5
    else:
        assert [one[ANSWER[kind]] for one in told] == [two[ANSWER[kind]] for two in full]
    reached = evaluate(folder, data, device="cpu", depth=rule).reached
    assert reached is not None
    assert 0 < reached.macs_share < 1
    safe, whole = depth_curve(load(folder, device="cpu"), load_task(data).validation, words=(rule, "full")).points[::-1]
    assert (safe.guaranteed, whole.macs_share) == (True, 1.0)
    assert kind == "regression" or safe.score == whole.score


def test_answers_to_questions_have_no_adaptive_form(data: Path, tmp_path: Path):
    rows = write(tmp_path / "qa.parquet", **questions(40))
    with pytest.raises(InputError, match=r"--set halting: a head of kind span.* cannot stop early"):
        finetune(encoder_in(tmp_path / "encoder", data), rows, out=tmp_path / "run", settings=STOPS, **HERE)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
