"""Named axes: what the rows of every parameter mean, and how to keep, reorder or scale some of them.

A mixer's config names its axes, `axes = {"head": ("heads", "head_dim")}`: the field that counts the units and the rows
of one unit (a field or a number; further entries name fields that split the units into groups). Its module names the
axes of every parameter, dimension by dimension: `axes = {"out.weight": ("dim", "head")}`. In one dimension

    "head"            the units one after the other
    "head|conv_head"  two axes side by side: a fused or concatenated projection
    "~head"           the kept units first, none dropped: rows that other units read too
    "*hidden"         the groups of the axis "hidden", whose units within a group stand in another dimension
    "dim", None       the width of the encoder, or nothing that is ever cut

and `sinks = {"head": "out.weight"}` names the parameter through which all that a unit does leaves the mixer: scaling
its rows there is gating the unit. Cutting, permuting and gating follow from these declarations and work on plain
tensors, so they are differentiable.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .errors import InputError

Dims = tuple[str | None, ...]  # what each dimension of a parameter is


@dataclasses.dataclass(frozen=True)
class Subnet:
    """Units kept (in their new order) per axis, keyed `layers.3.0.head`, and the layers kept; the unnamed stay."""

    units: tuple[tuple[str, tuple[int, ...]], ...] = ()
    layers: tuple[int, ...] | None = None

    @classmethod
    def of(cls, units: Mapping[str, Iterable[int]], *, layers: Iterable[int] | None = None) -> "Subnet":
        """A Subnet from a mapping of axis key to kept units."""
        kept = tuple(sorted((key, tuple(int(u) for u in which)) for key, which in units.items()))
        return cls(kept, None if layers is None else tuple(layers))


class Axis(NamedTuple):
    """One axis of one mixer: its number of units, the rows of a unit, the groups that the units are split into."""

    field: str
    units: int
    rows: int
    groups: int


class Stretch(NamedTuple):
    """A stretch of one dimension: its axis (None: fixed rows), its size, the rows of a unit, whether all stay."""

    axis: str | None
    size: int
    rows: int
    whole: bool


def axes_of(config: Any) -> dict[str, Axis]:
    """The axes of one mixer, from its config."""
    found = {}
    for name, (field, rows, *split) in getattr(config, "axes", {}).items():
        count = rows if isinstance(rows, int) else getattr(config, rows)
        groups = math.lcm(*(getattr(config, f) for f in split))
        found[name] = Axis(field, getattr(config, field), count, groups)
    return found


def axes_of_encoder(config: Any) -> dict[str, Axis]:
    """Every axis of an encoder, keyed `layers.3.0.head`: layer, place in its mix, name."""
    return {
        f"layers.{i}.{j}.{name}": axis
        for i, layer in enumerate(config.layers)
        for j, mixer in enumerate(getattr(layer, "mix", ()))
        for name, axis in axes_of(mixer).items()
    }


def keep(axis: Axis, units: Iterable[int], key: str) -> tuple[int, ...]:
    """The kept units in an order that fits the groups. Raises InputError where they do not."""
    kept = tuple(units)
    if not kept or len(set(kept)) != len(kept) or min(kept) < 0 or max(kept) >= axis.units:
        raise InputError(key, f"cannot keep units {kept} of {axis.units}", "name at least one unit, each once, from 0")
    size = axis.units // axis.groups
    ordered = sorted(kept, key=lambda unit: unit // size)  # stable: the given order within each group
    counts = [sum(unit // size == g for unit in kept) for g in range(axis.groups)]
    if len(set(counts)) > 1:
        raise InputError(key, f"{counts} units kept in {axis.groups} groups", "keep equally many in each group")
    return tuple(ordered)


def shrink(config: Any, subnet: Subnet) -> Any:
    """The config of an encoder cut to `subnet`."""
    axes, units = axes_of_encoder(config), dict(subnet.units)
    for key in units:
        if key not in axes:
            raise InputError(key, "this encoder has no such axis", f"it has {', '.join(axes) or 'none'}"[:200])
    kept = tuple(range(len(config.layers))) if subnet.layers is None else subnet.layers
    if not kept or len(set(kept)) != len(kept) or not set(kept) <= set(range(len(config.layers))):
        raise InputError(
            "layers", f"cannot keep {kept} of {len(config.layers)}", "name at least one, each once, from 0"
        )
    layers = []
    for i in kept:
        layer = config.layers[i]
        mix = []
        for j, mixer in enumerate(getattr(layer, "mix", ())):
            sizes = {
                axis.field: len(keep(axis, units[key], key))
                for name, axis in axes_of(mixer).items()
                if (key := f"layers.{i}.{j}.{name}") in units
            }
            mix.append(dataclasses.replace(mixer, **sizes))
        layers.append(dataclasses.replace(layer, mix=tuple(mix)) if mix else layer)
    return dataclasses.replace(config, layers=tuple(layers))


class Plan:
    """How each parameter of one encoder is laid out: made once from the module, used on any tensors of its names.

    `prefix` is put before the encoder's own names ("encoder." for the parameters of a Model).
    """

    def __init__(self, encoder: nn.Module, *, prefix: str = "") -> None:
        self.prefix = prefix
        self.axes = axes_of_encoder(encoder.config)
        self.dims: dict[str, tuple[str, Dims]] = {}  # parameter -> (key of its mixer, its axes)
        self.sinks: dict[str, str] = {}  # axis key -> parameter
        for name, module in encoder.named_modules():
            if name.endswith(".mixer"):
                key = name.removesuffix(".mixer")
                spec: Mapping[str, Dims] = getattr(module, "axes", {})
                sinks: Mapping[str, str] = getattr(module, "sinks", {})
                self.dims |= {f"{prefix}{name}.{own}": (key, dims) for own, dims in spec.items()}
                self.sinks |= {f"{key}.{axis}": f"{prefix}{name}.{own}" for axis, own in sinks.items()}

    def cut(self, params: Mapping[str, Tensor], subnet: Subnet) -> dict[str, Tensor]:
        """The parameters of the encoder cut (or permuted) to `subnet`, under their names in the small encoder."""
        units = {key: keep(self.axes[key], kept, key) for key, kept in subnet.units}
        out = {}
        for name, value in params.items():
            key, dims = self.dims.get(name, ("", ()))
            for d, spec in enumerate(dims):
                if spec and not spec.startswith("*"):
                    value = self._select(value, key, dims, d, units)
            out[name] = value
        return out if subnet.layers is None else self._renumber(out, subnet.layers)

    def gate(self, params: Mapping[str, Tensor], gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters with every unit of the axes in `gates` (key -> [units]) scaled by its gate."""
        out = dict(params)
        for key, gate in gates.items():
            name, axis = self.sinks[key], key.rpartition(".")[2]
            owner, dims = self.dims[name]
            d = next(i for i, spec in enumerate(dims) if spec and axis in spec.replace("~", "").split("|"))
            value = out[name]
            flat, line, back = _flatten(value, dims, d)
            scales = [
                gate.repeat_interleave(part.rows) if part.axis == axis else gate.new_ones(part.size)
                for part in self._stretches(owner, dims[d] or "", flat.shape[line])
            ]
            scale = torch.cat(scales).to(value)  # its device, too: coefficients may have been moved
            out[name] = back(flat * scale.view(-1, *[1] * (flat.dim() - 1 - line)))
        return out

    def _stretches(self, key: str, spec: str, size: int) -> list[Stretch]:
        """What one (flattened) dimension of `size` is made of; a stretch of no known size takes the rest."""
        words = [(text.removeprefix("~"), text.startswith("~")) for text in spec.split("|")]
        axes = [self.axes.get(f"{key}.{name}") for name, _ in words]
        known = [
            axis.units * axis.rows if axis and not whole and len(words) > 1 else None
            for axis, (_, whole) in zip(axes, words, strict=True)
        ]
        rest, takers = size - sum(length or 0 for length in known), known.count(None)
        if rest < 0 or (rest % takers if takers else rest):
            raise ValueError(f"{key}: {spec!r} does not fill a dimension of {size}")
        out = []
        for (name, whole), axis, length in zip(words, axes, known, strict=True):
            length = rest // takers if length is None else length
            rows = 1 if axis is None else axis.rows if whole else length // axis.units
            out.append(Stretch(name if axis else None, length, rows, whole))
        return out

    def _select(self, value: Tensor, key: str, dims: Dims, d: int, units: Mapping[str, tuple[int, ...]]) -> Tensor:
        """The value with the kept rows of dimension d, in their order."""
        flat, line, back = _flatten(value, dims, d)
        stretches = self._stretches(key, dims[d] or "", flat.shape[line])
        if not any(f"{key}.{part.axis}" in units for part in stretches):
            return value
        taken, start = [], 0
        for part in stretches:
            kept = units.get(f"{key}.{part.axis}", range(part.size // part.rows))
            left = [unit for unit in range(part.size // part.rows) if unit not in kept] if part.whole else []
            first = start + torch.tensor([*kept, *left])[:, None] * part.rows
            taken.append((first + torch.arange(part.rows)).flatten())
            start += part.size
        return back(flat.index_select(line, torch.cat(taken).to(value.device))).contiguous()

    def _renumber(self, params: Mapping[str, Tensor], layers: tuple[int, ...]) -> dict[str, Tensor]:
        head, place = f"{self.prefix}layers.", {str(old): new for new, old in enumerate(layers)}
        out = {}
        for name, value in params.items():
            if not name.startswith(head):
                out[name] = value
            elif (number := name[len(head) :].partition("."))[0] in place:
                out[f"{head}{place[number[0]]}.{number[2]}"] = value
        return out


def _flatten(value: Tensor, dims: Dims, d: int) -> tuple[Tensor, int, Callable[[Tensor], Tensor]]:
    """The value with dimension d joined to that of its groups, the joined dimension, and the way back."""
    star = next((i for i, spec in enumerate(dims) if spec == f"*{dims[d]}"), None)
    if star is None:
        return value, d, lambda flat: flat
    groups = value.shape[star]
    joined = value.movedim((star, d), (0, 1)).flatten(0, 1)
    return joined, 0, lambda flat: flat.unflatten(0, (groups, -1)).movedim((0, 1), (star, d))
