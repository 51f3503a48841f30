"""A trained model in its narrow form: a Narrow put between its layers, or inside one.

Just before the last mixer that reads other rows, a narrowing changes no answer: what that mixer reads is the same, and
after it every row is on its own. `12{sf}` is `11{sf}:sf`, and `12{cgsg}` is `11{cgsg},cg:sg`. Any earlier place is a
warm start: later layers then read tokens that are frozen sooner than they were in training. Li et al. 2023,
arXiv:2301.04761 (NarrowBERT); the exact place is ours.
"""

import dataclasses
from typing import Any, NamedTuple

from ..config import StepConfig
from ..errors import InputError
from ..parts.narrow import NarrowConfig
from .encoder import EncoderConfig, mixes_tokens
from .model import Model, fill, skeleton

LAYERS = "encoder.layers."


class Place(NamedTuple):
    """Before layer `layer` (counted from 0), or inside it, before its mixer `mixer`."""

    layer: int
    mixer: int = 0


def exact_place(config: EncoderConfig) -> Place:
    """The earliest place at which a narrowing changes no answer."""
    layer, mixer = config.last_token_mixer()
    return Place(max(layer, 0), max(mixer, 0))


def is_exact(config: EncoderConfig, place: Place) -> bool:
    """Whether a narrowing at `place` changes no answer."""
    return place >= exact_place(config)


def narrow(model: Model, place: Place) -> Model:
    """The model with a narrowing at `place`, with the same weights; a layer that it stands in becomes two.

    Raises InputError where the model narrows already, where its head reads every row or has no unit for half a layer,
    and where the place is outside.
    """
    config = model.config
    _check(config.encoder, place)
    if getattr(config.head, "pool", None) == "mean":
        remedy = "fine-tune with --set pool=cls, or take the encoder alone: slimbert convert --encoder-only"
        raise InputError("config.head.pool", "mean reads every row, so that none can be left out", remedy)
    encoder = dataclasses.replace(config.encoder, layers=_layers(config.encoder, place))
    encoder.check()
    if hasattr(config.head, "units") and encoder.points() != config.encoder.points():
        remedy = "keep the model, which computes its end for wanted rows alone by itself; or give --at K, another K"
        raise InputError(
            f"--at {place.layer}", "the head answers after each layer, and one would become several", remedy
        )
    tensors = {_renamed(name, place): value.clone() for name, value in model.state_dict().items()}
    return fill(skeleton(dataclasses.replace(config, encoder=encoder)), tensors).train(model.training)


def _check(encoder: EncoderConfig, place: Place) -> None:
    for i, step in enumerate(encoder.layers):
        if isinstance(step, NarrowConfig):
            raise InputError(f"config.encoder.layers[{i}]", "narrows already", "take the model that it was made of")
    count = len(encoder.layers)
    if not 0 <= place.layer <= count:
        raise InputError("--at", f"{place.layer}, the encoder has {count} layers", f"give 0 to {count}")
    mixers = len(getattr(encoder.layers[place.layer], "mix", ())) if place.layer < count else 0
    if not 0 <= place.mixer <= max(0, mixers - 1):
        raise InputError("--at", f"mixer {place.mixer} of {mixers} in layer {place.layer}", "count from 0")


def _layers(encoder: EncoderConfig, place: Place) -> tuple[StepConfig, ...]:
    """The layers with a narrowing at `place`, which keeps a memory where something reads it."""
    before, after = list(encoder.layers[: place.layer]), list(encoder.layers[place.layer :])
    if place.mixer:
        split: Any = after[0]
        before.append(dataclasses.replace(split, mix=split.mix[: place.mixer]))
        after[0] = dataclasses.replace(split, mix=split.mix[place.mixer :])
    return (*before, NarrowConfig(memory=mixes_tokens(after)), *after)


def _renamed(name: str, place: Place) -> str:
    """Where a tensor of the wide model stands in the narrow one."""
    if not name.startswith(LAYERS):
        return name
    number, _, rest = name.removeprefix(LAYERS).partition(".")
    layer = int(number)
    if layer < place.layer:
        return name
    if layer > place.layer or not place.mixer:
        return f"{LAYERS}{layer + (2 if place.mixer else 1)}.{rest}"
    mixer, _, rest = rest.partition(".")
    if int(mixer) < place.mixer:
        return name
    return f"{LAYERS}{layer + 2}.{int(mixer) - place.mixer}.{rest}"
