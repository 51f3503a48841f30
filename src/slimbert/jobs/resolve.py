"""What a pretraining run begins with: its recipe, made to fit the prepared data and the model it continues from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..config import KINDS, SUGAR, dump, merge, override
from ..data.shards import Shards
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model, SpecialTokens, fresh
from ..model.heads import MaskedLmConfig
from ..train.recipe import Recipe, load_recipe, with_settings
from .objective import with_generator
from .source import Source, take

ENCODER = ("model", "encoder")
GENERATOR = ("objective", "generator", "encoder")


def resolve(
    plain: Mapping[str, Any],
    shards: Shards,
    *,
    settings: Sequence[str] = (),
    budget: str | None = None,
    source: Source | None = None,
) -> Recipe:
    """The recipe with what the data, the source and the objective decide: vocabulary, row length, special tokens;
    encoder; head, generator.

    Raises InputError where a value that was written down says otherwise.
    """
    model, head = plain.get("model") or {}, _head(plain, settings)
    if isinstance(model, Mapping):
        if source is not None:
            old = source.model.config.head
            own = {"head": dump(old)} if isinstance(old, head) else {}
            model = {**model, "encoder": dump(source.model.config.encoder), **own}
        plain = {**plain, "model": {"head": dump(head()), **model}}
    recipe = load_recipe(with_settings(plain, settings, budget=budget))
    if not isinstance(recipe.model.head, head):
        problem = f"{getattr(recipe.model.head, 'kind', 'none')}, {recipe.objective.kind} trains a {head.kind}"
        raise InputError("recipe.model.head", problem, f"leave it out, or --set 'model.head={{kind: {head.kind}}}'")
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
    recipe = replace(recipe, model=config, data=replace(recipe.data, seq_len=shards.seq_len))
    return with_generator(recipe, tokenizer, written=_at(merge(plain, _set(settings)), *GENERATOR))


def begun(recipe: Recipe, source: Source | None) -> Model:
    """The recipe's model: fresh, or with the encoder of the source and, where it is the same, its head."""
    model = fresh(recipe.model, recipe.train.seed)
    if source is None:
        return model
    place = f"--init-from {source.name}"
    take(model.encoder, source.model.encoder, place)
    if source.model.head is not None and model.config.head == source.model.config.head:
        take(model.head, source.model.head, place)
    return model


def _head(plain: Mapping[str, Any], settings: Sequence[str]) -> Any:
    """The kind of head that the recipe's objective trains."""
    said = override({"objective": plain.get("objective")}, [one for one in settings if one.startswith("objective")])
    return getattr(KINDS["objective"].get(str(_at(said, "objective", "kind"))), "head", MaskedLmConfig)


def _vocab(
    plain: Mapping[str, Any], settings: Sequence[str], shards: Shards, tokenizer: TextTokenizer, source: Source | None
) -> int:
    """Rows of the token table: as many as the data has tokens; as the source has, if it means the same tokens."""
    set_ = _set(settings)
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


def _set(settings: Sequence[str]) -> Any:
    """What `--set` writes, as plain data, but for sugar."""
    return override({}, [one for one in settings if one.partition("=")[0].rpartition(".")[2] not in SUGAR])


def _at(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
