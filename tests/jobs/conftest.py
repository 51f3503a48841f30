"""Fixtures of the tests of whole jobs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.small import corpus
from slimbert.train.run import RunFolder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared toy data with a validation split; the last row of train is padded."""
    return corpus(tmp_path_factory.mktemp("corpus"))


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
