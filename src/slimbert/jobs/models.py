"""Model folders: with fresh weights by a preset, a pattern or YAML; converted from and to transformers' layouts; with
a narrowing."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..config import dump, load, override
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import EncoderConfig, Model, ModelConfig, Place, SpecialTokens, exact_place, fresh, headless, save_model
from ..model import narrow as narrowed_model
from ..model.folder import task_of
from ..model.heads import MaskedLmConfig
from ..model.model import parameter_count, usual_special
from ..model.narrowing import is_exact
from ..model.presets import PRESETS, is_pattern
from ..parts.mixed import Padding
from ..train.recipe import read_recipe
from .source import open_model

SUFFIXES = (".yaml", ".yml", ".json")  # of files that describe a model
SIZES = ("dim", "head_dim", "hidden", "vocab", "max_len", "wiring")  # what a pattern takes before it is expanded
PATHS = {"dim": "encoder.dim", "vocab": "encoder.embedding.vocab", "max_len": "encoder.embedding.max_len"}


class Made(NamedTuple):
    """A model folder that was written."""

    folder: str
    layers: int
    dim: int
    vocab: int
    head: str | None
    parameters: int
    tokenizer: bool
    notes: tuple[str, ...]


def init(
    name: str | Path,
    *,
    out: str | Path,
    settings: Sequence[str] = (),
    tokenizer: str | Path | None = None,
    seed: int = 0,
) -> Made:
    """Write a folder with fresh weights of a preset, a pattern, or a YAML file of a model (or of a recipe).

    `settings` are `name=value`: paths in the ModelConfig (`encoder.dim`), for patterns also the names in SIZES. With a
    `tokenizer`, its files are copied and its size and special ids are the model's; without one, 30,522 tokens are taken
    for BERT's. `out` must be new or empty.
    """
    must_be_free(out)
    config = configure(name, settings)
    pieces = None if tokenizer is None else TextTokenizer.load(tokenizer)
    if pieces is not None:
        config = _fitted(config, pieces, explicit=any(re.search(r"(^|\.)vocab=", s) for s in settings))
    elif config.special is None:
        config = replace(config, special=usual_special(config.encoder.embedding.vocab))
    return _write(fresh(config, seed), out, pieces, ())


def convert(
    name: str | Path,
    *,
    out: str | Path,
    to: str = "slimbert",
    layout: str | None = None,
    encoder_only: bool = False,
    padding: Padding = "masked",
) -> Made:
    """Read a model folder or Hub name and write it as ours, or `to` "transformers" in a layout (None: one that fits).

    The tokenizer comes along, the head unless `encoder_only`. `padding`: what the convolutions of a transformers
    folder read there. `out` must be new or empty.
    """
    must_be_free(out)
    model, folder, notes = open_model(name, padding=padding)
    pieces = None if folder is None else TextTokenizer.load(folder)
    if encoder_only:
        model = headless(model)
    if to == "slimbert":
        return _write(model, out, pieces, notes, task=None if encoder_only else task_of(name))
    from ..hf import convert as layouts  # only here: our own folders are written without it

    said = layouts.write(model, out, layout)
    if pieces is not None:
        pieces.save(out)
    told = (*notes, f"written in the layout {said}{layouts.LAYOUTS[said].remark}", *layouts.caution(said, model.config))
    return _made(model, out, pieces, tuple(dict.fromkeys(told)))


def narrow(name: str | Path, *, out: str | Path, at: int | None = None, exact: bool = False) -> Made:
    """Write a model in its narrow form. Head, tokenizer and labels come along. `out` must be new or empty.

    `at`: layers that still compute all rows; the others compute those that are wanted. `exact`: instead, the earliest
    place at which no answer changes.
    """
    if exact == (at is not None):
        raise InputError("--at", "and --exact exclude each other" if exact else "is missing", "give --at K, or --exact")
    must_be_free(out)
    model, folder, notes = open_model(name)
    pieces = None if folder is None else TextTokenizer.load(folder)
    encoder = model.config.encoder
    place = exact_place(encoder) if at is None else Place(at)
    made = narrowed_model(model, place)
    return _write(made, out, pieces, (*notes, _about(encoder, place)), task=task_of(name))


def configure(name: str | Path, settings: Sequence[str] = ()) -> ModelConfig:
    """The ModelConfig of a preset, a pattern, or a YAML file; one that says nothing of a head gets a masked-LM head.

    Raises InputError on an unknown name, a wrong key or value, and parts that do not fit together.
    """
    text = str(name)
    if text in PRESETS:
        data: dict[str, Any] = {"encoder": {"preset": text}}
    elif Path(text).suffix in SUFFIXES:
        data = _of_file(text)
    elif is_pattern(text):
        sizes = [setting for setting in settings if setting.partition("=")[0] in SIZES]
        settings = [setting for setting in settings if setting not in sizes]
        data = {"encoder": {"pattern": text, **override({}, sizes)}}
    else:
        near = difflib.get_close_matches(text, PRESETS, n=1)
        known = f"presets: {', '.join(PRESETS)}; a pattern: 12{{sf}}"
        problem = "no such preset, pattern or YAML file"
        raise InputError(text, problem, f"did you mean {near[0]}?" if near else known)
    settings = [setting.removeprefix("model.") for setting in settings]  # as in a recipe and in config.json
    _refuse_short_names(settings)
    plain = override({"head": dump(MaskedLmConfig()), **data}, list(settings))
    config = load(ModelConfig, plain)
    config.encoder.check()
    return config


def must_be_free(out: str | Path) -> None:
    """Raises InputError where `out` is a file or a folder with something in it."""
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise InputError(out, "is a file", "choose a folder for --out")
    if path.exists() and any(path.iterdir()):
        raise InputError(out, "not empty", "choose another --out, or empty it")


def _refuse_short_names(settings: Sequence[str]) -> None:
    """Raises InputError where a setting has a name that only patterns take; says the path that is meant."""
    for setting in settings:
        name, _, value = setting.partition("=")
        if name in SIZES:
            path = PATHS.get(name)
            remedy = f"write {path}={value}" if path else "it differs by layer: start from a pattern such as 12{sf}"
            raise InputError(f"--set {name}", "a short name, for patterns alone", remedy)


def _of_file(path: str) -> dict[str, Any]:
    """The model in a YAML or JSON file: a ModelConfig, the `model` of a recipe or config.json, or a bare encoder."""
    data = read_recipe(path)
    found = data.get("model", data)
    if not isinstance(found, dict):
        raise InputError(f"{path}: model", f"{found!r} is not a mapping"[:120], "write `encoder:` below it")
    return found if "encoder" in found or "head" in found else {"encoder": found}


def _fitted(config: ModelConfig, tokenizer: TextTokenizer, *, explicit: bool) -> ModelConfig:
    """The config with the tokenizer's size and special ids. Raises InputError where an explicit size is too small."""
    asked, rows = config.encoder.embedding.vocab, tokenizer.vocab_size
    if explicit and asked < rows:
        raise InputError("--set vocab", f"{asked}, the tokenizer has {rows} pieces", "leave it out or raise it")
    embedding = replace(config.encoder.embedding, vocab=asked if explicit else rows)
    special = SpecialTokens(**tokenizer.special._asdict())
    return replace(config, encoder=replace(config.encoder, embedding=embedding), special=special)


def _about(encoder: EncoderConfig, place: Place) -> str:
    """What a narrowing at `place` means for the answers."""
    where = f"before layer {place.layer}" + (f", mixer {place.mixer}" if place.mixer else "")
    if is_exact(encoder, place):
        return f"narrows {where}: the answers are those of the whole model"
    return f"narrows {where}: a warm start, other answers than the whole model's until it is trained on"


def _write(
    model: Model,
    out: str | Path,
    tokenizer: TextTokenizer | None,
    notes: tuple[str, ...],
    *,
    task: dict[str, Any] | None = None,
) -> Made:
    save_model(model, out, extra={"task": task} if task else {})
    if tokenizer is not None:
        tokenizer.save(out)
    return _made(model, out, tokenizer, notes)


def _made(model: Model, out: str | Path, tokenizer: TextTokenizer | None, notes: tuple[str, ...]) -> Made:
    encoder = model.config.encoder
    head = getattr(model.config.head, "kind", None)
    layers, size = encoder.depth(), parameter_count(model)
    return Made(str(out), layers, encoder.dim, encoder.embedding.vocab, head, size, tokenizer is not None, notes)
