"""The pilot before the records of tickets and of adaptive depth, at toy size: validation alone, and what it says."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmark_rows import corpora, encoder
from slimbert.train.run import RunFolder
from test_benchmarks import BENCHMARKS, MACHINE


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("SLIMBERT_DATA", str(corpora(tmp_path / "corpora")))
    monkeypatch.setattr(importlib.import_module("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(importlib.import_module("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: 0.1)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)
    monkeypatch.setattr("slimbert.jobs.tickets.picture.drawn", lambda found: b"")
    early = tmp_path / "early.yaml"
    early.write_text("ticket: {draw: {neurons: {multiple: 8}}}")
    made = importlib.import_module("pilot")
    monkeypatch.setattr(importlib.import_module("depth_arms"), "earlybird", lambda stem: early)
    changed = {"earlybird": lambda stem: early, "TRIED_TAUS": (0.001, 0.05), "PLACES": {1: "0.9"}, "EPOCHS": 3}
    for name, value in changed.items():
        monkeypatch.setattr(made, name, value)
    return made


def test_pilot_runs_and_resumes(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    words = ["--work", str(tmp_path / "work"), "--rows", "60", "--name", "zz"]
    words += ["--encoder", str(encoder(tmp_path / "encoder", layers=3))]
    real, tested = script.ours, []

    def noted(first: Path, task: Any, **options: Any) -> Any:
        tested.append(task.test)
        return real(first, task, **options)

    monkeypatch.setattr(script, "ours", noted)
    script.main(words)
    record = tmp_path / "records" / "zz"
    found = json.loads((record / "result.json").read_text())
    rates = {f"rate {rate} {arm} 0" for rate in ("5e-05", "0.0001") for arm in ("dense", "ticket", "random")}
    taus = {f"tau {tau} rate 5e-05 0" for tau in ("0.001", "0.05")}
    assert set(found) == {"settings", *rates, *taus, "narrow 1 budget 0.9 rate 5e-05 0"}
    assert tested == [None] * 9  # no row of a test is looked at
    assert len(found["tau 0.05 rate 5e-05 0"]["depths"]) == 8
    assert found["narrow 1 budget 0.9 rate 5e-05 0"]["times_fewer"] > 1
    text = (record / "README.md").read_text()
    assert "is the better rate" in text and "times fewer multiply-adds than dense" in text
    assert "| tau 0.05 rate 5e-05 0, safe |" in text
    monkeypatch.setattr(script, "ours", lambda *rest, **options: pytest.fail("it trains again"))
    script.main(words)
    assert json.loads((record / "result.json").read_text()) == found


def test_the_better_rate_is_that_of_all_arms_together(script: ModuleType):
    keep = importlib.import_module("records").keep
    scores = {"5e-05": (0.80, 0.70, 0.60), "0.0001": (0.79, 0.72, 0.63)}
    for rate, some in scores.items():
        for arm, score in zip(script.COMPARED, some, strict=True):
            assert "better rate" not in script.text("zz")
            keep("zz", f"rate {rate} {arm} 0", {"validation": score, "code": "abc"})
    assert "5e-05 70.00, 0.0001 71.33: 0.0001 is the better rate" in script.text("zz")
