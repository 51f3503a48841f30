"""The benchmarks of the three fast encoders run at toy size: what they keep, that they resume, what they write.

Nothing is measured.
"""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from transformers import ConvBertModel

import benchmark_rows
from jobs.small import WORDS, corpus
from slimbert.data.tokenizer import TextTokenizer
from slimbert.hf.peers import Shape
from slimbert.hf.peers_convbert import convbert
from slimbert.model import Model
from slimbert.model.presets import from_pattern
from slimbert.train.run import RunFolder
from test_benchmarks import BENCHMARKS, MACHINE

SCRIPTS = (
    "encoders",
    "quality",
    "convbert_core",
    "groupbert_core",
    "absorbed",
    "rtd_speed",
    "compile_scope",
    "prepare_memory",
)
RATES = (
    "encoders",
    "quality",
    "groupbert_core",
    "absorbed",
    "compile_scope",
)  # they measure a matrix product themselves


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, keep their records in a temporary folder, and measure no matrix product."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    records = script("records")
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(records, "environment", lambda measure=False: dict(MACHINE))
    for name in RATES:
        monkeypatch.setattr(script(name), "gemm_tflops", lambda dtype, device="cpu": 0.1)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "records" / "zz" / "result.json").read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as ended:
        script(name).main(["--help"])
    assert ended.value.code == 0
    assert "--name" in capsys.readouterr().out


# encoders


def toy(**changed: Any) -> Any:
    sizes = {"layers": 3, "base": 64, "large": (3, 64), "medium": 64, "small": 32, "head_dim": 16, "table": 16}
    sizes |= {"vocab": 300, "rows": 4, "tokens": 4, "step": 64, "graphs": False}
    return script("encoder_arms").Scale(**sizes | changed)


def test_encoders_measures_every_row_of_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """The first start measures a part, and its table says what is not there; the second goes on; the third does no
    more."""
    run, scale = script("encoders"), toy()
    monkeypatch.setattr(script("encoder_runs"), "apart", lambda arm, *_: {"transformers": 4.0}.get(arm, 2.0))
    monkeypatch.setattr(run, "best_dtype", lambda device: "float32")
    words = ["--rounds", "1", "--name", "zz"]
    run.main([*words, "--only", "replaced tokens, small 32x128, eager"], scale=scale)
    readme = tmp_path / "records" / "zz" / "README.md"
    assert set(results(tmp_path)) == {"settings", "replaced tokens, small 32x128, eager"}
    assert "0 reached, 0 short" in readme.read_text()
    assert "- ConvBERT base inference 8x128 float32" in readme.read_text()
    run.main(words, scale=scale)
    found, wanted = results(tmp_path), run.measurements(scale)
    assert set(found) == {"settings", *(key for key in wanted if "bfloat16" not in key)}
    for key, one in wanted.items():
        assert key not in found or {figure.field for figure in one.figures} <= set(found[key])
    assert found["ConvBERT small, memory of training 8x512"]["of_transformers"] == 0.5
    assert 0 < found["ConvBERT base inference 8x128 float32"]["difference"] < 1e-5
    text = readme.read_text()
    assert "measurements in bfloat16 are left out" in text
    assert "| 2{mf}:10{mf} over 2{mf}:10{sf}, training 32x128 | 2{mf}:10{sf} |" in text
    assert "| replaced tokens, small 32x128, eager | narrow_generator |" in text
    key, said = "ConvBERT small, memory of training 8x512", "share of the memory of transformers"
    assert f"| {key} | {said} | at most 0.6 | 0.5 | reached |" in text
    capsys.readouterr()
    monkeypatch.setattr(run, "gemm_tflops", lambda *_: pytest.fail("it measures again"))
    run.main(words, scale=scale)
    assert capsys.readouterr().out == ""


def test_a_measurement_has_the_rate_of_its_own_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And begins without the graphs of those before it: torch keeps eight of a function, then runs it eagerly."""
    run, begun = script("encoders"), []
    monkeypatch.setattr(script("encoder_runs"), "apart", lambda *_: 2.0)
    monkeypatch.setattr(run, "best_dtype", lambda device: "bfloat16")
    monkeypatch.setattr(run, "gemm_tflops", lambda dtype, device: {"float32": 0.1, "bfloat16": 0.2}[dtype])
    monkeypatch.setattr(torch.compiler, "reset", lambda: begun.append(1))
    some = ["ConvBERT small inference 8x128", "memory of training 32x128"]
    run.main(["--rounds", "1", "--name", "zz", "--only", *some], scale=toy())
    rates = {key: one["gemm_tflops"] for key, one in results(tmp_path).items() if key != "settings"}
    assert rates == {f"{some[0]} float32": 0.1, f"{some[0]} bfloat16": 0.2, f"ConvBERT small, {some[1]}": 0.2}
    assert len(begun) == 3


def test_a_compiled_model_of_ours_is_one_graph_or_an_error(monkeypatch: pytest.MonkeyPatch):
    arms, scale, whole = script("encoder_arms"), toy(compile=True), {}

    def compile_(model: nn.Module, *, fullgraph: bool, dynamic: bool) -> nn.Module:
        whole[type(model)] = fullgraph
        return model

    monkeypatch.setattr(torch, "compile", compile_)
    ids, theirs = arms.tokens(scale, 1, 20), ConvBertModel(arms.convbert_config("small", scale)).eval()
    for model in (arms.ours(scale, scale.encoder("1{sf}"), length=20), theirs):
        arms.inference(scale, model, ids, "float32")()
    assert whole == {Model: True, ConvBertModel: False}


def test_ratios_are_those_within_a_round():
    timing = script("timing")
    found = timing.with_medians({"slow": [2.0, 8.0, 3.0], "fast": [1.0, 2.0, 3.0]})
    assert found["slow"]["median"] == 3.0
    assert timing.ratio(found, "slow", "fast") == 2.0


def test_every_goal_of_the_table_of_the_issue_stands_in_the_script():
    """At the real sizes: name of a measurement -> its goals."""
    found = script("encoders").measurements(script("encoder_arms").Scale())
    goals = {key: [f.goal for f in one.figures if f.goal] for key, one in found.items()}
    assert goals["ConvBERT base inference 8x128 float32"] == ["at least 1.2"]
    assert goals["ConvBERT medium-small inference 2x512 float32"] == ["at least 2"]
    assert goals["ConvBERT small training 32x128"] == ["at least 3"]
    assert goals["ConvBERT base over BERT base, inference 2x512 float32"] == ["at most 1"]
    assert goals["GroupBERT base over BERT large, training 8x128"] == ["at most 0.6"]
    assert goals["NarrowBERT 2, sentence inference 2x512 float32"] == ["at least 4.5"]
    assert goals["NarrowBERT 2 training 128"] == ["at least 1.98", "at least 2.43"]
    assert goals["context first 2 training 512"] == ["at least 1.4"]
    assert not any(goals[key] for key in goals if "bfloat16" in key)
    assert sum(map(len, goals.values())) == 20


def test_no_time_is_taken_where_the_answers_differ():
    arms = script("encoder_arms")
    with pytest.raises(AssertionError, match="apart"):
        arms.check_equal(toy(), torch.zeros(2), torch.tensor([0.0, 1e-3]))


def test_a_head_at_every_position_has_the_same_loss():
    arms = script("encoder_arms")
    scale, batch = toy(), arms.masked(toy(), 3, 20)
    model = arms.ours(scale, scale.encoder("2{sf}"), script("slimbert.model.heads").MaskedLmConfig(), length=20)
    everywhere = arms.everywhere(batch)
    assert everywhere["positions"].shape == (3, 20)
    assert arms.masked_lm_loss(model, everywhere) == pytest.approx(arms.masked_lm_loss(model, batch), abs=1e-5)


def test_memory_is_measured_in_a_process_of_its_own():
    assert script("encoder_memory").apart("BERT", 64, 128, toy(vocab=20000)) > 10


def test_a_peak_is_that_of_a_process_alone():
    """Not of the one that started it, as `ru_maxrss` is."""
    held = b"x" * (200 << 20)
    words = [sys.executable, "-c", "from resident import peak_mb; print(peak_mb())"]
    said = subprocess.run(words, cwd=BENCHMARKS, check=True, capture_output=True, text=True).stdout
    assert 1 < float(said) < 100 < script("resident").peak_mb()
    assert held


def test_prepare_memory_asks_the_worker(tmp_path: Path):
    """5 MB are three chunks, which are made by a worker."""
    TextTokenizer.train([" ".join(WORDS)] * 4, 120).save(tmp_path / "tok")
    one = " ".join(WORDS * 50)
    (tmp_path / "text.txt").write_text("\n\n".join([one] * (5_000_000 // len(one))))
    found = script("prepare_memory").measured(tmp_path / "text.txt", tmp_path / "tok", tmp_path / "out")
    assert found["documents"] == 5_000_000 // len(one)
    assert found["worker_mb"] > 10 and found["process_mb"] > 10


def test_multiply_adds_of_the_published_form(monkeypatch: pytest.MonkeyPatch):
    """Section 8 of the spec counts a BERT that computes all rows of its last layer, and narrow layers that absorb
    nothing; ours are cheaper."""
    count = script("multiply_adds").of_masked_lm
    narrow, bert = (from_pattern(text, dim=768) for text in ("2{sf}:10{sf}", "12{sf}"))
    cheaper = count(narrow, length=128, few=19)
    monkeypatch.setattr(script("slimbert.parts.absorbed"), "PRICE", float("inf"))
    own = count(narrow, length=128, few=19)
    assert cheaper < own
    last = 10 * 768 * 768 + 2 * 128 * 768  # of a row: query, scores, reading, output, network
    assert (count(bert, length=128, few=19) + (128 - 19) * last) / own == pytest.approx(2.33, rel=0.02)
    assert count(bert, length=128, few=128) / own == pytest.approx(2.86, rel=0.02)


# quality for time


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
    keep("zz", "settings", {"minutes": 20.0, "shape": "quality"})
    said = " ".join(report.claims("zz", 7.0))
    assert said.count("not measured") == 6  # nothing is
    kept("20 min, BERT 0", [6.6, 6.4, 6.2, 6.1])
    kept("20 min, narrow 2 0", [6.5, 6.3, 6.1, 6.0], pattern="2{sf}:4{sf}")
    kept("20 min, ConvBERT 0", [6.7, 6.3, 6.1, 6.0], pattern="6{mf}")
    kept("20 min, BERT of 3 layers 0", [6.4, 6.2, 6.0, 5.9], pattern="3{sf}")
    kept("20 min, GroupBERT 0", [6.9, 6.8, 6.7, 6.6], pattern="4{cgsg}")
    said = report.claims("zz", 7.0)
    assert said[0].endswith("from 5 minutes on: narrow 2.")
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


# the arms of transformers' ConvBERT


@pytest.mark.parametrize("options", [{"convolved": True}, {"chosen": True}, {"convolved": True, "chosen": True}])
def test_a_part_is_taken_away_without_changing_the_loss(options: dict[str, bool], monkeypatch: pytest.MonkeyPatch):
    arms = script("encoder_arms")
    config, batch = arms.convbert_config("medium-small", toy()), arms.masked(toy(), 3, 20)
    wanted = arms.masked_lm_loss(convbert(config), batch)
    if "convolved" in options:
        monkeypatch.setattr(nn.functional, "unfold", lambda *_, **__: pytest.fail("neighbourhoods are laid out"))
    assert arms.masked_lm_loss(convbert(config, **options), batch) == pytest.approx(wanted, abs=1e-5)


# the single parts


def test_convbert_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, dynamic = script("convbert_core"), script("slimbert.parts.dynamic")
    sizes = {"DIM": 64, "HEADS": 2, "HEAD_DIM": 16, "SHAPES": ((2, 24),), "BLOCKS": (8,), "FEW": (3,)}
    for name, value in sizes.items():
        monkeypatch.setattr(run, name, value)
    own, seen, kept = (dynamic._in_blocks, dynamic.BLOCK), [], run.kept

    def kept_(*sizes: Any) -> Any:
        seen.append((dynamic._in_blocks, dynamic.BLOCK))
        return kept(*sizes)

    monkeypatch.setattr(run, "kept", kept_)
    run.main(["--rounds", "1", "--name", "zz"])
    assert seen == [own]  # rows are kept with the bands that everyone has
    monkeypatch.setattr(torch, "compile", lambda form, **_: form)
    run.main(["--rounds", "1", "--name", "zz", "--compile"])
    found = results(tmp_path)
    assert set(found) == {"float32 2x24", "float32 2x24 compiled", "float32 8x128 kept 3"}
    assert "compiled" in found["float32 2x24 compiled"]["forward"]
    assert set(found["float32 2x24"]["both"]) == {"linear", "shifted", "unfold", "banded_8"}
    assert set(found["float32 8x128 kept 3"]["forward"]) == {"sums", "values", "all_rows"}


def test_groupbert_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = script("groupbert_core")
    for name, value in {"DIM": 64, "HIDDEN": 256, "SHAPES": ((1, 40),), "DENSE": "dense 768 to 768"}.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(run, "best_dtype", lambda device: "float32")
    run.main(["--rounds", "2", "--name", "zz"])
    found = results(tmp_path)
    assert set(found) == {"float32 1x40 forward", "float32 1x40 forward and backward"}
    assert found["float32 1x40 forward"]["over_dense"]["dense 768 to 768"] == 1
    assert "grouped, into slices" not in found["float32 1x40 forward and backward"]["ms"]


def test_absorbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = script("absorbed")
    for name, value in {"TOKENS": 128, "ROWS": (1, 4, 96), "LENGTHS": (32,), "HEADS": (1,)}.items():
        monkeypatch.setattr(run, name, value)
    words = ["--seconds", "0.001", "--dtype", "float32", "--name", "zz"]
    run.main(words)
    with pytest.raises(SystemExit, match="begun with device cpu"):
        run.main([*words, "--device", "cuda"])
    found = results(tmp_path)
    assert {key for key in found if "rows" in key} == {
        f"float32 {mode} heads 1 length 32 rows {rows}" for mode in ("inference", "training") for rows in (1, 4)
    }
    assert all(found["float32 rule"][mode]["price"] > 0 for mode in ("inference", "training"))
    assert found["float32 training heads 1 ten layers"]["one"] > 0
    run.main(words)
    assert {k: v for k, v in results(tmp_path).items() if "rows" in k} == {
        k: v for k, v in found.items() if "rows" in k
    }


def test_rtd_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    run = script("rtd_speed")
    small = Shape(layers=3, dim=32, heads=2, vocab=200, max_len=128)
    monkeypatch.setattr(run, "rounds", partial(run.rounds, shape=small))
    run.main(["--rounds", "1", "--batch", "2", "--name", "zz"])
    run.main(["--rounds", "2", "--batch", "2", "--name", "zz"])
    assert len(results(tmp_path)["seconds_per_update"]) == 2
    assert "narrow_generator" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="begun with"):
        run.main(["--rounds", "2", "--batch", "3", "--name", "zz"])


def test_compile_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Nothing is compiled here: what would be is counted."""
    run, asked = script("compile_scope"), []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append(type(self).__name__))
    monkeypatch.setattr(run, "bert_deep_small", lambda: from_pattern("3{sf}", dim=32, head_dim=16, vocab=200))
    monkeypatch.setattr(run, "SHAPE", Shape(vocab=200))
    run.main(["--rows", "2", "--pairs", "1", "--name", "zz"])
    assert len(asked) == 4  # the whole, and three layers
    assert results(tmp_path)["result"]["whole_times_as_fast"] > 0
    capsys.readouterr()
