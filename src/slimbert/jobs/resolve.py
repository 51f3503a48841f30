"""What a pretraining run begins with: its recipe, made to fit the prepared data and the model it continues from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..config import SUGAR, dump, merge, override
from ..data.shards import Shards
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model, SpecialTokens, fresh
from ..model.heads import MaskedLmConfig
from ..train.recipe import Recipe, load_recipe, with_settings
from .source import open_model

ENCODER = ("model", "encoder")


class Source(NamedTuple):
    """The model to continue from, its name, and its tokenizer where its folder holds one."""

    name: str
    model: Model
    tokenizer: TextTokenizer | None


def open_source(name: str | Path) -> Source:
    """Any encoder that can be continued: a run, a transformers folder, a Hub name."""
    model, folder, _ = open_model(name)
    return Source(str(name), model, None if folder is None else TextTokenizer.load(folder))


def resolve(
    plain: Mapping[str, Any],
    shards: Shards,
    *,
    settings: Sequence[str] = (),
    budget: str | None = None,
    source: Source | None = None,
) -> Recipe:
    """The recipe with what the data and the source decide: vocabulary, row length, special tokens; encoder, head.

    Raises InputError where a value that was written down says otherwise.
    """
    model = plain.get("model") or {}
    if isinstance(model, Mapping):
        if source is not None:
            head = source.model.config.head
            own = {"head": dump(head)} if isinstance(head, MaskedLmConfig) else {}
            model = {**model, "encoder": dump(source.model.config.encoder), **own}
        plain = {**plain, "model": {"head": dump(MaskedLmConfig()), **model}}
    recipe = load_recipe(with_settings(plain, settings, budget=budget))
    encoder, length = recipe.model.encoder, recipe.data.seq_len
    tokenizer = shards.tokenizer()
    vocab = _vocab(plain, settings, shards, tokenizer, source)
    if length not in (None, shards.seq_len):
        problem = f"{length}, the prepared data has rows of {shards.seq_len}"
        raise InputError("recipe.data.seq_len", problem, "leave it out, or prepare the data with --seq-len")
    if shards.seq_len > encoder.embedding.max_len:
        problem = f"{encoder.embedding.max_len}, the prepared data has rows of {shards.seq_len}"
        raise InputError("recipe.model.encoder.embedding.max_len", problem, "raise it, or prepare shorter rows")
    encoder = replace(encoder, embedding=replace(encoder.embedding, vocab=vocab))
    config = replace(recipe.model, encoder=encoder, special=SpecialTokens(**tokenizer.special._asdict()))
    return replace(recipe, model=config, data=replace(recipe.data, seq_len=shards.seq_len))


def begun(recipe: Recipe, source: Source | None) -> Model:
    """The recipe's model: fresh, or with the encoder of the source and, where it is the same, its head."""
    model = fresh(recipe.model, recipe.train.seed)
    if source is None:
        return model
    _take(model.encoder, source.model.encoder, source.name)
    if source.model.head is not None and model.config.head == source.model.config.head:
        _take(model.head, source.model.head, source.name)
    return model


def _vocab(
    plain: Mapping[str, Any], settings: Sequence[str], shards: Shards, tokenizer: TextTokenizer, source: Source | None
) -> int:
    """Rows of the token table: as many as the data has tokens; as the source has, if it means the same tokens."""
    set_ = override({}, [one for one in settings if one.partition("=")[0].rpartition(".")[2] not in SUGAR])
    written = merge(plain, set_)
    place = (*ENCODER, "embedding", "vocab")
    if source is not None:
        rows = int(source.model.config.encoder.embedding.vocab)
        alike = source.tokenizer is None or source.tokenizer.pieces == tokenizer.pieces
        if rows < shards.vocab_size or not alike or (source.tokenizer is None and rows != shards.vocab_size):
            problem = f"its {rows} tokens are not the {shards.vocab_size} of the prepared data"
            raise InputError(f"--init-from {source.name}", problem, "prepare the data with the tokenizer of this model")
        if _at(set_, *place) in (None, rows):
            return rows
    for keys in (place, (*ENCODER, "vocab")):  # a pattern takes it beside itself
        vocab = _at(written, *keys)
        if vocab not in (None, shards.vocab_size):
            problem = f"{vocab} tokens, the prepared data has {shards.vocab_size}"
            raise InputError(
                f"recipe.{'.'.join(keys)}", problem, "leave it out, or prepare the data with the right tokenizer"
            )
    return shards.vocab_size


def _take(module: Any, source: Any, name: str) -> None:
    """Copy the weights of `source`. Raises InputError where a setting changed a shape."""
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in source.state_dict().items()}
    for key in wanted.keys() | given.keys():
        if wanted.get(key) != given.get(key):
            problem = f"{key} is {given.get(key, 'not there')}, the recipe asks for {wanted.get(key, 'no such tensor')}"
            raise InputError(f"--init-from {name}", problem, "do not --set what the model to continue from decides")
    module.load_state_dict(source.state_dict())


def _at(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
