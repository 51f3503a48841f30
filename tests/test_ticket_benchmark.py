"""The benchmark of tickets runs at toy size: what it keeps, where, and that it resumes. Nothing is measured."""

import importlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

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
    monkeypatch.setattr("slimbert.jobs.tickets.picture.drawn", lambda found: b"")
    found = importlib.import_module("tickets")
    (tmp_path / "early.yaml").write_text("ticket: {draw: {neurons: {multiple: 8}}}")
    changed: dict[str, Any] = {
        "SIZES": {"toy": lambda: TOY},
        "ROUNDS": 2,
        "TIMED": {"qnli": 3},
        "EPOCHS": 4,
        "ARMS": {name: found.ARMS[name] for name in ("dense", "ticket", "ticket, continue", "random")},
        "earlybird": lambda stem: tmp_path / "early.yaml",
        "best_dtype": lambda device: "float32",
        "corpus": lambda name: corpora(tmp_path / "corpora") / name,
    }
    for name, value in changed.items():
        monkeypatch.setattr(found, name, value)
    return found


def words_of(tmp_path: Path, *parts: str, rows: int = 64, name: str = "zz") -> list[str]:
    options = ["--work", str(tmp_path / "work"), "--rows", str(rows), "--seeds", "1", "--name", name]
    return [*parts, *options, "--minutes", "0.03", "--encoder", str(encoder(tmp_path / "encoder"))]


def results(tmp_path: Path, name: str = "zz") -> dict[str, Any]:
    return json.loads((tmp_path / "records" / name / "result.json").read_text())


def test_ticket_benchmark_runs_and_resumes(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    words = words_of(tmp_path, "steps", "times", "qnli")
    script.main(words)
    found = results(tmp_path)
    arms = {f"qnli {arm} 0" for arm in script.ARMS}
    assert set(found) == {"settings", "summary", "steps toy float32", "times qnli", *arms}
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
    assert not any((tmp_path / "work" / "zz").iterdir())  # all that is wanted of them stands in the record
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: pytest.fail("it measures again"))
    script.main(words)
    assert results(tmp_path) == found
    with pytest.raises(SystemExit, match="was begun with rows 64: give --name"):
        script.main(words_of(tmp_path, "qnli", rows=32))
    with pytest.raises(SystemExit, match=r"was begun with minutes 0\.03: give --name"):
        script.main([*words, "--minutes", "1"])


def test_a_run_that_is_gone_stands_in_the_record_row_by_row(script: ModuleType, tmp_path: Path):
    script.main(words_of(tmp_path, "qnli"))
    unpacked = importlib.import_module("depth_verdicts").unpacked
    found = {arm: results(tmp_path)[f"qnli {arm} 0"] for arm in script.ARMS}
    for one in found.values():
        assert unpacked(one["right"], one["rows"]).mean() == pytest.approx(one["score"])
        assert one["rows"] == 20 and one["code"]
    assert "units" not in found["dense"]
    for arm in ("ticket", "random"):
        units = found[arm]["units"]
        assert {kind: one["of"] for kind, one in units.items()} == {"heads": 2, "neurons": 64}
        kept = {kind: int(unpacked(one["kept"], one["of"]).sum()) for kind, one in units.items()}
        assert kept == {"heads": 1, "neurons": 32}  # of 64 neurons 38 stay, rounded down to a multiple of 8
        assert found[arm]["widths"] == {"layers.0.0.head": [1, 2], "layers.0.1.hidden": [32, 64]}
    assert json.loads(found["ticket"]["distances"])["updates"] == [1]
    assert "distances" not in found["random"]


def test_updates_take_turns_on_the_same_batches(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each arm makes as many updates, of the same texts in the same order; the smaller model has fewer numbers."""
    times, seen = importlib.import_module("ticket_times"), {}

    def watched(arms: dict[str, Callable[[], Any]], *, rounds: int, warm: int) -> dict[str, Any]:
        seen.update({arm: [run() for _ in range(rounds + warm)] for arm, run in arms.items()})
        return {arm: {"median": 1.0, "seconds": [1.0] * rounds} for arm in arms}

    monkeypatch.setattr(times, "side_by_side", watched)
    script.main(words_of(tmp_path, "times"))
    found = results(tmp_path)["times qnli"]
    assert found["rounds"] == 3 and found["between"] > 0
    assert set(seen) == {"dense", "search", "ticket", "strong"} <= set(found)
    tokens = {arm: [step.tokens for step in steps] for arm, steps in seen.items()}
    assert all(some == tokens["dense"] for some in tokens.values()) and len(tokens["dense"]) == 6
    assert all("gates" in step.parts for step in seen["search"])


def stop_at(monkeypatch: pytest.MonkeyPatch, folder: str, step: int) -> list[int]:
    """A run in a folder of this name gets SIGTERM once, behind this update; which updates it made, in all."""
    append, made = RunFolder.append, []

    def watched(self: RunFolder, row: dict[str, Any]) -> None:
        append(self, row)
        if self.path.name == folder and "loss" in row:
            made.append(row["step"])
            if made == [*range(made[0], step + 1)]:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "append", watched)
    return made


@pytest.mark.parametrize("arm", ["dense", "ticket", "ticket, continue"])
def test_an_interrupted_ticket_run_goes_on(
    arm: str, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Stopped by SIGTERM behind update 3, it comes to what it would have come to."""
    torch.manual_seed(0)
    monkeypatch.setattr(script, "ARMS", {arm: script.ARMS[arm]})
    script.main(words_of(tmp_path, "qnli", name="whole"))
    made, key = stop_at(monkeypatch, f"qnli {arm} 0", 3), f"qnli {arm} 0"
    script.main(words_of(tmp_path, "qnli"))
    assert "start the same command again" in capsys.readouterr().err
    assert key not in results(tmp_path)
    assert (tmp_path / "work" / "zz" / key).is_dir()
    script.main(words_of(tmp_path, "qnli"))
    assert made == [*range(made[0], 9)]  # none of them twice
    whole, resumed = (results(tmp_path, name)[key] for name in ("whole", "zz"))
    timeless = {field: value for field, value in whole.items() if "seconds" not in field}
    assert timeless == {field: resumed[field] for field in timeless}


@pytest.mark.parametrize("arm", ["dense", "ticket"])
def test_a_run_that_was_killed_while_it_was_scored_does_not_train_again(
    arm: str, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    runs, key = importlib.import_module("ticket_runs"), f"qnli {arm} 0"
    monkeypatch.setattr(script, "ARMS", {arm: script.ARMS[arm]})
    made, real = [], runs.scored

    def killed(*rest: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "scored", killed)
    with pytest.raises(KeyboardInterrupt):
        script.main(words_of(tmp_path, "qnli"))
    lines = runs.lines_of(tmp_path / "work" / "zz" / key)
    monkeypatch.setattr(runs, "scored", real)
    monkeypatch.setattr(RunFolder, "append", lambda self, row: made.append(row["step"]))
    script.main(words_of(tmp_path, "qnli"))
    assert made == []
    found = results(tmp_path)[key]
    assert found["updates"] == len([line for line in lines if "loss" in line]) == 8
    assert found["rows"] == 20 and ("units" in found) == (arm == "ticket")


@pytest.mark.usefixtures("clock")
def test_ticket_benchmark_runs_its_other_parts(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Answers, tags, and pretraining for a time with what is fine-tuned behind it."""
    (tmp_path / "text").mkdir()
    shards = toy_corpus(tmp_path / "text")
    monkeypatch.setattr(script, "ARMS", {name: script.ARMS[name] for name in ("dense", "ticket", "random")})
    fixed = script.OTHERS["squad"].ticket
    others = {"squad": script.Other(6000, 7, 384, fixed), "conll2003": script.Other(14041, 20, 128)}
    monkeypatch.setattr(script, "OTHERS", others)
    monkeypatch.setattr(script, "wiki", lambda work, articles: shards)
    monkeypatch.setattr(script, "EPOCHS", 2)
    monkeypatch.setattr(script, "ENCODER", {"pattern": "1{sf}", "dim": 32, "head_dim": 16, "max_len": 128})
    runs = importlib.import_module("ticket_runs")
    real, tuned = runs.ours, []

    def noted(first: Path, task: Any, *, settings: list[str], **options: Any) -> Any:
        rates = [setting for setting in settings if setting.startswith("lr=")]
        tuned.append((Path(first).name, rates, sorted({*settings} & {*fixed}), task.test))
        return real(first, task, settings=settings, **options)

    monkeypatch.setattr(runs, "ours", noted)
    words = words_of(tmp_path, "others", "pretraining", "tuned")
    script.main(words)
    found = results(tmp_path)
    keys = {f"{kind} {arm} 0" for kind in ("squad", "conll2003") for arm in ("dense", "ticket")}
    arms = {f"pretraining {arm}" for arm in ("dense", "ticket", "random")}
    behind = {f"{arm}, {kind}" for arm in arms for kind in ("sst2", "qnli")}
    assert set(found) == {"settings", "summary", "unigram_entropy", *keys, *arms, *behind}
    assert all(len(found[arm]["curve"][0]) == 2 for arm in arms)
    assert found["pretraining ticket"]["search_seconds"] > 0.8  # half of the time, as in every trial
    assert tuned[:2] == [("encoder", ["lr=5e-05"], [], None), ("encoder", ["lr=5e-05"], sorted(fixed), None)]
    assert found["squad dense 0"]["rows"] == 7
    numbers_of = importlib.import_module("scored").numbers_of
    shapes = {kind: numbers_of(found[f"{kind} ticket 0"]).shape for kind in ("squad", "conll2003")}
    assert shapes == {"squad": (7, 1), "conll2003": (20, 3)}
    assert numbers_of(found["squad ticket 0"]).mean() == pytest.approx(found["squad ticket 0"]["score"])
    own = [rates for first, rates, *_ in tuned if first.startswith("pretrained")]
    assert own == [[]] * 6  # the rate of their width, not that of MiniLM
    folders = {path.name for path in (tmp_path / "work" / "zz").iterdir()}
    assert folders == {f"pretrained {arm}, 0.03 minutes" for arm in ("dense", "ticket", "random")}
    again_without(tmp_path, "pretraining dense, sst2")
    shutil.rmtree(tmp_path / "work" / "zz" / "pretrained dense, 0.03 minutes")
    script.main(words)
    assert results(tmp_path)["pretraining dense, sst2"]["rows"] == 20


def again_without(tmp_path: Path, key: str) -> None:
    """The record lacks one measurement."""
    file = tmp_path / "records" / "zz" / "result.json"
    left = json.loads(file.read_text())
    del left[key]
    file.write_text(json.dumps(left))


def test_ticket_benchmark_knows_its_parts(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        script.main(["step", "--work", str(tmp_path)])
    assert "step: no such part" in capsys.readouterr().err


def test_ticket_runs_of_a_record_that_is_gone(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "work" / "zz").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        script.main(words_of(tmp_path, "qnli"))
    assert ended.value.code == 2
    assert "runs of a record that is not there" in capsys.readouterr().err


def test_what_every_seed_needs_is_made_first(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    """Dense before all else of its seed."""
    monkeypatch.setattr(script, "ARMS", dict.fromkeys(("dense", "short", "ticket", "magnitude")))
    monkeypatch.setattr(script, "CORE", ("ticket", "dense"))
    bench = script.Bench("zz", Path("encoder"), Path(), 64, 2, 1.0, "cpu")
    core = [(arm, seed) for seed in (0, 1) for arm in ("dense", "ticket")]
    assert bench.plan() == [*core, ("short", 0), ("magnitude", 0), ("short", 1)]
    asked: list[str] = []
    monkeypatch.setattr(script.Bench, "task", lambda self, kind, train, test=0: kind)
    monkeypatch.setattr(script.Bench, "once", lambda self, key, *rest, **options: asked.append(key))
    script.qnli(bench)
    assert asked == bench.wanted().keys["qnli"]


def test_ticket_steps_of_another_device_have_a_key_of_their_own(script: ModuleType):
    keys = [script.Bench("zz", None, Path(), 64, 1, 1.0, device).wanted().keys["steps"] for device in ("cpu", "cuda")]
    assert keys == [["steps toy float32"], ["steps toy float32 cuda"]]


def test_the_update_that_is_timed_trains_the_tokens_that_occur(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    steps = importlib.import_module("ticket_steps")
    few = presets.from_pattern("1{sf}", dim=32, head_dim=16, hidden=64, vocab=3000, max_len=32)
    occurring = torch.cat([batch["input_ids"].flatten() for batch in steps.fixed(few, "cpu")]).unique()
    seen: list[Any] = []
    monkeypatch.setattr(steps, "train", lambda objective, *rest, **options: seen.append(objective.model) or iter([0]))
    steps.update(few, None, "cpu", gated=False)()
    assert seen[0].config.encoder.embedding.vocab == len(occurring) < 3000


@pytest.mark.gpu
def test_ticket_steps_on_a_gpu(script: ModuleType):
    found = importlib.import_module("ticket_steps").step_times(TOY, "float32", rounds=2, device="cuda")
    assert found["update"]["times_as_fast"] > 0 and found["inference"]["times_as_fast"] > 0
