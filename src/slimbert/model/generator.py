"""The generator that goes with an encoder: the same layers, narrower.

ELECTRA's rule (Clark et al. 2020, arXiv:2003.10555, appendix A): as many layers; the width, the hidden units and the
number of heads a quarter (base: a third), at least one head, heads as wide as before. ConvBERT's generators (Jiang et
al. 2020, arXiv:2008.02496, the published code) follow it with both their kinds of heads. Here it is said of named axes,
so that it holds for every mixer.
"""

import dataclasses
from typing import Any

from ..errors import InputError
from ..parts.narrow import NarrowConfig
from ..subnet import axes_of
from .encoder import EncoderConfig, mixes_tokens


def generator_of(
    encoder: EncoderConfig,
    *,
    width: float = 0.25,
    layers: int | None = None,
    narrow: int | None = None,
    path: str = "generator",
) -> EncoderConfig:
    """`width` times as wide, its first `layers` (None: all); it embeds with a table as wide as that of `encoder`.

    narrow: the number of layers after which only the wanted rows stay; None: as in `encoder`. Raises InputError with
    `path` where there are not so many layers.
    """
    dim = max(1, round(width * encoder.dim))
    steps = [step for step in encoder.layers if narrow is None or not isinstance(step, NarrowConfig)]
    ends = [i + 1 for i, step in enumerate(steps) if hasattr(step, "mix")]
    if layers is not None and layers > len(ends):
        raise InputError(f"{path}.layers", f"{layers}, the model has {len(ends)}", "give as many at most")
    made = [_smaller(step, dim, encoder.dim) for step in (steps if layers is None else steps[: ends[layers - 1]])]
    if narrow is not None:
        count = len(ends) if layers is None else layers
        if narrow >= count:
            raise InputError(f"{path}.narrow", f"{narrow}, the generator has {count} layers", "narrow before the last")
        place = ([0, *ends])[narrow]
        made.insert(place, NarrowConfig(memory=mixes_tokens(made[place:])))
    embedding = dataclasses.replace(encoder.embedding, width=encoder.embedding.width or encoder.dim)
    return dataclasses.replace(encoder, dim=dim, embedding=embedding, layers=tuple(made))


def _smaller(step: Any, dim: int, of: int) -> Any:
    """A step for the width `dim` instead of `of`: each mixer with that share of its units, in whole groups."""
    if not _mix(step):
        return step
    mix = []
    for mixer in _mix(step):
        heads = {f.name: 1 for f in dataclasses.fields(mixer) if f.name.endswith("heads")}  # also those of no axis
        groups = heads | {axis.field: axis.groups for axis in axes_of(mixer).values()}
        counts = {field: getattr(mixer, field) * dim // of for field in groups}
        sizes = {field: max(1, counts[field] // split) * split for field, split in groups.items()}
        mix.append(dataclasses.replace(mixer, **sizes))
    return dataclasses.replace(step, mix=tuple(mix))


def _mix(step: Any) -> tuple[Any, ...]:
    return getattr(step, "mix", ())
