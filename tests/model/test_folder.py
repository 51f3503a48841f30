"""A model as a folder: equal when read again, and every fault one clear line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.model import load_model, save_model
from slimbert.model.folder import load_config, read_description
from slimbert.model.heads import MaskedLmConfig, SequenceConfig
from slimbert.model.model import Model, ModelConfig, SpecialTokens, fresh
from slimbert.model.presets import bert_tiny
from toys import VOCAB, Batch, lively, toy_encoder


@pytest.fixture
def model() -> Model:
    config = ModelConfig(encoder=toy_encoder(), head=MaskedLmConfig(), special=SpecialTokens(pad=3))
    made = lively(fresh(config, 0))
    assert isinstance(made, Model)
    return made


def test_saved_and_loaded_is_the_same_model(model: Model, tmp_path: Path):
    folder = save_model(model, tmp_path / "a" / "b", extra={"note": "mine"})
    again, batch = load_model(folder), Batch()
    assert again.config == model.config == load_config(folder)
    assert_close(dict(again.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert_close(again(batch.ids, mask=batch.mask), model(batch.ids, mask=batch.mask), rtol=0, atol=0)
    assert read_description(folder)["note"] == "mine"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "hashes.json", "model.safetensors"]


def test_saving_again_replaces(model: Model, tmp_path: Path):
    save_model(model, tmp_path)
    again = lively(load_model(tmp_path), 9)
    assert isinstance(again, Model)
    save_model(again, tmp_path)
    with torch.no_grad():
        assert (load_model(tmp_path).head.bias != model.head.bias).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "hashes.json", "model.safetensors"]


def test_config_names_what_transformers_expects(model: Model, tmp_path: Path):
    data = read_description(save_model(model, tmp_path))
    assert (data["model_type"], data["architectures"]) == ("slimbert", ["SlimbertForMaskedLM"])
    assert (data["hidden_size"], data["vocab_size"], data["num_hidden_layers"]) == (32, VOCAB, 4)
    assert data["pad_token_id"] == 3
    head = SequenceConfig(labels=("no", "yes"))
    labelled = fresh(ModelConfig(encoder=toy_encoder(), head=head), 0)
    data = read_description(save_model(labelled, tmp_path / "labelled"))
    assert (data["id2label"], data["label2id"]) == ({"0": "no", "1": "yes"}, {"no": 0, "yes": 1})


def test_nothing_but_tensors_and_names_is_stored(model: Model, tmp_path: Path):
    with safe_open(save_model(model, tmp_path) / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        assert set(file.metadata()) == {"format", "sha256"}


def test_half_precision_is_read_as_float32(model: Model, tmp_path: Path):
    save_model(model.bfloat16(), tmp_path)
    assert {t.dtype for t in load_model(tmp_path).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("where", ["header", "first", "middle", "last"])
def test_a_flipped_bit_is_found(model: Model, tmp_path: Path, where: str):
    file = save_model(model, tmp_path) / "model.safetensors"
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[{"header": 20, "first": start, "middle": (start + len(content)) // 2, "last": -1}[where]] ^= 16
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_a_flipped_bit_in_the_config_is_found(model: Model, tmp_path: Path):
    """Also one that leaves valid JSON of a valid model: here another epsilon."""
    file = save_model(model, tmp_path) / "config.json"
    text = file.read_text()
    changed = text.replace("1e-12", "1e-10", 1) if "1e-12" in text else text.replace("0.02", "0.03", 1)
    assert changed != text
    file.write_text(changed)
    with pytest.raises(InputError, match=r"config\.json.*not those that were written.*hashes\.json"):
        load_model(tmp_path)
    (tmp_path / "hashes.json").unlink()
    assert load_model(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_weights_cut_short_are_found(model: Model, tmp_path: Path, share: float):
    file = save_model(model, tmp_path) / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"model\.safetensors.*cut short") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable as JSON"),
        ('{"model_type": "slimb', "not readable as JSON"),
        ("[1]", "not a JSON object"),
        ('{"model_type": "bert"}', "a model of type 'bert', not slimbert; read it with `slimbert convert`"),
        ('{"model_type": "slimbert", "format": 99}', "format 99, this version reads 1"),
        ('{"model_type": "slimbert", "format": 1}', "model: None is not a mapping"),
        ("\xff\xfe", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
    ],
)
def test_a_broken_config_is_one_line(model: Model, tmp_path: Path, text: str, message: str):
    (save_model(model, tmp_path) / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_their_config_are_named(model: Model, tmp_path: Path):
    file = save_model(model, tmp_path) / "config.json"
    data = json.loads(file.read_text())
    data["model"]["encoder"]["layers"][0]["mix"][1]["hidden"] = 32
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"'encoder\.layers\.0\.1\.mixer\.\S+' is \(.*its config asks for \("):
        load_model(tmp_path)
    del data["model"]["encoder"]["layers"][0]
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"its config asks for"):
        load_model(tmp_path)


def test_loading_and_running_is_light(model: Model, tmp_path: Path):
    """A compiler that nobody asked for costs seconds at import; predicting a sentence must not pay for it."""
    save_model(fresh(ModelConfig(encoder=bert_tiny()), 0), tmp_path)
    program = (
        "import sys, torch; from slimbert.model import load_model; m = load_model(sys.argv[1])\n"
        "with torch.no_grad(): m(torch.zeros(1, 4, dtype=torch.long), mask=torch.ones(1, 4, dtype=torch.bool))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    src = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=src, check=True
    )
    assert done.stdout.strip() == "False"


def test_missing_things_are_named(model: Model, tmp_path: Path):
    with pytest.raises(InputError, match="no model here"):
        load_model(tmp_path / "nowhere")
    save_model(model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: missing"):
        load_model(tmp_path)
