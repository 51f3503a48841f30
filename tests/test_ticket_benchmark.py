"""The benchmark of tickets runs at toy size: what it keeps, where, and that it resumes. Nothing is measured."""

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

TOY = presets.from_pattern("1{sf}", dim=32, head_dim=16, hidden=64, vocab=60, max_len=32)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script with toy sizes, its record in a temporary folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(importlib.import_module("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(importlib.import_module("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: 0.1)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)
    monkeypatch.setattr("slimbert.jobs.tickets.picture.write_distances", lambda folder, found: None)
    found = importlib.import_module("tickets")
    (tmp_path / "early.yaml").write_text("ticket: {draw: {neurons: {multiple: 8}}}")
    changed: dict[str, Any] = {
        "SIZES": {"toy": lambda: TOY},
        "ROUNDS": 2,
        "EPOCHS": 4,
        "ARMS": {name: found.ARMS[name] for name in ("dense", "ticket", "ticket, continue", "random")},
        "earlybird": lambda stem: tmp_path / "early.yaml",
        "best_dtype": lambda device: "float32",
        "corpus": lambda name: corpora(tmp_path / "corpora") / name,
    }
    for name, value in changed.items():
        monkeypatch.setattr(found, name, value)
    return found


def words_of(tmp_path: Path, *parts: str, rows: int = 64) -> list[str]:
    options = ["--work", str(tmp_path / "work"), "--rows", str(rows), "--seeds", "1", "--name", "zz"]
    return [*parts, *options, "--minutes", "0.03", "--encoder", str(encoder(tmp_path / "encoder"))]


def test_ticket_benchmark_runs_and_resumes(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    words = words_of(tmp_path, "steps", "qnli")
    script.main(words)
    found = json.loads((tmp_path / "records" / "zz" / "result.json").read_text())
    arms = {f"qnli {arm} 0" for arm in script.ARMS}
    assert set(found) == {"settings", "summary", "steps toy float32", *arms}
    step = found["steps toy float32"]
    assert step["multiply_adds"] > 1
    assert step["update"]["times_as_fast"] > 0 and len(step["inference"]["interval"]) == 2
    for arm in ("ticket", "ticket, continue"):
        assert found[f"qnli {arm} 0"]["why"] == "fixed"
        assert found["summary"]["qnli"][arm]["searched"] == pytest.approx(0.5)
    assert found["qnli ticket 0"]["updates"] == found["qnli ticket, continue 0"]["updates"] + 1 == 8
    scores = {arm: found[f"qnli {arm} 0"]["score"] for arm in ("ticket", "dense", "random")}
    for peer in ("dense", "random"):
        over = found["summary"]["qnli"]["ticket"]["over"][peer]
        assert over["mean"] == pytest.approx(scores["ticket"] - scores[peer])
        assert over["deviation"] is None
    assert found["qnli ticket 0"]["update_seconds"] > found["qnli ticket 0"]["search_seconds"]
    assert found["qnli random 0"]["search_updates"] == 0
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: pytest.fail("it measures again"))
    script.main(words)
    assert json.loads((tmp_path / "records" / "zz" / "result.json").read_text()) == found
    with pytest.raises(SystemExit, match="was begun with rows 64: give --name"):
        script.main(words_of(tmp_path, "qnli", rows=32))
    with pytest.raises(SystemExit, match=r"was begun with minutes 0\.03: give --name"):
        script.main([*words, "--minutes", "1"])


@pytest.mark.usefixtures("clock")
def test_ticket_benchmark_runs_its_other_parts(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Answers, tags, and pretraining for a time with what is fine-tuned behind it."""
    (tmp_path / "text").mkdir()
    shards = toy_corpus(tmp_path / "text")
    monkeypatch.setattr(script, "ARMS", {name: script.ARMS[name] for name in ("dense", "ticket", "random")})
    monkeypatch.setattr(script, "OTHERS", {"squad": (6000, 7, 384), "conll2003": (14041, 20, 128)})
    monkeypatch.setattr(script, "wiki", lambda work, articles: shards)
    monkeypatch.setattr(script, "EPOCHS", 2)
    monkeypatch.setattr(script, "ENCODER", {"pattern": "1{sf}", "dim": 32, "head_dim": 16, "max_len": 128})
    real, tuned = script.finetune, []

    def noted(first: Path, task: Any, *, settings: list[str], **options: Any) -> Any:
        rates = [setting for setting in settings if setting.startswith("lr=")]
        tuned.append((Path(first).name, rates, len(task.test)))
        return real(first, task, settings=settings, **options)

    monkeypatch.setattr(script, "finetune", noted)
    script.main(words_of(tmp_path, "others", "pretraining"))
    found = json.loads((tmp_path / "records" / "zz" / "result.json").read_text())
    others = {f"{kind} {arm} 0" for kind in ("squad", "conll2003") for arm in ("dense", "ticket")}
    arms = {f"pretraining {arm}" for arm in ("dense", "ticket", "random")}
    behind = {f"{arm}, {kind}" for arm in arms for kind in ("sst2", "qnli")}
    assert set(found) == {"settings", "summary", *others, *arms, *behind}
    assert all(len(found[arm]["curve"][0]) == 2 for arm in arms)
    assert found["pretraining ticket"]["search_seconds"] > 0.8  # half of the time, as in every trial
    assert tuned[:2] == [("encoder", ["lr=5e-05"], 7)] * 2
    own = [rates for first, rates, _ in tuned if first.startswith("pretrained")]
    assert own == [[]] * 6  # the rate of their width, not that of MiniLM
    folders = {path.name for path in (tmp_path / "work" / "zz").iterdir()}
    assert folders == {f"pretrained {arm}, 0.03 minutes" for arm in ("dense", "ticket", "random")}


def test_ticket_benchmark_knows_its_parts(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        script.main(["step", "--work", str(tmp_path)])
    assert "step: no such part" in capsys.readouterr().err


def test_ticket_benchmark_makes_all_arms_of_a_seed_first(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(script.Bench, "task", lambda self, kind, train, test=0: kind)
    monkeypatch.setattr(script.Bench, "once", lambda self, key, *rest, **options: asked.append(key))
    monkeypatch.setattr(script, "ONCE", ("random",))
    bench = script.Bench("zz", Path("encoder"), Path(), 64, 3, 1.0, "cpu")
    script.qnli(bench)
    assert asked[0] == "qnli dense 0"
    assert [int(key[-1]) for key in asked] == [0] * 4 + [1] * 3 + [2] * 3
    assert set(asked) == set(bench.wanted().keys["qnli"])


def test_ticket_steps_of_another_device_have_a_key_of_their_own(script: ModuleType):
    keys = [script.Bench("zz", None, Path(), 64, 1, 1.0, device).wanted().keys["steps"] for device in ("cpu", "cuda")]
    assert keys == [["steps toy float32"], ["steps toy float32 cuda"]]


@pytest.mark.gpu
def test_ticket_steps_on_a_gpu(script: ModuleType):
    found = importlib.import_module("ticket_steps").step_times(TOY, "float32", rounds=2, device="cuda")
    assert found["update"]["times_as_fast"] > 0 and found["inference"]["times_as_fast"] > 0
