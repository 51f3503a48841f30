"""The benchmark of tickets runs at toy size: what it keeps, and that it resumes. Nothing is measured."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmark_rows import corpora, encoder
from slimbert.data.tasks import load_task
from slimbert.model import presets
from slimbert.train.run import RunFolder
from test_benchmarks import BENCHMARKS, MACHINE


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script with toy sizes, its record in a temporary folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(importlib.import_module("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(importlib.import_module("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: 0.1)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)
    made = importlib.import_module("tickets")
    toy = presets.from_pattern("1{sf}", dim=32, head_dim=16, hidden=64, vocab=60, max_len=32)
    (tmp_path / "early.yaml").write_text("ticket: {detector: {fixed: 1.0, least: 1}}")
    changed: dict[str, Any] = {
        "SIZES": {"toy": lambda: toy},
        "ROUNDS": 2,
        "EPOCHS": 4,
        "ARMS": {name: made.ARMS[name] for name in ("dense", "ticket", "ticket, continue", "random")},
        "earlybird": lambda stem: tmp_path / "early.yaml",
        "best_dtype": lambda device: "float32",
        "corpus": lambda name: corpora(tmp_path / "corpora") / "sst2",
        "load_task": lambda path, kind: load_task(path, kind="sst2"),
    }
    for name, value in changed.items():
        monkeypatch.setattr(made, name, value)
    return made


def test_ticket_benchmark_runs_and_resumes(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["steps", "qnli", "--work", str(tmp_path / "work"), "--rows", "64", "--seeds", "1", "--name", "zz"]
    words += ["--encoder", str(encoder(tmp_path / "encoder"))]
    script.main(words)
    found = json.loads((tmp_path / "records" / "zz" / "result.json").read_text())
    assert set(found) == {"steps toy float32", "qnli summary", *(f"qnli {arm} 0" for arm in script.ARMS)}
    step = found["steps toy float32"]
    assert step["multiply-adds of the layers, dense over ticket"] > 1
    assert step["times as fast, update"] > 0 and len(step["its interval, inference"]) == 2
    for arm in ("ticket", "ticket, continue"):
        assert found[f"qnli {arm} 0"]["why"] == "fixed"
        assert found["qnli summary"][arm]["allowed by r"] < 1
    assert found["qnli random 0"]["search_updates"] == 0
    capsys.readouterr()
    script.main(words)
    assert "qnli dense" not in capsys.readouterr().out


def test_ticket_benchmark_knows_its_parts(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        script.main(["step", "--work", str(tmp_path)])
    assert "step: no such part" in capsys.readouterr().err
