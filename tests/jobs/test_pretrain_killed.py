"""SIGKILL at any moment, also during a save: what is left resumes to the result of the run that nobody killed."""

import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import yaml

from jobs.small import child, corpus, differences, recipe, steps_saved

KILLS, STEPS = 10, 40


def row_count(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def kill_after(process: ForkServerProcess, run: Path, rows: int, moment: float) -> None:
    """SIGKILL, `moment` seconds after so many new rows; a child that ended before has died of something else."""
    before, until = row_count(run), time.monotonic() + 60
    while row_count(run) < before + rows:
        assert process.is_alive(), f"ended with {process.exitcode} before its kill"
        assert time.monotonic() < until, "no rows for a minute"
        time.sleep(0.005)
    time.sleep(moment)
    process.kill()
    process.join(30)


def test_ten_kills_change_nothing(tmp_path: Path):
    """A checkpoint at every other step, and 12 layers to write, so that about half of the kills hit a save.

    Resuming cuts the rows behind the checkpoint, so progress is counted from what is there when a child begins.
    """
    data, draw = corpus(tmp_path), random.Random(0)
    plain = recipe(layers="12{sf}", steps=STEPS, dropout=0.1, checkpoint_every=2, evaluate_every=7, keep=2)
    options = {"recipe": plain, "data": str(data), "resume": True}
    whole = child("pretrain", **options, out=str(tmp_path / "whole"))
    run = tmp_path / "run"
    for _ in range(KILLS):
        process = child("pretrain", **options, out=str(run))
        wait_for_cut(process, run)
        kill_after(process, run, draw.randint(1, 4), draw.random() * 0.03)
        assert process.exitcode == -signal.SIGKILL
    last = child("pretrain", **options, out=str(run))
    for process in (last, whole):
        process.join(120)
        assert process.exitcode == 0
    assert differences(run, tmp_path / "whole") == []
    assert steps_saved(run) == steps_saved(tmp_path / "whole")
    assert not list((run / "checkpoints").glob(".*"))


def wait_for_cut(process: ForkServerProcess, run: Path) -> None:
    """Until the child has cut the metrics back and written its recipe: rows are new from then on."""
    recipe_file, until = run / "environment.json", time.monotonic() + 60
    before = recipe_file.stat().st_mtime_ns if recipe_file.exists() else 0
    while not recipe_file.exists() or recipe_file.stat().st_mtime_ns == before:
        assert process.is_alive(), f"ended with {process.exitcode} before it began"
        assert time.monotonic() < until, "did not begin for a minute"
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_checkpoints_and_exits_with_130(tmp_path: Path, number: signal.Signals):
    data, run = corpus(tmp_path), tmp_path / "run"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(steps=100_000, checkpoint_every=100_000)))
    command = [sys.executable, "-m", "slimbert", "pretrain", "recipe.yaml", "--data", str(data), "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while row_count(run) < 3 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    assert f"{number.name}: finishing this step" in told
    assert "go on with --resume" in told
    assert "Traceback" not in told
    assert len(steps_saved(run)) == 1
