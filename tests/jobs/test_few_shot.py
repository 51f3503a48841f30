"""Few rows of each class: which are drawn, and how the encoder that came does beside what was trained on them."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.small import BAD, GOOD, NEITHER
from slimbert.data.tasks import Split, Task, load_task
from slimbert.errors import InputError
from slimbert.jobs import beside
from slimbert.jobs.baselines.classes import GRID
from slimbert.jobs.few_shot import FROZEN, few, frozen
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.jobs.source import open_encoder
from slimbert.model.folder import digest
from slimbert.model.transform import headless

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")


def rows(part: str, counts: Sequence[int]) -> Split:
    """So many rows of each class, each with a text of its own."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split([f"{part} {i}" for i in range(len(labels))], labels)


def of_three(**changes: Any) -> Task:
    train, held, test = rows("train", (30, 12, 8)), rows("held", (9, 3, 9)), rows("test", (4, 0, 7))
    return replace(
        Task("classification", ("a", "b", "c"), ("text",), "label", train, held, test, ("so",), ""), **changes
    )


def test_as_many_rows_of_each_class_are_drawn():
    task = of_three()
    drawn = few(task, 5, seed=0)
    assert np.bincount(drawn.train.labels).tolist() == [5, 5, 5]
    assert np.bincount(drawn.validation.labels).tolist() == [5, 3, 5]  # of the second there are no more
    for part, whole in ((drawn.train, task.train), (drawn.validation, task.validation)):
        known = dict(zip(whole.texts, whole.labels.tolist(), strict=True))
        assert len(set(part.texts)) == len(part)
        assert [known[text] for text in part.texts] == part.labels.tolist()
    assert drawn.test is task.test
    assert drawn.notes[0] == "so" and drawn.notes[1].startswith("few-shot: 5 rows of each class drawn from train")


def test_a_seed_draws_its_own_rows():
    task = of_three()
    first, again, other = (few(task, 5, seed=seed) for seed in (0, 0, 1))
    assert list(first.train.texts) == list(again.train.texts) and first.sha256 == again.sha256
    assert set(first.train.texts) != set(other.train.texts) and first.sha256 != other.sha256
    ever = {text for seed in range(60) for text in few(task, 5, seed=seed).train.texts}
    assert ever == set(task.train.texts)  # a row is left out in 60 draws once in 50,000 times


def test_what_cannot_be_drawn_is_refused():
    task = of_three()
    assert np.bincount(few(task, 8, seed=0).train.labels).tolist() == [8, 8, 8]
    for count, problem in ((9, "9 rows of each class, 'c' has fewer; ask for fewer"), (0, "0 rows of each class")):
        with pytest.raises(InputError, match=problem):
            few(task, count, seed=0)
    with pytest.raises(InputError, match="the task is regression; it draws rows of each class: use it with classes"):
        few(of_three(kind="regression"), 5, seed=0)


def told_apart(count: int, *, seed: int) -> Split:
    """Texts of class 0 hold bad words, those of class 1 good ones."""
    draw, labels = random.Random(seed), np.arange(count) % 2
    texts = [" ".join(draw.choices((BAD, GOOD)[label], k=3) + draw.choices(NEITHER, k=2)) for label in labels]
    return Split(texts, labels)


def test_the_frozen_encoder_knows_what_its_vectors_tell_apart(encoder: Path):
    model, tokenizer, _ = open_encoder(encoder, prefer="pooler")
    train, held, test = told_apart(60, seed=0), told_apart(40, seed=1), told_apart(60, seed=2)
    task = Task("classification", ("bad", "good"), ("text",), "label", train, held, test, (), "")
    found = frozen(model, tokenizer, task, max_len=32, device="cpu")
    assert found.name == FROZEN and found.score["rows"] == 60
    assert found.score["accuracy"] == float(np.mean(found.predictions == test.labels)) > 0.95
    assert found.chosen["validation_accuracy"] > 0.95
    width = model.config.encoder.dim
    assert found.chosen["C"] in [strength / width for strength in GRID]
    chance = replace(task, train=Split(train.texts, np.arange(60) // 2 % 2))  # as many of each class as of the other
    assert frozen(model, tokenizer, chance, max_len=32, device="cpu").score["accuracy"] < 0.8
    alone = frozen(model, tokenizer, replace(task, test=None), max_len=32, device="cpu")
    assert alone.score["accuracy"] == alone.chosen["validation_accuracy"]


def test_the_frozen_encoder_is_the_one_that_came(
    encoder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = []

    def noted(model: Any, *arguments: Any, **options: Any) -> Any:
        weights.append(digest(model.state_dict()))
        return frozen(model, *arguments, **options)

    monkeypatch.setattr(beside, "frozen", noted)
    quick = ("lr=2e-3", "min_updates=3", "epochs=1", "evaluations=1")
    made = finetune(encoder, reviews, out=tmp_path / "run", settings=quick, few_shot=5, device="cpu", quiet=True)
    came, tokenizer, _ = open_encoder(encoder, prefer="pooler")
    tuned = load(tmp_path / "run", device="cpu").model
    assert digest(headless(tuned).state_dict()) != digest(headless(came).state_dict())
    assert weights == [digest(came.state_dict())]
    task = few(load_task(reviews), 5, seed=0)
    assert made.baselines[FROZEN] == frozen(came, tokenizer, task, max_len=64, device="cpu").score
