"""The examples are run, at toy size."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from slimbert.data.tokenizer import TextTokenizer
from slimbert.model import ModelConfig, fresh, presets, save_model

EXAMPLES = Path(__file__).parents[1] / "examples"
GOOD, BAD = ("fine", "lovely", "great"), ("broken", "awful", "poor")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_here() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == {"finetune_own_file", "training_loop"}


def test_training_loop_learns_to_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert example("training_loop").main(steps=150) < 3.0  # chance is ln 63 = 4.1
    assert "step 50" in capsys.readouterr().out


def test_finetune_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"a {word} thing number {i}", label) for i in range(20) for label, words in
            (("good", GOOD), ("bad", BAD)) for word in words]  # fmt: skip
    with open(tmp_path / "reviews.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    tokenizer = TextTokenizer.train((text for text, _ in rows), 60)
    encoder = presets.from_pattern("1{sf}", dim=32, head_dim=16, vocab=tokenizer.vocab_size, max_len=32)
    save_model(fresh(ModelConfig(encoder=encoder), 0), tmp_path / "encoder")
    tokenizer.save(tmp_path / "encoder")
    example("finetune_own_file").main(str(tmp_path / "encoder"), str(tmp_path / "reviews.csv"), str(tmp_path / "run"))
    out = capsys.readouterr().out
    assert out.startswith("accuracy ")
    assert "TF-IDF" in out
