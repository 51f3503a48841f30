"""Quality for time runs at toy size, stage by stage, and its claims follow from the figures. Nothing is measured."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import benchmark_rows
from jobs.small import WORDS, corpus
from slimbert.data.shards import Shards
from slimbert.train.run import RunFolder
from test_benchmarks import BENCHMARKS, MACHINE


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, keep their records in a temporary folder, and measure no matrix product."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(script("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(script("quality"), "gemm_tflops", lambda dtype, device: 0.1)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "records" / "zz" / "result.json").read_text())


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with toy sizes."""
    made, arms, tasks = script("quality"), script("quality_arms"), script("quality_tasks")
    toy = replace(arms.SHAPES["quality"], dim=32, head_dim=16)
    monkeypatch.setitem(arms.SHAPES, "quality", toy)
    for name, value in {"BATCH": 8, "EVALUATE": 2, "CHECKPOINT": 1000}.items():
        monkeypatch.setattr(arms, name, value)
    for name, value in {"WIDTHS": (32,), "RATES": (1e-3,), "SEEDS": 2}.items():
        monkeypatch.setattr(made, name, value)
    monkeypatch.setattr(tasks, "SETTINGS", ("epochs=1", "windows=cut", "min_updates=2", "evaluations=1"))
    monkeypatch.setattr(script("quality_report"), "FROM", 0.0)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)
    return made


def test_quality_for_time_goes_on_stage_by_stage(
    quality: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(benchmark_rows, "MADE", {"sst2": benchmark_rows.MADE["sst2"]})
    monkeypatch.setenv("SLIMBERT_DATA", str(benchmark_rows.corpora(tmp_path / "corpora")))
    words = ["--work", str(tmp_path / "work"), "--data", str(corpus(tmp_path)), "--name", "zz", "--minutes", "0.003"]
    words += ["--long-minutes", "0.012", "--width-minutes", "0.003", "--tune-minutes", "0.003"]
    few = ["--arms", "BERT", "BERT of 3 layers", "narrow 1"]
    quality.main(["screening", *words, *few])
    screened = {f"0.003 min, {arm} 0" for arm in few[1:]}
    assert set(results(tmp_path)) == {"settings", "unigram_entropy", *screened}
    readme = tmp_path / "records" / "zz" / "README.md"
    assert "| context first | `2{sf},4{s}:4{f}` | not measured |" in readme.read_text()
    quality.main(["long", "replaced", "widths", "seeds", *words, *few])
    found = results(tmp_path)
    assert (tmp_path / "work" / "zz" / found["0.003 min, BERT 0"]["folder"]).is_dir()  # of this record alone
    longer = {"0.012 min, BERT 0", "0.012 min, narrow 1 0", "0.003 min, ConvBERT finding replaced tokens 0"}
    wide = {f"width 32, {family}{end}" for family in ("BERT, pre-norm", "GroupBERT") for end in ("", ", rate 0.001")}
    seeds = {f"0.003 min, {arm} 1" for arm in few[1:]}
    assert set(found) == {"settings", "unigram_entropy", *screened, *longer, *wide, *seeds}
    bert, group = (found[f"width 32, {family}"] for family in ("BERT, pre-norm", "GroupBERT"))
    one = 3 * group["multiply_adds"] * 8 / 1e6  # of an update
    assert script("quality_arms").spent(group) == pytest.approx(script("quality_arms").spent(bert), abs=1.01 * one)
    assert {"gemm_tflops", "price", "seconds", "curve"} <= set(bert)
    quality.main(["finetune", *words, "--arms", "narrow 1", "--tasks", "SST-2"])
    tuned = {f"SST-2: {time} min, narrow 1 0" for time in ("0.003", "0.012")}
    assert set(results(tmp_path)) == {*found, *tuned}
    assert (tmp_path / "records" / "zz" / "curve.png").stat().st_size > 10_000
    capsys.readouterr()
    monkeypatch.setattr(quality, "gemm_tflops", lambda *_, **__: pytest.fail("it measures again"))
    quality.main(["screening", "long", "replaced", "widths", "seeds", *words, *few])
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit):
        quality.main(["screening", *words, "--long-minutes", "1"])
    with pytest.raises(SystemExit):
        quality.main(["screening", *words, "--arms", "narrow 3"])
    assert "narrow 3: no such arm" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quality", "small"])
def test_the_controls_cost_what_narrow_encoders_do(name: str):
    made = script("quality_arms")
    shape = made.SHAPES[name]
    found = made.arms(shape)

    def ratio(one: str, other: str) -> float:
        first, second = (found[label].multiply_adds(shape, vocab=300, length=128) for label in (one, other))
        return first / second

    for place, depth in zip(shape.places, shape.fewer, strict=True):
        assert 0.9 < ratio(f"BERT of {depth} layers", f"narrow {place}") < 1.15
    assert 0.9 < ratio("GroupBERT", "BERT") < 1.1


def kept(name: str, losses: list[float], **changed: Any) -> dict[str, Any]:
    """A run that stands in the record: its loss every five minutes."""
    curve = [[300.0 * (place + 1), loss, 1000 * (place + 1)] for place, loss in enumerate(losses)]
    run = {"key": name, "pattern": "6{sf}", "detects": False, "curve": curve, "val_loss": losses[-1], "tokens": 4000}
    run |= {"seconds": 1200.0, "multiply_adds": 400.0, "row": 128, "dim": 192, "lr": 1e-3} | changed
    script("records").keep("zz", name, run)
    return run


def scored(key: str, value: float, *, tasks: tuple[str, ...]) -> None:
    for task in tasks:
        half = 0.02
        one = {"task": task, "score": value, "low": value - half, "high": value + half}
        script("records").keep("zz", f"{task}: {key}", one)


def test_claims_follow_from_the_figures():
    report, keep = script("quality_report"), script("records").keep
    keep("zz", "settings", {"minutes": 20.0, "long": 60.0, "shape": "quality"})
    said = " ".join(report.claims("zz", 7.0))
    assert said.count("not measured") == 6  # nothing is
    kept("20 min, BERT 0", [6.6, 6.4, 6.2, 6.1])
    kept("20 min, narrow 2 0", [6.5, 6.3, 6.1, 6.0], pattern="2{sf}:4{sf}")
    kept("20 min, ConvBERT 0", [6.7, 6.3, 6.1, 6.0], pattern="6{mf}")
    kept("20 min, BERT of 3 layers 0", [6.4, 6.2, 6.0, 5.9], pattern="3{sf}")
    kept("20 min, GroupBERT 0", [6.9, 6.8, 6.7, 6.6], pattern="4{cgsg}")
    said = report.claims("zz", 7.0)
    assert said[0].endswith("from 5 minutes on: narrow 2 to 20 minutes, to 60 not measured.")
    assert said[1] == "Not counted, since their loss is too high: GroupBERT."
    assert "**a BERT with fewer layers is ahead of all.**" in said[2]
    kept("20 min, BERT 1", [6.6, 6.4, 6.2, 6.3])
    assert "BERT 6.200 ± 0.141 (2 seeds, 20 min)" in report.spread("zz")
    tasks = tuple(script("quality_tasks").TASKS)[:-1]
    kept("60 min, BERT 0", [6.0])
    kept("15 min, ConvBERT finding replaced tokens 0", [9.0], detects=True)
    scored("60 min, BERT 0", 0.8, tasks=tasks)
    scored("15 min, ConvBERT finding replaced tokens 0", 0.79, tasks=tasks)
    assert "does **not** hold here; mean of the tasks 79.0 after 15" in report.quarter("zz")
    scored("15 min, ConvBERT finding replaced tokens 0", 0.81, tasks=tasks)
    assert "holds here" in report.quarter("zz")
    scored("20 min, BERT 0", 0.8, tasks=tasks)
    scored("20 min, narrow 2 0", 0.79, tasks=tasks[:-1])
    scored("20 min, narrow 2 0", 0.7, tasks=tasks[-1:])
    assert "not behind on sentences, hurt on CoNLL-2003" in report.narrow("zz")[0]
    for dim in (128, 192, 256):
        kept(f"width {dim}, BERT, pre-norm", [6.2], dim=dim)
        assert "not measured" in report.per_flop("zz")
        kept(f"width {dim}, GroupBERT", [6.1], dim=dim)
    assert "both tuned): holds here" in report.per_flop("zz")
    keep("zz", "unigram_entropy", 7.0)
    report.write("zz")


def test_ahead_means_in_the_long_runs_and_over_the_seeds():
    report = script("quality_report")
    script("records").keep("zz", "settings", {"minutes": 20.0, "long": 60.0, "shape": "quality"})
    kept("20 min, BERT 0", [6.6, 6.4, 6.2, 6.1])
    kept("20 min, BERT of 3 layers 0", [6.5, 6.4, 6.2, 6.05])
    kept("20 min, narrow 2 0", [6.5, 6.3, 6.1, 6.0])
    said = report.ahead("zz", 7.0)
    assert said[0].endswith("from 5 minutes on: narrow 2 to 20 minutes, to 60 not measured.")
    assert said[1].endswith("narrow 2, 6.000.")
    kept("60 min, BERT 0", [6.4, 6.2, 6.0, 5.8])
    kept("60 min, narrow 2 0", [6.3, 6.1, 5.9, 5.9])
    assert report.ahead("zz", 7.0)[0].endswith("on: **short**, narrow 2 to 20 minutes, not to 60.")
    kept("60 min, narrow 2 0", [6.3, 6.1, 5.9, 5.7])
    assert report.ahead("zz", 7.0)[0].endswith("on: narrow 2 to 60 minutes.")
    kept("20 min, BERT 1", [6.6, 6.4, 6.2, 6.1])
    kept("20 min, narrow 2 1", [6.8, 6.6, 6.4, 6.4])
    said = report.ahead("zz", 7.0)
    assert said[0].endswith("on: **short**, none of those that count.")
    assert said[1].endswith("BERT of 3 layers, 6.050: **a BERT with fewer layers is ahead of all.**")
    kept("20 min, BERT of 3 layers 1", [6.5, 6.4, 6.2, 6.11])
    assert "BERT of 3 layers, 6.080, the mean of 2 seeds: **" in report.ahead("zz", 7.0)[1]


def test_other_articles_are_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arms = script("quality_arms")
    (tmp_path / "wiki_en").mkdir()
    texts = [" ".join(WORDS[place % 7 :]) for place in range(60)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "wiki_en" / "train.parquet")
    monkeypatch.setenv("SLIMBERT_DATA", str(tmp_path))
    monkeypatch.setattr(arms, "VOCAB", 80)
    monkeypatch.setattr(arms, "LENGTH", 16)
    few, many, again = (arms.prepared(tmp_path / "work", count) for count in (30, 60, 30))
    assert few == again != many
    assert 0 < len(Shards.open(few)) < len(Shards.open(many))
