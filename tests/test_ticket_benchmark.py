"""The benchmark of tickets runs at toy size: what it keeps, and that it resumes. Nothing is measured."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmark_rows import corpora, encoder
from jobs.small import corpus as toy_corpus
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
        "corpus": lambda name: corpora(tmp_path / "corpora") / name,
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
        assert found["qnli summary"][arm]["at least 90% of that"] in (True, False)
    told = found["qnli summary"]["ticket"]
    scores = {arm: found[f"qnli {arm} 0"]["score"] for arm in ("ticket", "dense", "random")}
    for peer in ("dense", "random"):
        assert told[f"over {peer}"] == pytest.approx(scores["ticket"] - scores[peer])
        assert told[f"deviation of that over {peer}"] is None
    assert found["qnli ticket 0"]["update_seconds"] > found["qnli ticket 0"]["search_seconds"]
    assert found["qnli random 0"]["search_updates"] == 0
    capsys.readouterr()
    script.main(words)
    assert "qnli dense" not in capsys.readouterr().out


def test_ticket_benchmark_runs_its_other_parts(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Answers, tags, and pretraining for a time with what is fine-tuned behind it."""
    (tmp_path / "text").mkdir()
    shards = toy_corpus(tmp_path / "text")
    monkeypatch.setattr(script, "ARMS", {name: script.ARMS[name] for name in ("dense", "ticket", "random")})
    monkeypatch.setattr(script, "wiki", lambda work, articles: shards)
    monkeypatch.setattr(script, "EPOCHS", 2)
    monkeypatch.setattr(script, "ENCODER", {"pattern": "1{sf}", "dim": 32, "head_dim": 16, "max_len": 128})
    early = "ticket: {detector: {fixed: 0.3, least: 1}, draw: {neurons: {multiple: 8}}}"
    (tmp_path / "early.yaml").write_text(early)
    words = ["others", "pretraining", "--work", str(tmp_path / "work"), "--rows", "64", "--seeds", "1", "--name", "zz"]
    script.main([*words, "--minutes", "0.02", "--encoder", str(encoder(tmp_path / "encoder"))])
    found = json.loads((tmp_path / "records" / "zz" / "result.json").read_text())
    others = {f"{kind} {arm} 0" for kind in ("squad", "conll2003") for arm in ("dense", "ticket")}
    arms = {f"pretraining {arm}" for arm in ("dense", "ticket", "random")}
    assert set(found) == {*others, *arms, *(f"{arm}, {kind}" for arm in arms for kind in ("sst2", "qnli"))}
    assert all(len(found[arm]["curve"][0]) == 2 for arm in arms)


def test_ticket_benchmark_knows_its_parts(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        script.main(["step", "--work", str(tmp_path)])
    assert "step: no such part" in capsys.readouterr().err
