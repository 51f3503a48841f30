"""Drawing: exact counts for any share and any ties, the least of every layer, multiples, groups, one shared budget."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.tickets import ENCODERS, EVERY, RULE
from slimbert.errors import InputError
from slimbert.methods.importance import at_random
from slimbert.methods.tickets import DrawConfig, HeadsConfig, NeuronsConfig, draw
from slimbert.methods.units import costs, counts, kind_of, masks, name_of, units_of
from slimbert.model import ModelConfig, presets, skeleton
from slimbert.model.cost import cost
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import PoolerConfig
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.residual import LayerConfig
from slimbert.subnet import Subnet, axes_of_encoder, shrink
from toys import encoder_of

BERT = ENCODERS["bert"]  # 3 layers of 4 heads and 48 neurons
NOTHING: Any = {"heads": HeadsConfig(cut=0.0), "neurons": NeuronsConfig(cut=0.0)}


def kept(subnet: Subnet, encoder: EncoderConfig, name: str) -> list[int]:
    """How many units stay in each layer."""
    return [after for key, (after, _) in counts(encoder, subnet).items() if name_of(key) == name]


def ties(encoder: EncoderConfig, seed: int, values: int) -> dict[str, Tensor]:
    """Scores that take few values."""
    generator = torch.Generator().manual_seed(seed)
    axes = units_of(encoder).items()
    return {key: torch.randint(values, (axis.units,), generator=generator).float() for key, axis in axes}


@given(
    layers=st.integers(1, 4),
    hidden=st.integers(4, 40),
    cut=st.floats(0, 0.95),
    multiple=st.sampled_from([1, 2, 4]),
    least=st.integers(1, 6),
    values=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_ticket_counts_of_neurons_are_exact(
    layers: int, hidden: int, cut: float, multiple: int, least: int, values: int, seed: int
):
    """The total, rounded down to the multiple; every width a multiple; at least the least; ties or not."""
    encoder = encoder_of(*[MlpConfig(hidden=hidden)] * layers)
    rule = DrawConfig(**{**NOTHING, "neurons": NeuronsConfig(cut=cut, least=least, multiple=multiple)})
    total = layers * hidden
    stay = total - int(cut * total + 0.5)
    stay -= stay % multiple
    need = -(-least // multiple) * multiple
    if cut > 0 and (need > hidden // multiple * multiple or layers * need > stay):
        with pytest.raises(InputError, match=r"ticket\.draw\.neurons\.(cut|least)"):
            draw(ties(encoder, seed, values), encoder, rule)
        return
    widths = kept(draw(ties(encoder, seed, values), encoder, rule), encoder, "hidden")
    if cut == 0:
        assert widths == [hidden] * layers
        return
    assert sum(widths) == min(stay, layers * (hidden // multiple * multiple))
    assert all(width % multiple == 0 and width >= need for width in widths)


@given(
    heads=st.integers(1, 16), layers=st.integers(1, 4), cut=st.floats(0.01, 0.99), per=st.sampled_from(["layer", "all"])
)
def test_ticket_counts_of_heads_are_exact(heads: int, layers: int, cut: float, per: Any):
    encoder = encoder_of(*[AttentionConfig(heads=heads, head_dim=8)] * layers)
    rule = DrawConfig(**{**NOTHING, "heads": HeadsConfig(cut=cut, per=per)})
    pool = heads if per == "layer" else layers * heads
    stay = pool - int(cut * pool + 0.5)
    if stay < (1 if per == "layer" else layers):
        with pytest.raises(InputError, match=r"ticket\.draw\.heads\.cut: .* leaves \d+ of \d+ heads"):
            draw(at_random(encoder, 0), encoder, rule)
        return
    found = kept(draw(at_random(encoder, 0), encoder, rule), encoder, "head")
    assert found == [stay] * layers if per == "layer" else sum(found) == stay
    assert min(found) >= 1


def test_ticket_of_equal_scores_keeps_the_first_units():
    scores = {key: torch.ones(axis.units) for key, axis in units_of(BERT).items()}
    rule = DrawConfig(heads=HeadsConfig(cut=0.5), neurons=NeuronsConfig(cut=0.5, multiple=1))
    found = dict(draw(scores, BERT, rule).units)
    assert found["layers.1.0.head"] == (0, 1)
    assert "layers.0.1.hidden" not in found  # all 72 neurons that stay: 48 and 23 of the first layers, and the least
    assert kept(draw(scores, BERT, rule), BERT, "hidden") == [48, 23, 1]


def test_ticket_keeps_the_best_of_all_layers_in_their_places():
    scores = {key: torch.zeros(axis.units) for key, axis in units_of(BERT).items()}
    best = {0: [3, 40], 1: [7], 2: [0, 1, 2, 3, 4, 5, 6, 47, 46, 45]}
    for layer, units in best.items():
        scores[f"layers.{layer}.1.hidden"][units] = 1.0
    rule = DrawConfig(heads=HeadsConfig(cut=0.0), neurons=NeuronsConfig(cut=131 / 144, multiple=1))
    found = draw(scores, BERT, rule)
    assert {key: list(units) for key, units in found.units} == {
        f"layers.{layer}.1.hidden": sorted(units) for layer, units in best.items()
    }


def test_ticket_of_nothing_is_nothing():
    assert draw(at_random(BERT, 0), BERT, DrawConfig(**NOTHING)) == Subnet()


@EVERY
def test_ticket_keeps_groups_equal_and_fits_its_encoder(encoder: EncoderConfig):
    found = draw(at_random(encoder, 4), encoder, RULE)
    small = shrink(encoder, found)
    small.check()
    axes = axes_of_encoder(encoder)
    for key, units in found.units:
        size = axes[key].units // axes[key].groups
        per_group = [sum(unit // size == group for unit in units) for group in range(axes[key].groups)]
        assert len(set(per_group)) == 1, key
        assert list(units) == sorted(units)


def test_ticket_drawn_twice_is_the_union_of_both():
    """What the second draw cuts of the small encoder, by the same scores, is what one larger draw cuts at once."""

    def rule(cut: float) -> DrawConfig:
        return DrawConfig(heads=HeadsConfig(cut=cut), neurons=NeuronsConfig(cut=cut, per="layer", multiple=1))

    scores = at_random(BERT, 7)
    first = dict(draw(scores, BERT, rule(0.25)).units)
    small = shrink(BERT, Subnet.of(first))
    left = {key: scores[key][list(units)] for key, units in first.items()}
    second = draw(left, small, rule(1 / 3)).units
    both = {key: tuple(first[key][unit] for unit in units) for key, units in second}
    assert both == dict(draw(scores, BERT, rule(0.5)).units)


def test_ticket_of_equal_widths():
    found = draw(at_random(BERT, 2), BERT, DrawConfig(neurons=NeuronsConfig(cut=0.4, per="layer", multiple=16)))
    assert kept(found, BERT, "hidden") == [16, 16, 16]  # 29 neurons stay, rounded down
    assert kept(found, BERT, "head") == [3, 3, 3]


def test_ticket_of_bert_base_has_the_papers_size():
    """4 of 12 heads of every layer and 14,746 of 36,864 neurons: 109,482,240 parameters become 77,371,238."""
    base = presets.bert_base()
    found = draw(at_random(base, 0), base, DrawConfig(neurons=NeuronsConfig(cut=0.4, multiple=1)))
    assert kept(found, base, "head") == [8] * 12
    assert sum(kept(found, base, "hidden")) == 36_864 - 14_746
    sizes = [parameters(ModelConfig(encoder=one, head=PoolerConfig())) for one in (base, shrink(base, found))]
    assert sizes == [109_482_240, 77_371_238]
    rounded = kept(draw(at_random(base, 0), base, DrawConfig()), base, "hidden")
    assert sum(rounded) == (36_864 - 14_746) // 16 * 16
    assert all(width % 16 == 0 for width in rounded)
    shapes = {n: tuple(t.shape) for n, t in skeleton(ModelConfig(encoder=shrink(base, found))).state_dict().items()}
    width = kept(found, base, "hidden")[0]
    assert shapes["encoder.layers.0.0.mixer.qkv.weight"] == (3 * 8 * 64, 768)
    assert shapes["encoder.layers.0.0.mixer.out.weight"] == (768, 8 * 64)
    assert shapes["encoder.layers.0.1.mixer.up.weight"] == (width, 768)
    assert shapes["encoder.layers.0.1.mixer.down.weight"] == (768, width)


def parameters(config: ModelConfig) -> int:
    return sum(value.numel() for value in skeleton(config).parameters())


@pytest.mark.parametrize(("length", "ratio"), [(128, 0.623), (384, 0.626), (512, 0.627)])
def test_ticket_of_bert_base_costs_what_the_formula_says(length: int, ratio: float):
    """The share of the layers' multiply-adds with 8 of 12 heads and 60% of the neurons."""
    base = presets.bert_base()
    found = draw(at_random(base, 0), base, DrawConfig(neurons=NeuronsConfig(cut=0.4, multiple=1)))
    whole, small = (macs(one, length) for one in (base, shrink(base, found)))
    assert small / whole == pytest.approx(ratio, abs=1e-3)


# one budget for heads and neurons


def macs(encoder: EncoderConfig, length: int) -> int:
    return sum(p.macs for p in cost(ModelConfig(encoder=encoder), length=length) if p.name.startswith("layers."))


@EVERY
@pytest.mark.parametrize("budget", [0.6, 0.85])
def test_ticket_fits_its_budget_and_uses_it(encoder: EncoderConfig, budget: float):
    """Never above; below it by less than the dearest chunk."""
    rule = DrawConfig(budget=budget, length=12, neurons=NeuronsConfig(multiple=4))
    found = draw(at_random(encoder, 3), encoder, rule)
    whole, small = macs(encoder, 12), macs(shrink(encoder, found), 12)
    dearest = max(
        price * (4 if kind_of(key) == "neurons" else 1) for key, price in costs(encoder, length=12).unit.items()
    )
    assert small <= budget * whole
    assert small > budget * whole - dearest - 1


def test_ticket_costs_of_units_are_those_of_the_closed_form():
    found = costs(BERT, length=16)
    assert found.unit["layers.0.0.head"] == 16 * (4 * 32 + 2 * 16) * 8
    assert found.unit["layers.0.1.hidden"] == 16 * 2 * 32
    assert found.layers == 3 * (4 * found.unit["layers.0.0.head"] + 48 * found.unit["layers.0.1.hidden"])


def test_ticket_budget_is_shared_by_what_stands_out():
    """Heads that all fell alike stay together; the neurons that fell most beside their like go."""
    scores = {
        key: torch.full((axis.units,), 0.9 if kind_of(key) == "heads" else 1.0) for key, axis in units_of(BERT).items()
    }
    scores["layers.1.1.hidden"][:40] = 0.99
    rule = DrawConfig(budget=0.9, length=16, neurons=NeuronsConfig(multiple=1))
    found = dict(draw(scores, BERT, rule).units)
    assert set(found) == {"layers.1.1.hidden"}
    assert set(range(48)) - set(found["layers.1.1.hidden"]) <= set(range(40))


# what does not fit


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"heads": HeadsConfig(cut=0.9)},
            r"ticket\.draw\.heads\.cut: 0\.9 leaves 0 of 4 heads in layers\.0\.0\.head",
        ),
        (
            {"neurons": NeuronsConfig(cut=0.99, multiple=1)},
            r"neurons\.cut: 0\.99 leaves 1 of 144 neurons in 3 layers",
        ),
        ({"neurons": NeuronsConfig(multiple=64)}, r"neurons\.multiple: 64 \(with groups\) are more than the 48"),
        (
            {"neurons": NeuronsConfig(least=49)},
            r"neurons\.least: 49 are more than layers\.0\.1\.hidden can keep",
        ),
        (
            {"budget": 0.01},
            r"ticket\.draw\.budget: 0\.01 of the multiply-adds, the least that can stay is 0\.\d+",
        ),
    ],
)
def test_ticket_that_would_empty_a_layer(rule: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        draw(at_random(BERT, 0), BERT, DrawConfig(**rule))


@EVERY
def test_ticket_masks_say_what_stays(encoder: EncoderConfig):
    found = draw(at_random(encoder, 5), encoder, RULE)
    for kind, mask in masks(encoder, found).items():
        after = [kept for key, (kept, _) in counts(encoder, found).items() if kind_of(key) == kind]
        before = [whole for key, (_, whole) in counts(encoder, found).items() if kind_of(key) == kind]
        assert (int(mask.sum()), len(mask)) == (sum(after), sum(before))
    assert all(mask.all() for mask in masks(encoder, Subnet()).values())


def test_ticket_layers_of_unequal_groups_share_one_total():
    """Chunks of 4 and of 6 units: no more than asked, and less by fewer than the smallest chunk that is left."""
    mixes = (MlpConfig(hidden=48, groups=4), MlpConfig(hidden=48, groups=2), MlpConfig(hidden=48))
    encoder = encoder_of(*(LayerConfig(mix=(mix,)) for mix in mixes))
    for cut in (0.1, 0.35, 0.6):
        rule = DrawConfig(neurons=NeuronsConfig(cut=cut, multiple=6))
        widths = kept(draw(at_random(encoder, 1), encoder, rule), encoder, "hidden")
        stay = 144 - int(cut * 144 + 0.5)
        assert stay - 12 < sum(widths) <= stay
        assert [width % math.lcm(6, mix.groups) for width, mix in zip(widths, mixes, strict=True)] == [0, 0, 0]
