"""The script of adaptive depth at toy size: what it keeps, that it resumes, between arms and within one."""

import importlib
import json
import os
import shutil
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmark_rows import corpora, encoder
from slimbert.train.run import RunFolder
from test_benchmarks import BENCHMARKS, MACHINE


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script with toy sizes, its record in a temporary folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("SLIMBERT_DATA", str(corpora(tmp_path / "corpora")))
    monkeypatch.setattr(importlib.import_module("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(importlib.import_module("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: 0.1)
    monkeypatch.setattr(importlib.import_module("depth_points"), "TURNS", 2)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)
    arms, made = importlib.import_module("depth_arms"), importlib.import_module("depth")
    early = tmp_path / "early.yaml"
    early.write_text("ticket: {detector: {fixed: 1.0, least: 1}, draw: {neurons: {multiple: 8}}}")
    few = ("full", "safe", "kappa=0.03")
    dact = made.ARMS["DACT"]._replace(settings=arms.dact(0.5), words=few)
    changed = {
        "ARMS": {
            "dense": made.Arm(),
            "entropy": made.ARMS["entropy"]._replace(words=("full", "entropy=0.6", "entropy=0.7")),
            "DACT": dact,
            "truncated 2": made.Arm(layers=2),
            "patience": made.ARMS["patience"]._replace(words=("full", "patience=1")),
            **{f"{name}, cls": arms.cls(arm) for name, arm in {"dense": made.Arm(), "DACT": dact}.items()},
        },
        "COMBINATION": {
            "narrow": made.COMBINATION["narrow"],
            made.COMBINED: made.COMBINATION[made.COMBINED]._replace(words=few, ticket=("ticket.draw.keep=1",)),
        },
        "OTHERS": {"conll2003": (60, 20, 32), "imdb": (60, 20, 32)},
        "CHARTED": {32: 20, 1: 4},
        "NARROW_AT": 1,
        "VALIDATION": 6,
        "LENGTH": 32,
        "BATCH": 8,
        "earlybird": lambda stem: early,
    }
    for name, value in changed.items():
        monkeypatch.setattr(made, name, value)
    monkeypatch.setattr(arms, "earlybird", lambda stem: early)
    return made


def words_of(tmp_path: Path, *, epochs: int = 2, name: str = "zz") -> list[str]:
    options = ["--work", str(tmp_path / "work"), "--rows", "60", "--seeds", "1", "--epochs", str(epochs)]
    return [*options, "--name", name, "--encoder", str(encoder(tmp_path / "encoder", layers=3))]


def results(tmp_path: Path, name: str = "zz") -> dict[str, Any]:
    return json.loads((tmp_path / "records" / name / "result.json").read_text())


def test_depth_benchmark_runs_and_resumes(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    words, record = words_of(tmp_path), tmp_path / "records" / "zz"
    script.main(["qnli", "--only", "qnli dense 0", *words])
    assert set(results(tmp_path)) == {"settings", "qnli dense 0", "summary"}
    script.main(words)
    found = results(tmp_path)
    ground = {f"qnli {arm} 0" for arm in (*script.ARMS, *script.COMBINATION)}
    rest = {f"{kind} {arm} 0" for kind in script.OTHERS for arm in ("dense", "DACT")}
    clocks = {f"clock {one}" for one in ("qnli", "imdb", "chart")}
    assert set(found) == {"settings", "summary", "counted", *ground, *rest, *clocks}
    for key in ground:
        points = found[key]["points"]
        assert points[0]["depth"] == "full" and all(len(point["right"]) == 6 for point in points), key
        assert not any("ms" in field for point in points for field in point)  # times are those of the clock alone
    dense, shallow, first = (
        found[f"qnli {arm} 0"]["points"][0]["macs_per_text"] for arm in ("dense", "truncated 2", "dense, cls")
    )
    assert 0.6 < shallow / dense < 0.7
    assert 0.66 < first / dense < 0.9  # of the last layer of three all keys and values, and one row
    full = found["qnli DACT 0"]["points"][0]
    assert full["macs_per_text"] == pytest.approx(dense, rel=0.1)
    assert "over_full" in found["conll2003 DACT 0"]["points"][1]
    safe = [found[key]["points"][1] for key in found if "DACT 0" in key or "DACT, cls" in key]
    assert len(safe) == 5 and all(point["guaranteed"] and point["otherwise"] == 0 for point in safe)
    assert all(sum(point["depths"]) == 20 for point in safe)
    assert [one["depth"] for one in found["qnli DACT 0"]["validation"]] == ["full", "safe", "kappa=0.03"]
    timed = {f"{arm}, {word}" for arm in ("DACT", script.COMBINED) for word in ("full", "safe", "kappa=0.03")}
    assert timed | {"dense, full", "truncated 2, full", "patience, patience=1"} <= set(found["clock chart"]["32"])
    assert len(found["clock chart"]["1"]["dense, full"]) == 2
    whole = found["counted"]["dense"][-1]
    assert found["counted"]["narrow + ticket"][-1] < found["counted"]["narrow"][-1] < whole
    run = tmp_path / "work" / "zz" / "qnli dense 0"
    assert json.loads((run / "result.json").read_text())["test"] is None  # scored behind it, once
    assert not (run / "checkpoints").exists()
    text = (record / "README.md").read_text()
    for words_of_it in (
        "encoders of 2 and all layers",
        "may also read the first token alone",
        "with 50%",
        "time on qnli",
        "narrow + ticket + DACT, at the depth",
        "in turn with dense",
        "the law holds",
        "SQuAD has",
        "all stop at unit 1",
    ):
        assert words_of_it.lower() in text.lower(), words_of_it
    for picture in ("curve.png", "combined.png"):
        assert (record / picture).stat().st_size > 10_000
    monkeypatch.setattr(importlib.import_module("arms"), "gemm_tflops", lambda dtype: pytest.fail("it measures again"))
    script.main(words)
    assert results(tmp_path) == found


def test_depth_goes_on_where_its_work_folder_is_gone(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """What another arm or the clock needs is trained again, before anything is timed, and measured only once."""
    words = words_of(tmp_path, epochs=1)
    script.main(["qnli", "--only", "qnli dense 0", "qnli DACT 0", *words])
    before = results(tmp_path)
    shutil.rmtree(tmp_path / "work" / "zz")
    script.main(["qnli", "--only", "entropy", *words])
    assert "qnli dense 0: no finished run in the work folder, it is trained now" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "work" / "zz")
    real, at_the_clock = script.promises, []

    def promises(run: Path, *rest: Any) -> dict[str, Any]:
        at_the_clock.extend(path.name for path in run.parent.iterdir())
        return real(run, *rest)

    monkeypatch.setattr(script, "promises", promises)
    script.main(["clock", *words])
    found = results(tmp_path)
    assert at_the_clock == ["qnli DACT 0"]
    assert set(found) == {*before, "qnli entropy 0", "clock qnli"}
    assert found["qnli dense 0"] == before["qnli dense 0"]


@pytest.mark.parametrize("arm", ["DACT", "narrow + ticket + DACT"])
def test_an_interrupted_depth_run_goes_on(
    arm: str, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Stopped by SIGTERM behind update 5, it comes to what it would have come to."""
    part, key = ("combined" if "narrow" in arm else "qnli"), f"qnli {arm} 0"
    script.main([part, "--only", key, *words_of(tmp_path, name="whole")])
    append, made = RunFolder.append, []

    def watched(self: RunFolder, row: dict[str, Any]) -> None:
        append(self, row)
        if self.path.name == key and "loss" in row:
            made.append(row["step"])
            if made == [1, 2, 3, 4, 5]:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "append", watched)
    script.main([part, "--only", key, *words_of(tmp_path)])
    assert "start the same command again" in capsys.readouterr().err
    assert key not in results(tmp_path)
    script.main([part, "--only", key, *words_of(tmp_path)])
    whole, resumed = (results(tmp_path, name)[key] for name in ("whole", "zz"))
    assert made == [*range(1, whole["updates"] + 1)]  # none of them twice
    assert resumed["points"] == whole["points"] and resumed["validation"] == whole["validation"]


def test_depth_benchmark_knows_its_parts(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        script.main(["curves", "--work", str(tmp_path)])
    assert "curves: no such part" in capsys.readouterr().err


def test_runs_of_a_trial_do_not_leak_into_a_record(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    """Another encoder is another record, and what a record that is gone left behind is not taken for new."""
    words = ["qnli", "--only", "nothing", "--work", str(tmp_path / "work"), "--rows", "60", "--name", "zz", "--encoder"]
    script.main([*words, str(encoder(tmp_path / "a"))])
    with pytest.raises(SystemExit, match=r"zz was begun with encoder a \w{8}: give --name"):
        script.main([*words, str(encoder(tmp_path / "b", layers=2))])
    folder = script.Bench("zz", tmp_path / "b", tmp_path / "work" / "zz", 60, 1, 1, ("",)).first(script.Arm(layers=1))
    assert folder == tmp_path / "work" / "zz" / "encoder 1"
    for file in (tmp_path / "records" / "zz").iterdir():
        file.unlink()
    with pytest.raises(SystemExit) as ended:
        script.main([*words, str(tmp_path / "b")])
    assert ended.value.code == 2
    assert "runs of a record that is not there" in capsys.readouterr().err


def test_all_arms_of_a_seed_come_before_the_next(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []
    monkeypatch.setattr(script, "measured", lambda name, key, run: made.append(key))
    arms = {"dense": script.Arm(), "deep": script.Arm(after="dense"), "tau": script.Arm(once=True)}
    bench: Any = script.Bench("zz", Path(), Path(), 60, 2, 1, ("",))
    bench.arms("qnli", arms, seeds=2)
    assert made == ["qnli dense 0", "qnli deep 0", "qnli tau 0", "qnli dense 1", "qnli deep 1"]
