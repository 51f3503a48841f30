"""Where a model can be taken from: checkpoints and unfinished runs too."""

from pathlib import Path

import pytest
import torch

from slimbert.config import dump
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.source import open_encoder, open_model
from slimbert.model import Model, ModelConfig, fresh, presets, save_model
from slimbert.model.heads import MaskedLmConfig
from slimbert.train import checkpoints
from slimbert.train.run import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Model]:
    """A pretraining run that was killed after its checkpoint at step 3."""
    tokenizer = TextTokenizer.train(["some words to cut into pieces"] * 3, 60)
    encoder = presets.from_pattern("1{sf}", dim=16, head_dim=8, vocab=tokenizer.vocab_size, max_len=16)
    model = fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), 0)
    with RunFolder(tmp_path / "run") as folder:
        folder.write_recipe({"model": dump(model.config), "train": {"steps": 9}})
        tokenizer.save(folder.path)
        tensors = {f"objective.model.{name}": value for name, value in model.state_dict().items()}
        checkpoints.save(folder.checkpoints, 3, tensors=tensors, state={})
    return tmp_path / "run", model


def test_a_checkpoint_is_a_model(run: tuple[Path, Model]) -> None:
    folder, model = run
    found, tokenizer, _ = open_encoder(folder / "checkpoints" / "step-3")
    ids = torch.from_numpy(tokenizer.encode(["words"], 8)[0]).long()[None]
    assert torch.equal(found(ids), model.eval()(ids))


def test_an_unfinished_run_is_its_newest_checkpoint(run: tuple[Path, Model]) -> None:
    folder, model = run
    found, _, notes = open_model(folder)
    assert dump(found.config) == dump(model.config)
    assert "step 3" in notes[0]


def test_a_changed_bit_in_a_named_checkpoint_is_told(run: tuple[Path, Model]) -> None:
    file = run[0] / "checkpoints" / "step-3" / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="step-3"):
        open_model(file.parent)
    with pytest.raises(InputError, match="without a whole checkpoint"):
        open_model(run[0])


def test_a_checkpoint_of_fine_tuning_says_what_to_do(run: tuple[Path, Model]) -> None:
    folder, model = run
    with RunFolder(folder) as opened:
        opened.write_recipe({"encoder": "x", "finetune": {}})
    with pytest.raises(InputError, match="--resume"):
        open_model(folder / "checkpoints" / "step-3")
    save_model(model, folder)
    assert open_model(folder)[0].config == model.config
