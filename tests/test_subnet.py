"""The notation of axes on plain tensors: what each word of it keeps, reorders and scales."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.subnet import Axis, Plan, Subnet, axes_of, axes_of_encoder, keep, shrink
from toys import encoder_of, toy_encoder


class Bare(nn.Module):
    """Stands for an encoder: one layer of one mixer whose parameters are declared by hand."""

    def __init__(self, config: object, axes: dict[str, tuple[str | None, ...]], sinks: dict[str, str]) -> None:
        super().__init__()
        self.config = encoder_of(config)
        residual, mixer = nn.Module(), nn.Module()
        mixer.axes, mixer.sinks = axes, sinks  # type: ignore[assignment]
        residual.mixer = mixer
        self.layers = nn.ModuleList([nn.ModuleList([residual])])


def cut(config: object, dims: tuple[str | None, ...], value: torch.Tensor, **units: list[int]) -> torch.Tensor:
    name = "layers.0.0.mixer.w"
    subnet = Subnet.of({f"layers.0.0.{axis}": kept for axis, kept in units.items()})
    return Plan(Bare(config, {"w": dims}, {})).cut({name: value}, subnet)[name]


MIXED = MixedAttentionConfig(heads=3, conv_heads=2, span_heads=4, head_dim=2)


@pytest.mark.parametrize(
    ("spec", "size", "units", "rows"),
    [
        ("head", 6, {"head": [2, 0]}, [4, 5, 0, 1]),
        ("head", 3, {"head": [2, 0]}, [2, 0]),  # one row per unit: the rows follow from the size
        ("head|conv_head", 10, {"head": [1]}, [2, 3, 6, 7, 8, 9]),
        ("head|conv_head", 10, {"conv_head": [1], "head": [2]}, [4, 5, 8, 9]),
        ("~head", 8, {"head": [2, 0]}, [4, 5, 0, 1, 2, 3, 6, 7]),
        ("~head|head|conv_head", 18, {"head": [1]}, [2, 3, 0, 1, 4, 5, 6, 7, 10, 11, 14, 15, 16, 17]),
        ("head|dim", 9, {"head": [0]}, [0, 1, 6, 7, 8]),  # a fixed stretch takes what is left
        ("dim", 5, {"head": [0]}, [0, 1, 2, 3, 4]),
    ],
)
def test_each_word_keeps_its_rows(spec: str, size: int, units: dict[str, list[int]], rows: list[int]):
    value = torch.arange(size)
    assert cut(MIXED, (spec,), value, **units).tolist() == rows
    assert_close(cut(MIXED, (None, spec), value.expand(3, -1).contiguous(), **units), torch.tensor([rows] * 3))


def test_groups_keep_equally_many():
    config = MlpConfig(hidden=6, groups=2)
    value = torch.arange(24).view(2, 3, 4)  # [G, hidden/G, dim/G]
    kept = cut(config, ("*hidden", "hidden", None), value, hidden=[5, 3, 1, 0])
    assert_close(kept, torch.stack([value[0, [1, 0]], value[1, [2, 0]]]))
    turned = cut(config, (None, "hidden", "*hidden"), value.permute(2, 1, 0), hidden=[5, 3, 1, 0])
    assert_close(turned, kept.permute(2, 1, 0))
    with pytest.raises(InputError, match=r"layers\.0\.0\.hidden: \[2, 1\] units kept in 2 groups"):
        cut(config, ("*hidden", "hidden", None), value, hidden=[0, 1, 3])


def test_gates_scale_the_rows_of_their_unit():
    plan = Plan(Bare(MIXED, {"w": (None, "head|conv_head")}, {"head": "w", "conv_head": "w"}))
    gates = {"layers.0.0.conv_head": torch.tensor([5.0, 7.0]), "layers.0.0.head": torch.tensor([1.0, 2.0, 3.0])}
    gated = plan.gate({"layers.0.0.mixer.w": torch.ones(2, 10)}, gates)["layers.0.0.mixer.w"]
    assert gated.tolist() == [[1, 1, 2, 2, 3, 3, 5, 5, 7, 7]] * 2
    grouped = Plan(Bare(MlpConfig(hidden=4, groups=2), {"w": ("*hidden", "hidden", None)}, {"hidden": "w"}))
    gated = grouped.gate({"layers.0.0.mixer.w": torch.ones(2, 2, 3)}, {"layers.0.0.hidden": torch.arange(4.0)})
    assert gated["layers.0.0.mixer.w"][..., 0].tolist() == [[0, 1], [2, 3]]


def test_a_declaration_that_does_not_fill_its_dimension_is_a_bug():
    with pytest.raises(ValueError, match="does not fill a dimension of 9"):
        cut(MIXED, ("head|conv_head",), torch.arange(9), head=[0])


def test_axes_follow_from_configs():
    assert axes_of(MIXED) == {"head": Axis("heads", 3, 2, 1), "conv_head": Axis("conv_heads", 2, 2, 1)}
    assert axes_of(MlpConfig(hidden=24, groups=2, up_groups=3)) == {"hidden": Axis("hidden", 24, 1, 6)}
    assert list(axes_of_encoder(toy_encoder())) == [
        "layers.0.0.head", "layers.0.0.conv_head", "layers.0.1.hidden", "layers.1.1.hidden", "layers.1.2.head",
        "layers.3.0.head", "layers.3.0.conv_head", "layers.3.2.hidden", "layers.4.0.head", "layers.4.1.hidden",
    ]  # fmt: skip


def test_kept_units_are_ordered_by_group_and_otherwise_as_given():
    assert keep(Axis("hidden", 6, 1, 2), [5, 2, 3, 0], "k") == (2, 0, 5, 3)
    assert keep(Axis("hidden", 6, 1, 1), [5, 2, 3, 0], "k") == (5, 2, 3, 0)


def test_shrink_changes_the_counted_fields_and_nothing_else():
    encoder = toy_encoder()
    small = shrink(encoder, Subnet.of({"layers.0.0.conv_head": [1], "layers.0.1.hidden": [0, 16, 32, 48]}))
    mixed, mlp = small.layers[0].mix
    assert mixed == dataclasses.replace(encoder.layers[0].mix[0], conv_heads=1)
    assert mlp == dataclasses.replace(encoder.layers[0].mix[1], hidden=4)
    assert dataclasses.replace(small, layers=encoder.layers) == encoder
    assert small.layers[1:] == encoder.layers[1:]


def test_subnets_are_values():
    one = Subnet.of({"b": torch.tensor([1, 0]), "a": range(2)}, layers=[0, 2])
    assert one == Subnet((("a", (0, 1)), ("b", (1, 0))), (0, 2))
    assert hash(one) == hash(Subnet.of({"a": [0, 1], "b": (1, 0)}, layers=(0, 2)))


def test_gates_scale_weights_on_another_device():
    """Coefficients of a search are kept on the CPU, wherever the model is."""
    encoder = toy_encoder().build()
    plan = Plan(encoder)
    params = {name: value.detach().to("meta") for name, value in encoder.named_parameters()}
    gates = {key: torch.ones(axis.units) for key, axis in plan.axes.items()}
    assert all(value.is_meta for value in plan.gate(params, gates).values())
