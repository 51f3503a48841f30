"""Positions against their closed forms."""

import math

import pytest
import torch
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.position import Alibi, AlibiConfig, Rotary, RotaryConfig, alibi_slopes
from slimbert.state import Context
from toys import Batch, encoder_of, mixer_of


def test_slopes_of_a_power_of_two_are_a_geometric_series():
    assert alibi_slopes(8) == [2.0**-h for h in range(1, 9)]  # the paper's example
    assert alibi_slopes(16) == pytest.approx([2 ** (-h / 2) for h in range(1, 17)])
    assert alibi_slopes(1) == [2.0**-8]


@pytest.mark.parametrize("heads", [3, 6, 12, 20])
def test_other_slopes_follow_the_published_rule(heads: int):
    """The lower power of two's slopes, then every second one of the next power's, from the first on."""
    lower = 2 ** math.floor(math.log2(heads))
    assert alibi_slopes(heads) == pytest.approx(alibi_slopes(lower) + alibi_slopes(2 * lower)[0::2][: heads - lower])
    assert len(set(alibi_slopes(heads))) == heads


def test_alibi_falls_linearly_on_both_sides():
    rows, columns = torch.tensor([[2, 0]]), torch.arange(5)[None]
    bias = Alibi(2).bias(rows, columns)
    assert bias is not None
    assert bias.shape == (1, 2, 2, 5)
    slope = 2.0**-4
    assert_close(bias[0, 0, 0], -slope * torch.tensor([2.0, 1, 0, 1, 2]))
    assert_close(bias[0, 1, 1], -(slope**2) * torch.arange(5.0))


def test_rotary_is_a_turn_by_the_place():
    """The first pair of halves turns by the place itself, the others ever slower; lengths stay."""
    x = torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    place = torch.tensor([[0, 1, 5, 9]])
    turned = Rotary(10000.0, 6).turn(x, place)
    for pair in range(3):
        angle = place[0] * 10000.0 ** (-pair / 3)
        z = torch.complex(x[0, 0, :, pair], x[0, 0, :, pair + 3]) * torch.polar(torch.ones(4), angle.float())
        assert_close(turned[0, 0, :, pair], z.real, rtol=1e-5, atol=1e-5)
        assert_close(turned[0, 0, :, pair + 3], z.imag, rtol=1e-5, atol=1e-5)
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_rotary_scores_see_differences_only():
    q, k = torch.randn(2, 1, 1, 7, 8, generator=torch.Generator().manual_seed(0))
    rotary, place = Rotary(10000.0, 8), torch.arange(7)[None]

    def scores(shift: int) -> torch.Tensor:
        return rotary.turn(q, place + shift) @ rotary.turn(k, place + shift).transpose(-1, -2)

    assert_close(scores(100), scores(0), rtol=1e-4, atol=1e-4)  # angles of up to 106 radians in float32
    assert (scores(0) - q @ k.transpose(-1, -2)).abs().max() > 0.1


@pytest.mark.parametrize("position", [RotaryConfig(), AlibiConfig(), None])
def test_only_positions_tell_the_order(position: object):
    mixer = mixer_of(AttentionConfig(heads=4, head_dim=8, position=position))
    x = Batch().x
    y, turned = mixer(x, Context(x)), mixer(x.flip(1), Context(x.flip(1))).flip(1)
    same = torch.allclose(y, turned, atol=1e-5)
    assert same == (not isinstance(position, RotaryConfig))  # symmetric ALiBi cannot tell a row from its mirror image
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mixed = mixer(x[:, order], Context(x[:, order]))
    assert torch.allclose(mixed, y[:, order], atol=1e-5) == (position is None)


def test_positions_keep_the_dtype_under_autocast():
    mixer, x = mixer_of(AttentionConfig(heads=4, head_dim=8, position=RotaryConfig())), Batch().x
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mixer(x, Context(x)).dtype == torch.bfloat16
    alibi = mixer_of(AttentionConfig(heads=4, head_dim=8, position=AlibiConfig()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(alibi(x, Context(x)).float(), alibi(x, Context(x)).float())


def test_rotary_turns_pairs():
    with pytest.raises(InputError, match=r"mix\[0\]\.head_dim: rotary positions turn pairs, 7 is odd"):
        encoder_of(AttentionConfig(heads=2, head_dim=7, position=RotaryConfig())).check()
