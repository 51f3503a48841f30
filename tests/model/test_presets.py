"""Published sizes, and the notation for the order of sublayers."""

import pytest
import torch

from slimbert.config import load
from slimbert.errors import InputError
from slimbert.model.encoder import EncoderConfig
from slimbert.model.model import ModelConfig, skeleton
from slimbert.model.presets import PRESETS, from_pattern, is_pattern
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig


def parameters(encoder: EncoderConfig) -> int:
    return sum(p.numel() for p in skeleton(ModelConfig(encoder=encoder)).parameters())


# Layers, width, parameters of the encoder without pooler (those of transformers' model of that shape).
SIZES = {
    "bert_tiny": (2, 128, 4_369_408),
    "bert_mini": (4, 256, 11_104_768),
    "bert_small": (4, 512, 28_500_992),
    "bert_medium": (8, 512, 41_110_528),
    "bert_base": (12, 768, 108_891_648),
    "bert_large": (24, 1024, 334_092_288),
    "bert_deep_small": (12, 256, 17_422_848),
    "electra_small": (12, 256, 13_483_008),
    "electra_base": (12, 768, 108_891_648),
    "convbert_small": (12, 256, 13_143_768),
    "convbert_medium_small": (12, 384, 17_475_888),
    "convbert_base": (12, 768, 105_680_520),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_their_published_size(name: str):
    layers, dim, count = SIZES[name]
    encoder = PRESETS[name]()
    encoder.check()
    assert (len(encoder.layers), encoder.dim) == (layers, dim)
    for layer in encoder.layers:
        attention, mlp = layer.mix
        assert mlp.hidden == 4 * dim
        assert name.startswith("convbert") or (attention.heads, attention.head_dim) == (dim // 64, 64)
    assert parameters(encoder) == count
    assert PRESETS[name].__doc__ is not None
    assert load(EncoderConfig, {"preset": name}) == encoder


@pytest.mark.parametrize(
    ("name", "heads", "head_dim", "groups", "width", "layer"),
    [
        ("convbert_small", 2, 64, 1, 128, 761_490),
        ("convbert_medium_small", 4, 48, 2, 128, 1_121_124),
        ("convbert_base", 6, 64, 1, None, 6_820_278),
    ],
)
def test_convberts_are_the_published_ones(
    name: str, heads: int, head_dim: int, groups: int, width: int | None, layer: int
):
    encoder = PRESETS[name]()
    mixed, mlp = encoder.layers[0].mix
    assert mixed == MixedAttentionConfig(heads=heads, conv_heads=heads, span_heads=heads, head_dim=head_dim, kernel=9)
    assert (mlp.groups, mlp.up_groups, encoder.embedding.width) == (groups, groups, width)
    whole = skeleton(ModelConfig(encoder=encoder)).encoder
    assert sum(p.numel() for p in whole.layers[0].parameters()) == layer


def shape(encoder: EncoderConfig) -> str:
    letters = {AttentionConfig: "s", MlpConfig: "f", MixedAttentionConfig: "m"}
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
        ("mf,sf:2{mf}", "mf sf :True mf mf"),
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
    mixed = from_pattern("m", dim=256).layers[0].mix[0]
    assert mixed == PRESETS["convbert_small"]().layers[0].mix[0]
    assert from_pattern("m", dim=64).layers[0].mix[0].heads == 1
    assert from_pattern("m", dim=32).layers[0].mix[0].head_dim == 64
    with pytest.raises(InputError, match="64 does not divide the width 96"):
        from_pattern("sf", dim=96)


def test_presets_build_and_run():
    encoder = load(EncoderConfig, {"preset": "bert_tiny", "embedding": {"vocab": 30}})
    model = ModelConfig(encoder=encoder).build().eval()
    assert model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 5, 128)
