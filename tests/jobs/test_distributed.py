"""Several processes are one run: the same losses, the same weights, one folder."""

from pathlib import Path

import pytest

from jobs.small import corpus, losses, recipe, replaced, rows, steps_saved, together
from slimbert.data.shards import Shards
from slimbert.jobs.pretrain import pretrain
from slimbert.train.run import RunFolder


@pytest.fixture(autouse=True)
def quick(no_picture: None) -> None:
    """No picture in this process; the children draw theirs."""


CHANGES = {
    "plain": {},
    "narrow": {"layers": "1{sf}:1{sf}", "accumulate": 2},
    "replaced": {"objective": replaced(), "accumulate": 2},
    "replaced, narrow": {"objective": replaced(generator={"narrow": 1})},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_two_processes_give_the_losses_of_one(tmp_path: Path, change: dict):
    """Float32 sums in another order: relative 1e-5. The data ends in a short, padded row, drawn in every epoch."""
    data = corpus(tmp_path, documents=10, validation=0.2)
    shards = Shards.open(data)
    assert (shards.rows([len(shards) - 1]) == 0).any()
    plain = recipe(steps=10, evaluate_every=5, checkpoint_every=4, **change)
    assert together(2, recipe=plain, data=str(data), out=str(tmp_path / "two")) == [0, 0]
    pretrain(plain, data=data, out=tmp_path / "one", device="cpu", quiet=True)
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [(row["step"], row["tokens"]) for row in two] == [(row["step"], row["tokens"]) for row in one]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    validation = [[row["val_loss"] for row in read if "val_loss" in row] for read in (one, two)]
    assert validation[1] == pytest.approx(validation[0], rel=1e-5)


def test_two_processes_resume_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Begun in one process and stopped, finished in two."""
    data = corpus(tmp_path, documents=10)
    plain = recipe(steps=8, checkpoint_every=3)
    pretrain(plain, data=data, out=tmp_path / "whole", device="cpu", quiet=True)
    real = RunFolder.append

    def append(self: RunFolder, row: dict) -> None:
        real(self, row)
        if row["step"] == 4:
            raise OSError("as if killed")

    monkeypatch.setattr(RunFolder, "append", append)
    with pytest.raises(OSError, match="as if killed"):
        pretrain(plain, data=data, out=tmp_path / "run", device="cpu", quiet=True)
    assert steps_saved(tmp_path / "run") == [3]
    assert together(2, recipe=plain, data=str(data), out=str(tmp_path / "run"), resume=True) == [0, 0]
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_rows_that_do_not_split_are_told(tmp_path: Path):
    data = corpus(tmp_path, documents=10)
    assert together(2, recipe=recipe(batch_size=3), data=str(data), out=str(tmp_path / "run")) == [2, 2]
