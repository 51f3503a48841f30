"""The benchmarks of the three fast encoders run at toy size: what they keep, that they resume, what they write.

Nothing is measured.
"""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from transformers import ConvBertModel

from slimbert.hf.peers_convbert import convbert
from slimbert.model import Model
from slimbert.model.presets import from_pattern
from slimbert.parts import absorbed, dynamic
from test_benchmarks import BENCHMARKS, MACHINE

SCRIPTS = ("encoders", "quality")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, keep their records in a temporary folder, and measure no matrix product."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(script("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(script("encoders"), "gemm_tflops", lambda dtype, device: 0.1)


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
    assert len(found["ConvBERT small, memory of training 8x512"]["megabytes"]) == 5
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


@pytest.mark.parametrize("off", [1e-3, float("nan")])
def test_no_time_is_taken_where_the_answers_differ(off: float):
    arms = script("encoder_arms")
    with pytest.raises(arms.Unequal, match="apart"):
        arms.check_equal(toy(), torch.zeros(2), torch.tensor([0.0, off]))


def test_a_failed_comparison_ends_no_other_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its sentence is kept and shown, the next start tries it again, and the exit code says that something failed."""
    run, runs, unequal = script("encoders"), script("encoder_runs"), script("encoder_arms").Unequal
    monkeypatch.setattr(run, "best_dtype", lambda device: "float32")
    some, real = ["ConvBERT medium-small inference"], runs.check_equal

    def differ(scale: Any, theirs: torch.Tensor, own: torch.Tensor) -> float:
        if theirs.shape[1] == 32:
            raise unequal("they lie apart")
        return real(scale, theirs, own)

    monkeypatch.setattr(runs, "check_equal", differ)
    key, other = (f"{some[0]} {shape} float32" for shape in ("8x128", "2x512"))
    with pytest.raises(SystemExit, match="failed: ConvBERT medium-small inference 8x128 float32"):
        run.main(["--rounds", "1", "--name", "zz", "--only", *some], scale=toy())
    assert results(tmp_path)[key] == {"failed": "they lie apart"}
    assert results(tmp_path)[other]["times_as_fast"] > 0
    readme = tmp_path / "records" / "zz" / "README.md"
    assert f"Failed:\n\n- {key}: they lie apart" in readme.read_text()
    assert f"| {key} | times as fast as transformers | at least 1.4 | failed |" in readme.read_text()
    monkeypatch.setattr(runs, "check_equal", real)
    run.main(["--rounds", "1", "--name", "zz", "--only", *some], scale=toy())
    assert results(tmp_path)[key]["times_as_fast"] > 0
    assert "Failed:" not in readme.read_text()


def test_a_record_is_of_one_program(monkeypatch: pytest.MonkeyPatch):
    """Not of encoders whose constants were changed between two of its measurements."""
    run, words = script("encoders"), ["--name", "zz", "--only", "none of them"]
    run.main(words, scale=toy())
    for part, name, said in (
        (dynamic, "BANDED_FROM", f"banded from {dynamic.BANDED_FROM}"),
        (absorbed, "PRICE_WITHOUT_GRADIENTS", f"price without gradients {absorbed.PRICE_WITHOUT_GRADIENTS}"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(part, name, 7)
            with pytest.raises(SystemExit, match=f"begun with {said}"):
                run.main(words, scale=toy())
    run.main(words, scale=toy())


def test_a_head_at_every_position_has_the_same_loss():
    arms = script("encoder_arms")
    scale, batch = toy(), arms.masked(toy(), 3, 20)
    model = arms.ours(scale, scale.encoder("2{sf}"), script("slimbert.model.heads").MaskedLmConfig(), length=20)
    everywhere = arms.everywhere(batch)
    assert everywhere["positions"].shape == (3, 20)
    assert arms.masked_lm_loss(model, everywhere) == pytest.approx(arms.masked_lm_loss(model, batch), abs=1e-5)


def test_memory_is_measured_in_a_process_of_its_own():
    assert script("encoder_memory").apart("BERT", 64, 128, toy(vocab=20000)) > 10


def test_every_arm_of_the_memory_makes_an_update(monkeypatch: pytest.MonkeyPatch):
    """In this process, so the numbers say nothing. Two arms of theirs have logits of the predicted rows alone."""
    memory, seen, linear = script("encoder_memory"), [], nn.functional.linear

    def look(x: torch.Tensor, weight: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(weight) == 300 and x.dim() == 3:
            seen.append(x.shape[1])
        return linear(x, weight, *rest)

    monkeypatch.setattr(nn.functional, "linear", look)
    every = {}
    for arm in memory.THEIRS:
        seen.clear()
        memory.peak(arm, 2, 20, toy())
        every[arm] = 20 in seen
    assert list(every.values()) == [True, False, False]
    assert set(memory.ARMS) == {*memory.THEIRS, "ConvBERT", "BERT"}


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


# the arms of transformers' ConvBERT


@pytest.mark.parametrize("options", [{"convolved": True}, {"chosen": True}, {"convolved": True, "chosen": True}])
def test_a_part_is_taken_away_without_changing_the_loss(options: dict[str, bool], monkeypatch: pytest.MonkeyPatch):
    arms = script("encoder_arms")
    config, batch = arms.convbert_config("medium-small", toy()), arms.masked(toy(), 3, 20)
    wanted = arms.masked_lm_loss(convbert(config), batch)
    if "convolved" in options:
        monkeypatch.setattr(nn.functional, "unfold", lambda *_, **__: pytest.fail("neighbourhoods are laid out"))
    assert arms.masked_lm_loss(convbert(config, **options), batch) == pytest.approx(wanted, abs=1e-5)
