"""The run folder: no row is lost, a torn one is dropped, and every other file is there whole or not at all."""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from slimbert import atomic
from slimbert.errors import InputError
from slimbert.train.curve import smoothed
from slimbert.train.run import RunFolder


def row(step: int, **more: float) -> dict[str, float]:
    return {"step": step, "loss": 10 / (step + 3), "tokens": 8192 * step, "seconds": step / 7, **more}


def test_rows_come_back_with_full_precision_as_soon_as_appended(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "a" / "run") as run:
        for step in range(1, 4):
            run.append(row(step))
            last = run.metrics.read_bytes().splitlines()[-1]  # no close, no flush: it is there
            assert json.loads(last) == row(step)
        run.sync()
        assert list(run.rows()) == [row(1), row(2), row(3)]


def test_numbers_that_json_has_not_become_null_and_a_row_needs_its_step(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.append({"step": 1, "loss": math.nan, "norm": math.inf})
    assert run.metrics.read_text() == '{"step": 1, "loss": null, "norm": null}\n'
    for bad in ({}, {"step": 1.0}, {"step": True}):
        with pytest.raises(ValueError, match="integer 'step'"):
            run.append(bad)
    run.close()


def test_cut_keeps_up_to_the_step_and_drops_a_torn_last_line(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        for step in range(1, 6):
            run.append(row(step))
        run.append({"step": 3, "val_loss": 2.5})
        kept = b"".join(run.metrics.read_bytes().splitlines(keepends=True)[:3])
        with run.metrics.open("ab") as file:
            file.write(b'{"step": 6, "lo')
        assert run.cut(3) == 3
        assert run.metrics.read_bytes() == kept + b'{"step": 3, "val_loss": 2.5}\n'
        assert run.cut(3) == 0
        run.append(row(4))
        assert [found["step"] for found in run.rows()] == [1, 2, 3, 3, 4]
        assert run.cut(0) == 5
        assert not list(run.rows())


def test_cut_without_metrics_does_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.cut(10) == 0
    assert not run.metrics.exists()


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(max_size=60), step=st.integers(0, 4))
def test_whatever_a_crash_left_behind_cut_leaves_readable_rows(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, step: int
) -> None:
    run = RunFolder(tmp_path_factory.mktemp("run"))
    good = [row(n) for n in range(4)]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in good)
    run.metrics.write_bytes(lines + tail)
    run.cut(step)
    found = [json.loads(line) for line in run.metrics.read_bytes().splitlines()]
    expected = [each for each in good if each["step"] <= step]
    assert found[: len(expected)] == expected
    assert all(each["step"] <= step for each in found)


def test_a_row_after_a_torn_one_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics.write_bytes(b'{"step": 1}\n{"step": 2, "l')
    run.append({"step": 2})
    run.close()
    assert run.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_recipe_and_json_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    recipe = {"train": {"steps": 5, "lr": 1e-3}, "model": {"preset": "bert_tiny"}, "note": "naïve"}
    run.write_recipe(recipe)
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text()) == recipe
    assert (tmp_path / "recipe.yaml").read_text().startswith("train:")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(InputError, match=r"recipe.yaml: not enough disk: 9 bytes are needed"):
            run.write_recipe({"other": 1})
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text()) == recipe
    run.write_json("scores.json", {"accuracy": 0.5})
    assert json.loads((tmp_path / "scores.json").read_text()) == {"accuracy": 0.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml", "scores.json"]


def test_a_file_in_the_place_of_the_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be made a run folder"):
        RunFolder(tmp_path / "run")


def test_the_curve_is_drawn_from_what_is_there(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.plot() is None
    for step in range(1, 120):
        run.append(row(step))
        if step % 40 == 0:
            run.append({"step": step, "val_loss": 1.0, "seconds": step / 7})
    with run.metrics.open("ab") as file:
        file.write(b'{"torn')
    run.close()
    path = run.plot()
    assert path == tmp_path / "loss.png"
    assert imread(path).shape == (675, 1200, 4)


@pytest.mark.parametrize(
    "only",
    [{"step": 1, "loss": 2.0}, {"step": 5, "val_loss": 2.0, "seconds": 0.0}, {"step": 0, "loss": 2, "seconds": 1e7}],
    ids=["no seconds", "validation only", "step 0, months"],
)
def test_one_row_is_enough_for_a_curve(tmp_path: Path, only: dict[str, float]) -> None:
    with RunFolder(tmp_path) as run:
        run.append(only)
        assert run.plot()


def test_smoothing_keeps_a_constant_and_a_line_and_quietens_noise() -> None:
    assert np.allclose(smoothed(np.full(50, 3.0)), 3.0)
    line = np.arange(500.0)
    assert np.allclose(smoothed(line)[1:-5], line[1:-5])  # it does not lag
    noise = np.random.default_rng(0).normal(size=2000)
    assert smoothed(noise)[200:].std() < 0.3 * noise.std()
