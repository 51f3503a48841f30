"""The examples are run, at toy size."""

import csv
import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from slimbert.cli import main
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


README = (EXAMPLES.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines() if "slimbert " in line]
COMMANDS += re.findall(r"`(slimbert [a-z][^`]+)`", README)
STAND_INS = {"ENCODER": "encoder", "path/to/encoder": "encoder", "recipes/bert_mini_mlm.yaml": "toy.yaml", "20m": "2s"}
RECIPE = 'model: {encoder: {pattern: "1{sf}", dim: 32, head_dim: 16, max_len: 128}}\ntrain: {batch_size: 4}\n'


def replaced(text: str) -> str:
    for name, other in STAND_INS.items():
        text = text.replace(name, other)
    return text


def test_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Each in the order of the page, at toy size: what is long or a name of one's own is replaced, nothing else."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"a {word} thing number {i}", label) for i in range(20) for label, words in
            (("good", GOOD), ("bad", BAD)) for word in words]  # fmt: skip
    with open("reviews.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    Path("corpus").mkdir()
    Path("corpus/all.txt").write_text("\n\n".join(text for text, _ in rows * 3))
    Path("toy.yaml").write_text(RECIPE)
    toy_encoder([text for text, _ in rows])
    said = [shlex.split(replaced(command), comments=True) for command in COMMANDS]
    assert {words[1] for words in said} == {"finetune", "predict", "data", "tokenizer", "prepare", "pretrain"}
    for words in said:
        assert words[0] == "slimbert"
        code = main(words[1:])
        ended = capsys.readouterr()
        assert code == 0, (words, ended.err)
        if words[1] == "predict":
            assert json.loads(ended.out)["label"] in ("good", "bad")
    (python,) = [block for language, block in BLOCKS if language == "python"]
    exec(compile(replaced(python).replace("runs/b", "runs/c"), "README.md", "exec"), {})
    assert (EXAMPLES.parent / "recipes/bert_mini_mlm.yaml").is_file()


def toy_encoder(texts: list[str]) -> None:
    """A fresh encoder with a tokenizer of these texts in the folder `encoder`."""
    tokenizer = TextTokenizer.train(texts, 60)
    encoder = presets.from_pattern("1{sf}", dim=32, head_dim=16, vocab=tokenizer.vocab_size, max_len=32)
    save_model(fresh(ModelConfig(encoder=encoder), 0), "encoder")
    tokenizer.save("encoder")
