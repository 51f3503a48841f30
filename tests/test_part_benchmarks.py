"""The benchmarks of single parts and of memory run at toy size. Nothing is measured."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from jobs.small import WORDS
from slimbert.data.tokenizer import TextTokenizer
from slimbert.hf.peers import Shape
from slimbert.model.presets import from_pattern
from test_benchmarks import BENCHMARKS, MACHINE

SCRIPTS = ("attention_dropout", "convbert_core", "groupbert_core", "absorbed", "compile_scope", "prepare_memory")
RATES = SCRIPTS[:-1]  # they measure a matrix product themselves


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, keep their records in a temporary folder, and measure no matrix product."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(script("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: dict(MACHINE))
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


def test_convbert_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, dynamic = script("convbert_core"), script("slimbert.parts.dynamic")
    sizes = {"DIM": 64, "HEADS": 2, "HEAD_DIM": 16, "SHAPES": ((2, 24),), "BLOCKS": (8,), "FEW": (3,)}
    sizes |= {"WITH_GOAL": sizes["SHAPES"], "form_of": lambda *_: "banded_8"}
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
    one, mb = found["float32 2x24"], 2 * 24 * 2 * 4 / 2**20  # of a float32 for each head of each token
    assert one["gemm_tflops"] == 0.1
    assert one["banded_8, both, over linear"] == pytest.approx(
        one["both"]["banded_8"] / one["both"]["linear"], abs=1e-4
    )
    counted = {"linear": 32 * mb, "shifted": (16 + 9) * mb, "banded_8": (16 + 9) * mb}  # x; u and w
    assert {name: one["kept_mb"][name] for name in counted} == pytest.approx(counted, abs=1e-5)
    assert one["kept_mb"]["unfold"] > 9 * 16 * mb  # every neighbourhood
    text = (tmp_path / "records" / "zz" / "README.md").read_text()
    assert "| float32 2x24 | banded_8, with the backward pass: times as long as linear | at most 0.25 |" in text
    assert re.search(r"banded_8: times the memory of the unfold \| at most 0.25 \| 0\.1\d+ \| reached \|", text)
    assert "| float32 2x24 compiled | compiled |" in text
    assert "| float32 8x128 kept 3 | sums, forward: times as long as values |" in text


def test_the_goal_is_that_of_the_form_which_the_code_chooses(monkeypatch: pytest.MonkeyPatch):
    form_of, dynamic = script("convbert_core").form_of, script("slimbert.parts.dynamic")
    monkeypatch.setattr(dynamic, "BANDED_FROM", 100)
    monkeypatch.setattr(dynamic, "BLOCK", 16)
    assert [form_of(64, "float32"), form_of(128, "float32"), form_of(64, "bfloat16")] == ["shifted", *["banded_16"] * 2]


def test_no_gradient_is_added_to_another(monkeypatch: pytest.MonkeyPatch):
    """All gradients of what is compared are new ones in every round, those of the linear map as those of the forms."""
    run, seen = script("convbert_core"), []
    for name, value in {"DIM": 32, "HEADS": 1, "HEAD_DIM": 8}.items():
        monkeypatch.setattr(run, name, value)
    arms = run.core(1, 12, torch.float32, compiled=False)

    def looked(name: str) -> Any:
        def once() -> torch.Tensor:
            seen.append([leaf.grad for leaf in arms.leaves])
            return arms.runs[name]()

        return once

    with run.own_blocks():
        run.timed(arms._replace(runs={name: looked(name) for name in arms.runs}), 1, backward=True)
    assert len(seen) == 3 * len(arms.runs)
    assert all(grad is None for grads in seen for grad in grads)


def test_groupbert_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = script("groupbert_core")
    for name, value in {"DIM": 64, "HIDDEN": 256, "SHAPES": ((1, 40),), "DENSE": "dense 768 to 768"}.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(run, "best_dtype", lambda device: "float32")
    run.main(["--rounds", "2", "--name", "zz"])
    found = results(tmp_path)
    assert set(found) == {"float32 1x40 forward", "float32 1x40 forward and backward"}
    assert found["float32 1x40 forward"]["over_dense"]["dense 768 to 768"] == 1
    both = found["float32 1x40 forward and backward"]
    assert "grouped, into slices" not in both["ms"]
    assert both["grouped over plain"] > 0
    mb = 40 * 64 * 4 / 2**20  # of a float32 for each channel of each token
    counted = {run.DENSE: mb, "gate": 2 * mb, run.PLAIN: (1 + 2 * 4) * mb}
    assert {name: both["kept_mb"][name] for name in counted} == pytest.approx(counted, abs=1e-5)
    assert "kept_mb" not in found["float32 1x40 forward"]
    text = (tmp_path / "records" / "zz" / "README.md").read_text()
    assert "| float32 1x40 forward | convolution: times the dense product | at most 0.25 |" in text
    assert "| float32 1x40 forward and backward | branch: attention |" in text


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


def test_attention_dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    run = script("attention_dropout")
    for name, value in {"TOKENS": 32, "LENGTHS": (8, 16), "SIZES": (64, 10**6), "WIDTH": 4}.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(run.blocks, "BLOCK", run.blocks.BLOCK)  # the script changes it
    run.main(["--rounds", "1", "--name", "zz"])
    found = results(tmp_path)
    assert {"8, dropout", "16", "16, forward only", "8, blocks"} < set(found)
    kept = found["16, dropout"]["kept MB"]
    assert kept["blocks"] < kept["products"]
    assert capsys.readouterr().out.count("| 16 |") == 3
    run.main(["--rounds", "1", "--name", "zz"])
    assert results(tmp_path) == found


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
