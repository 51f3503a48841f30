"""Fixtures of the tests of whole jobs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.small import corpus, encoder_in, labelled
from slimbert.train.run import RunFolder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared toy data with a validation split; the last row of train is padded."""
    return corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh encoder of two layers with the tokenizer of the toy data; nothing writes into it."""
    return encoder_in(tmp_path_factory.mktemp("encoder"), data)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled toy rows in a CSV; nothing writes into it."""
    return labelled(tmp_path_factory.mktemp("reviews") / "reviews.csv")


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave loss.png out: drawing takes longer than a toy run."""
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)


@pytest.fixture(scope="session")
def in_float32() -> Iterator[None]:
    """Toy encoders are to learn alike on every machine: also where `auto` would take bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimbert.train.engine.best_dtype", lambda device: "float32")
        yield
