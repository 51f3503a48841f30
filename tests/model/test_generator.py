"""The generator's size follows from the model's, by the published rule, whatever its mixers are."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimbert.errors import InputError
from slimbert.model.cost import cost
from slimbert.model.encoder import EncoderConfig
from slimbert.model.generator import generator_of
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig
from slimbert.model.model import ModelConfig, skeleton
from slimbert.model.presets import PRESETS, bert_base, bert_deep_small, from_pattern
from slimbert.parts.embedding import TokensConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import GluConfig, MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.residual import LayerConfig
from toys import encoder_of


def sizes(encoder: EncoderConfig) -> tuple[int, ...]:
    """Layers, width, heads, width of a head, hidden units, width of the table."""
    attention, mlp = encoder.layers[0].mix
    return (len(encoder.layers), encoder.dim, attention.heads, attention.head_dim, mlp.hidden, encoder.embedding.width)


def test_the_published_sizes():
    """ELECTRA-small's generator is a quarter, ELECTRA-base's a third: Clark et al. 2020, appendix A."""
    small = bert_deep_small()
    small = replace(small, embedding=replace(small.embedding, width=128))
    assert sizes(generator_of(small)) == (12, 64, 1, 64, 256, 128)
    assert sizes(generator_of(bert_base(), width=1 / 3)) == (12, 256, 4, 64, 1024, 768)
    assert sizes(generator_of(bert_base(), width=0.3333)) == (12, 256, 4, 64, 1024, 768)


@pytest.mark.parametrize(
    ("name", "ratio", "published"),
    [
        ("convbert_small", 1 / 4, (12, 64, 1, 64, 1, 256, 128, (64, 128))),
        ("convbert_medium_small", 1 / 4, (12, 96, 1, 48, 1, 384, 128, (96, 96))),
        ("convbert_base", 1 / 3, (12, 256, 2, 64, 2, 1024, 768, (256, 256))),
    ],
)
def test_the_generators_of_convbert(name: str, ratio: float, published: tuple[Any, ...]):
    """As in its published code: heads that attend and that convolve, and the map that leads out of both. The only head
    of the small one is as wide as the whole, so that this map is not square."""
    made = generator_of(PRESETS[name](), width=ratio)
    mixed, mlp = made.layers[0].mix
    out = skeleton(ModelConfig(encoder=made)).encoder.layers[0][0].mixer.out.weight
    found = (len(made.layers), made.dim, mixed.heads, mixed.head_dim, mixed.conv_heads, mlp.hidden)
    assert (*found, made.embedding.width, tuple(out.shape)) == published


def test_all_of_it_is_the_model_with_its_table_spelt_out():
    model = from_pattern("2{sf}:2{sf}", dim=32, head_dim=8, vocab=40)
    assert generator_of(model, width=1.0) == replace(model, embedding=replace(model.embedding, width=32))


def test_units_shrink_by_named_axes_in_whole_groups():
    mixed = MixedAttentionConfig(heads=2, conv_heads=6, span_heads=4)
    grouped = MlpConfig(hidden=24, groups=4)
    model = encoder_of(LayerConfig(mix=(mixed, grouped, GluConfig(hidden=50)), wiring="pre"), dim=32)
    (layer,) = generator_of(model, width=0.5).layers
    assert [layer.mix[0].heads, layer.mix[0].conv_heads, layer.mix[0].span_heads] == [1, 3, 2]
    assert [layer.mix[1].hidden, layer.mix[1].groups, layer.mix[2].hidden] == [12, 4, 25]
    assert layer.wiring == "pre"
    (layer,) = generator_of(model, width=0.125).layers
    assert [layer.mix[0].heads, layer.mix[0].conv_heads, layer.mix[1].hidden] == [1, 1, 4]
    assert isinstance(generator_of(model).embedding, TokensConfig)


@pytest.mark.parametrize(
    ("pattern", "options", "kinds"),
    [
        ("3{sf}", {"narrow": 1}, "layer narrow layer layer"),
        ("3{sf}", {"narrow": 0}, "narrow layer layer layer"),
        ("3{sf}", {"layers": 2, "narrow": 1}, "layer narrow layer"),
        ("3{sf}", {"layers": 1}, "layer"),
        ("1{sf}:2{sf}", {}, "layer narrow layer layer"),
        ("1{sf}:2{sf}", {"narrow": 2}, "layer layer narrow layer"),
        ("1{sf}:2{sf}", {"layers": 1}, "layer"),
    ],
)
def test_layers_and_where_it_narrows(pattern: str, options: dict[str, Any], kinds: str):
    made = generator_of(from_pattern(pattern, dim=32, head_dim=8), **options)
    assert " ".join(step.kind for step in made.layers) == kinds
    made.check()


def test_it_narrows_without_memory_where_nothing_reads_it():
    made = generator_of(from_pattern("2{sf},2{f}", dim=32, head_dim=8), narrow=2)
    assert made.layers[2] == NarrowConfig(memory=False)
    assert generator_of(from_pattern("4{sf}", dim=32, head_dim=8), narrow=2).layers[2] == NarrowConfig()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 4}, r"here\.layers: 4, the model has 3; give as many at most"),
        ({"narrow": 3}, r"here\.narrow: 3, the generator has 3 layers; narrow before the last"),
        ({"layers": 1, "narrow": 1}, r"here\.narrow: 1, the generator has 1 layers"),
    ],
)
def test_layers_that_are_not_there(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        generator_of(from_pattern("3{sf}", dim=32, head_dim=8), **options, path="here")


def test_the_costs_on_the_page():
    """Of docs/replaced-tokens.md, which promises 5%: multiply-adds per token at rows of 128 with 19 places."""
    shape = bert_deep_small()
    shape = replace(shape, embedding=replace(shape.embedding, width=128))

    def millions(encoder: EncoderConfig, head: Any, keep: int | None) -> float:
        parts = cost(ModelConfig(encoder=encoder, head=head), length=128, keep=keep, training=True)
        return sum(part.macs for part in parts) / 128 / 1e6

    page = (Path(__file__).resolve().parents[2] / "docs" / "replaced-tokens.md").read_text()
    said = [float(number) for number in re.findall(r"\| (\d+\.\d+) M \|", page)]
    counted = [
        millions(shape, MaskedLmConfig(), 19),
        millions(shape, ReplacedTokenConfig(), None),
        millions(generator_of(shape), MaskedLmConfig(), 19),
        millions(generator_of(shape, narrow=2), MaskedLmConfig(), 19),
    ]
    assert said == pytest.approx(counted, rel=0.05)
