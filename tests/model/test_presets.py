"""Published sizes, and the notation for the order of sublayers."""

import pytest
import torch

from slimbert.config import load
from slimbert.errors import InputError
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.model import ModelConfig, skeleton
from slimbert.model.presets import PRESETS, from_pattern, is_pattern
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig


def parameters(encoder: EncoderConfig) -> int:
    return sum(p.numel() for p in skeleton(ModelConfig(encoder=encoder)).parameters())


# Layers, width, parameters of the encoder without pooler (those of transformers' BertModel of that shape).
SIZES = {
    "bert_tiny": (2, 128, 4_369_408),
    "bert_mini": (4, 256, 11_104_768),
    "bert_small": (4, 512, 28_500_992),
    "bert_medium": (8, 512, 41_110_528),
    "bert_base": (12, 768, 108_891_648),
    "bert_large": (24, 1024, 334_092_288),
    "bert_deep_small": (12, 256, 17_422_848),
}
# NarrowBERT has BERT's parameters, one by one.
NARROW = {"narrowbert_base": "2{sf}:10{sf}", "narrowbert_context_first_base": "2{sf},10{s}:10{f}"}


@pytest.mark.parametrize(("name", "pattern"), NARROW.items())
def test_narrow_presets_are_bert_base_in_another_order(name: str, pattern: str):
    encoder = PRESETS[name]()
    encoder.check()
    assert encoder == from_pattern(pattern, dim=768) == load(EncoderConfig, {"preset": name})
    assert parameters(encoder) == SIZES["bert_base"][2]
    whole = skeleton(ModelConfig(encoder=encoder, head=MaskedLmConfig()))
    assert sum(p.numel() for p in whole.parameters()) == 109_514_298  # of transformers' BertForMaskedLM


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("bert_")])
def test_presets_have_their_published_size(name: str):
    layers, dim, count = SIZES[name]
    encoder = PRESETS[name]()
    encoder.check()
    assert (len(encoder.layers), encoder.dim) == (layers, dim)
    for layer in encoder.layers:
        attention, mlp = layer.mix
        assert (attention.heads, attention.head_dim, mlp.hidden) == (dim // 64, 64, 4 * dim)
    assert parameters(encoder) == count
    assert PRESETS[name].__doc__ is not None
    assert load(EncoderConfig, {"preset": name}) == encoder


def shape(encoder: EncoderConfig) -> str:
    letters = {AttentionConfig: "s", MlpConfig: "f"}
    return " ".join(
        f":{step.memory}" if isinstance(step, NarrowConfig) else "".join(letters[type(m)] for m in step.mix)
        for step in encoder.layers
    )


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("sf", "sf"),
        ("2{sf}", "sf sf"),
        ("2sf", "sf sf"),
        ("s,2{f},sf", "s f f sf"),
        ("2{sf}:1{sf}", "sf sf :True sf"),
        ("sf:2{f}", "sf :False f f"),
        (" 2{ sf } : f ", "sf sf :False f"),
    ],
)
def test_patterns_are_read(text: str, steps: str):
    encoder = from_pattern(text, dim=64, head_dim=16)
    encoder.check()
    assert shape(encoder) == steps
    assert is_pattern(text)
    assert load(EncoderConfig, {"pattern": text, "dim": 64, "head_dim": 16}) == encoder


@pytest.mark.parametrize(
    "text", ["", "2{", "{sf}{sf}", "2{sx}", "s:f:s", "0{sf}", "1001{sf}", ",", "sf:", "2{}", "-1s"]
)
def test_patterns_that_cannot_be_read_are_input_errors(text: str):
    with pytest.raises(InputError, match="pattern"):
        from_pattern(text)


def test_names_are_not_patterns():
    assert not any(is_pattern(name) for name in (*PRESETS, "runs/a", "my-encoder"))


def test_sizes_of_a_pattern():
    encoder = from_pattern("1{sf}", dim=96, head_dim=32, hidden=10, vocab=50, max_len=7)
    attention, mlp = encoder.layers[0].mix
    assert (attention.heads, attention.head_dim, mlp.hidden) == (3, 32, 10)
    assert (encoder.embedding.vocab, encoder.embedding.max_len) == (50, 7)
    assert from_pattern("sf", dim=32).layers[0].mix[0].heads == 1
    with pytest.raises(InputError, match="64 does not divide the width 96"):
        from_pattern("sf", dim=96)


def test_presets_build_and_run():
    encoder = load(EncoderConfig, {"preset": "bert_tiny", "embedding": {"vocab": 30}})
    model = ModelConfig(encoder=encoder).build().eval()
    assert model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 5, 128)
