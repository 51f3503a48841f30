"""GroupBERT as it is published, on fabricated weights: what is read computes as the reference, and is written back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from groupbert_reference import EPS, Size, answers, fabricated, folder_of, states
from slimbert.errors import InputError
from slimbert.hf import convert
from slimbert.jobs.models import convert as job
from slimbert.model import ModelConfig, fresh, load_model, presets, save_model
from slimbert.model.heads import MaskedLmConfig, PoolerConfig, SequenceConfig
from slimbert.parts.norm import LayerNormConfig
from slimbert.state import Encoded

SIZE = Size()
CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float32, eight branches, sums in another order
LABELS = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(5, SIZE.vocab, (3, 19), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(19) < torch.tensor([[19], [8], [1]])


def published(folder: Path, *, half: bool = True, **changes: Any) -> tuple[Path, dict[str, Tensor]]:
    """The folder as it lies on the Hub, and its tensors in float32: half precision, all heads, a buffer."""
    tensors = fabricated(SIZE)
    if half:
        tensors = {name: value.half().float() for name, value in tensors.items()}
    copies = {
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"].clone(),
    }
    stored = {name: value.half() if half else value for name, value in (tensors | copies).items()}
    stored["bert.embeddings.position_ids"] = torch.arange(SIZE.rows)[None]
    return folder_of(folder, stored, SIZE.config(**changes)), tensors


def test_the_published_form_is_read(ids: Tensor, mask: Tensor, tmp_path: Path):
    """Half precision, pretraining heads, a tied decoder with its own copy, position_ids, the slip of the eps."""
    folder, tensors = published(tmp_path)
    model, tokenizer, notes = convert.read(folder)
    assert tokenizer is None
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert [note.split()[:2] for note in sorted(notes)] == [
        ["dropped", "cls.seq_relationship"],
        ["dropped", "pooler.dense"],
        ["layer_norm_eps", "1e-12"],
    ]
    assert isinstance(model.config.head, MaskedLmConfig)
    assert model.config.head.tied
    assert not any("decoder" in name for name in model.state_dict())
    with torch.no_grad():
        state = model.encoder(ids, mask=mask).state
        expected = states(tensors, SIZE, ids, mask=mask)
        assert_close(state.x[mask], expected[mask], **CLOSE)
        assert_close(model.answer(Encoded(state))[mask], answers(tensors, expected)[mask], **CLOSE)


def test_the_other_heads(tmp_path: Path):
    folder, tensors = published(tmp_path)
    model, _, notes = convert.read(folder, prefer="pooler")
    assert isinstance(model.config.head, PoolerConfig)
    assert torch.equal(model.head.dense.weight, tensors["bert.pooler.dense.weight"])
    assert "cls.predictions" in " ".join(notes)


def test_the_first_rows_are_the_gate(ids: Tensor, tmp_path: Path):
    """Where the value's rows are zero, the last ones, the branch does not depend on the gate's."""
    outputs = []
    for number, scale in enumerate((0.0, 1.0, 5.0)):
        tensors = fabricated(SIZE)
        for name in (name for name in tensors if ".glu." in name):
            tensors[name][: SIZE.dim] *= scale
            tensors[name][SIZE.dim :] = 0.0
        model, _, _ = convert.read(folder_of(tmp_path / str(number), tensors, SIZE.config()))
        outputs.append(model.encoder(ids).state.x)
    assert_close(outputs[1], outputs[0], rtol=0, atol=0)
    assert_close(outputs[2], outputs[0], rtol=0, atol=0)


def test_blocks_of_rows_are_the_groups(tmp_path: Path):
    folder, tensors = published(tmp_path, half=False)
    model, _, _ = convert.read(folder)
    theirs = tensors["bert.encoder.layer.1.output_second.grouped_matmul.weight"]
    ours = model.encoder.layers[1][3].mixer.down.weight  # [G, hidden / G, dim / G]
    width = SIZE.dim // SIZE.groups
    for number, block in enumerate(ours):
        assert torch.equal(block, theirs[number * width : (number + 1) * width, :, 0].T)


@pytest.mark.parametrize("kind", [None, "pooler", "masked_lm", "sequence"])
def test_there_and_back_is_the_identity(kind: str | None, tmp_path: Path):
    """Names, shapes, values and what config.json says; a model of ours survives the way through it."""
    tensors, config = fabricated(SIZE), SIZE.config(layer_norm_eps=EPS)
    kept = {n: v for n, v in tensors.items() if not n.startswith("cls.") and (kind != "masked_lm" or "pooler" not in n)}
    if kind == "masked_lm":
        kept |= {n: v for n, v in tensors.items() if n.startswith("cls.predictions")}
    elif kind == "sequence":
        config |= {"architectures": ["GroupBertForSequenceClassification"], **LABELS}
        kept |= {"classifier.weight": torch.randn(2, SIZE.dim), "classifier.bias": torch.randn(2)}
    elif kind is None:
        kept = {n: v for n, v in kept.items() if "pooler" not in n}
    if kind in (None, "pooler"):
        kept = {n.removeprefix("bert."): v for n, v in kept.items()}
    model, _, notes = convert.read(folder_of(tmp_path / "theirs", kept, config))
    assert notes == ()
    assert getattr(model.config.head, "kind", None) == kind
    again = load_model(save_model(model, tmp_path / "ours"))
    assert convert.write(again, tmp_path / "back") == "groupbert"
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == kept.keys()
    assert all(torch.equal(back[name], kept[name]) for name in kept)
    assert convert.read(tmp_path / "back")[0].config == model.config
    said = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {key: said[key] for key in said.keys() & config.keys() - {"architectures"}} == {
        key: config[key] for key in said.keys() & config.keys() - {"architectures"}
    }


@pytest.mark.parametrize(("said", "eps", "noted"), [(1e-12, 1e-3, True), (1e-3, 1e-3, False), (1e-5, 1e-5, False)])
def test_one_eps_is_not_believed(said: float, eps: float, noted: bool, tmp_path: Path):
    """That of BERT, which the published config has by mistake; every norm follows, in convolution and head too."""
    folder, _ = published(tmp_path, layer_norm_eps=said)
    model, _, notes = convert.read(folder)
    assert any("layer_norm_eps 1e-12 of config.json is read as 0.001" in note for note in notes) == noted
    found = {module.eps for module in model.modules() if isinstance(module, torch.nn.LayerNorm)}
    assert found == {eps}


def test_what_config_leaves_out_is_as_published(tmp_path: Path):
    folder, _ = published(tmp_path)
    path = folder / "config.json"
    left = {"layer_norm_eps", "ffn_groups", "conv_kernel_size", "hidden_dropout_prob", "hidden_act"}
    path.write_text(json.dumps({k: v for k, v in SIZE.config().items() if k not in left}))
    layer = convert.read(folder)[0].config.encoder.layers[0]
    assert (layer.norm.eps, layer.dropout, layer.wiring) == (1e-3, 0.0, "pre")
    assert (layer.mix[0].kernel, layer.mix[1].groups, layer.mix[1].act) == (7, 4, "gelu")


def test_presets_are_in_the_layout(tmp_path: Path):
    """The width of the published groups and heads of 64; a head keeps to the eps of the encoder."""
    encoder = presets.from_pattern("1{cgsg}", dim=64, vocab=50)
    model = fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig(norm=LayerNormConfig(eps=1e-3))), 0)
    assert convert.write(model, tmp_path) == "groupbert"
    assert convert.read(tmp_path)[0].config.encoder == encoder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ffn_groups": 2},
            r"output_first\.grouped_matmul\.weight' is \(32, 16, 1\), config\.json asks for \(32, 32, 1\)",
        ),
        (
            {"conv_group_size": 4},
            r"convolution\.groupconv\.weight' is \(32, 8, 7\), config\.json asks for \(32, 4, 7\)",
        ),
        ({"conv_kernel_size": 4}, r"kernel: 4 is even"),
        ({"conv_group_size": 5}, r"group: 5 does not divide the width 32"),
        ({"ffn_groups": 3}, r"groups: 3 groups do not divide 32 and 64"),
        ({"ffn_groups": "four"}, r"ffn_groups: 'four' is not a usable int"),
        ({"num_hidden_layers": 1}, r"'encoder\.layer\.1\..*has no place in config\.json"),
    ],
)
def test_weights_against_config_are_refused(changes: dict[str, Any], message: str, tmp_path: Path):
    folder, _ = published(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        convert.read(folder)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("2{csg}", r"layers\[0\]\.mix: not convolution, mlp, attention, mlp"),
        ("1{cgsg},1{cfsg}", r"layers\[1\]\.mix\[1\]\.groups: 1 where the layout has 4"),
        ("1{cgsg}:1{cgsg}", r"layer 1 is a narrowing"),
    ],
)
def test_what_the_layout_cannot_say_is_refused_with_its_place(pattern: str, message: str, tmp_path: Path):
    model = fresh(ModelConfig(encoder=presets.from_pattern(pattern, dim=32, head_dim=16, vocab=50)), 0)
    with pytest.raises(InputError, match=message):
        convert.write(model, tmp_path, "groupbert")
    assert not list(tmp_path.iterdir())


def test_a_written_folder_comes_with_a_warning(tmp_path: Path):
    folder, _ = published(tmp_path / "theirs")
    made = job(folder, out=tmp_path / "back", to="transformers", encoder_only=True)
    assert "written in the layout groupbert; transformers itself has no class for it" in made.notes
    assert made.head is None
    labels = SequenceConfig(labels=("a", "b"), pool="mean")
    model = fresh(ModelConfig(encoder=convert.read(folder)[0].config.encoder, head=labels), 0)
    with pytest.raises(InputError, match=r"config\.head\.pool: 'mean' where the layout has 'cls'"):
        convert.write(model, tmp_path / "no", "groupbert")
