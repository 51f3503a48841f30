"""Published sizes, and the notation for the order of sublayers."""

from typing import Any

import pytest
import torch

from slimbert.config import load
from slimbert.errors import InputError
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.model import ModelConfig, skeleton
from slimbert.model.presets import PRESETS, from_pattern, is_pattern
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import LayerNormConfig


def parameters(encoder: EncoderConfig) -> int:
    return sum(p.numel() for p in skeleton(ModelConfig(encoder=encoder)).parameters())


# Layers, width, parameters of the encoder without pooler (BERT: those of transformers' BertModel of that shape).
SIZES = {
    "bert_tiny": (2, 128, 4_369_408),
    "bert_mini": (4, 256, 11_104_768),
    "bert_small": (4, 512, 28_500_992),
    "bert_medium": (8, 512, 41_110_528),
    "bert_base": (12, 768, 108_891_648),
    "bert_large": (24, 1024, 334_092_288),
    "bert_deep_small": (12, 256, 17_422_848),
    "groupbert_tiny": (2, 128, 4_632_064),
    "groupbert_mini": (4, 256, 13_072_384),
    "groupbert_small": (4, 512, 36_106_240),
    "groupbert_medium": (8, 512, 56_320_000),
    "groupbert_base": (12, 768, 159_627_264),
    "groupbert_large": (24, 1024, 513_425_408),
    "groupbert_lite": (12, 768, 117_086_208),
    "electra_small": (12, 256, 13_483_008),
    "electra_base": (12, 768, 108_891_648),
    "convbert_small": (12, 256, 13_143_768),
    "convbert_medium_small": (12, 384, 17_475_888),
    "convbert_base": (12, 768, 105_680_520),
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


@pytest.mark.parametrize("name", SIZES)
def test_presets_have_their_published_size(name: str):
    layers, dim, count = SIZES[name]
    encoder = PRESETS[name]()
    encoder.check()
    assert (len(encoder.layers), encoder.dim) == (layers, dim)
    for _, mixer in encoder.mixers():
        if isinstance(mixer, AttentionConfig):
            assert (mixer.heads, mixer.head_dim) == (dim // 64, 64)
        if isinstance(mixer, MlpConfig):
            assert mixer.hidden == 4 * dim
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
    def letter(mixer: Any) -> str:
        if isinstance(mixer, MlpConfig):
            return "g" if mixer == MlpConfig(hidden=mixer.hidden, groups=4, mixer=True) else "f"
        return {AttentionConfig: "s", ConvolutionConfig: "c", MixedAttentionConfig: "m"}[type(mixer)]

    return " ".join(
        f":{step.memory}" if isinstance(step, NarrowConfig) else "".join(letter(m) for m in step.mix)
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
        ("2{cgsg}", "cgsg cgsg"),
        ("1{cgsg},cg:sg", "cgsg cg :True sg"),
        ("1{cgsg},2{cs}:2{gg}", "cgsg cs cs :False gg gg"),
        ("1{sf}:c", "sf :True c"),
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


def test_letters_of_groupbert_wire_the_whole_encoder_as_groupbert():
    """Pre-norm, a final norm, an eps of 1e-3 in every norm; said otherwise, otherwise."""
    for text, wiring in (("2{cgsg}", "pre"), ("1{sf},1{sg}:sf", "pre"), ("c:f", "pre"), ("2{sf}:sf", "post")):
        for said in (None, "pre", "post"):
            encoder = from_pattern(text, dim=64, wiring=said)
            expected = said or wiring
            norm = LayerNormConfig(eps=1e-3) if expected == "pre" else LayerNormConfig()
            assert {layer.wiring for layer in encoder.layers if hasattr(layer, "mix")} == {expected}
            assert {layer.norm for layer in encoder.layers if hasattr(layer, "mix")} == {norm}
            assert encoder.embedding.norm == norm
            assert encoder.final_norm == (norm if expected == "pre" else None)
            assert load(EncoderConfig, {"pattern": text, "dim": 64} | ({"wiring": said} if said else {})) == encoder
    for _, mixer in from_pattern("2{cgsg}", dim=64).mixers():
        assert not isinstance(mixer, ConvolutionConfig) or mixer == ConvolutionConfig(kernel=7, group=16)


def test_published_encoders_are_patterns():
    assert PRESETS["groupbert_base"]() == from_pattern("12{cgsg}", dim=768)
    assert PRESETS["bert_base"]() == from_pattern("12{sf}", dim=768)


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
