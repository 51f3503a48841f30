"""What an objective needs beside the model, and what a run leaves of it: to detect replaced tokens, a generator."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import dump, load, merge
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import EncoderConfig, Model, ModelConfig, fresh, save_model, with_dropout
from ..model.generator import generator_of
from ..model.heads import MaskedLmConfig
from ..train.objectives import MaskedLm, Objective
from ..train.recipe import Recipe
from ..train.replaced import ReplacedTokens, ReplacedTokensConfig, share_embedding
from .source import Source, open_source, take

PLACE = "recipe.objective.generator"


def with_generator(recipe: Recipe, tokenizer: TextTokenizer, *, written: Any) -> Recipe:
    """The recipe with the whole config of its generator, if it has one; `written`: what the recipe said of it.

    Raises InputError where it does not fit the model, the data, or the model that it begins with.
    """
    objective, model = recipe.objective, recipe.model.encoder
    if not isinstance(objective, ReplacedTokensConfig):
        return recipe
    asked = objective.generator
    source = None if asked.init_from is None else open_source(asked.init_from)
    found: EncoderConfig | None = source.model.config.encoder if source else asked.encoder
    if found is None:
        found = generator_of(model, width=asked.width, layers=asked.layers, narrow=asked.narrow, path=PLACE)
    shared = objective.share == "embeddings"
    own = replace(found.embedding, vocab=model.embedding.vocab)
    embedding = replace(model.embedding, width=model.embedding.width or model.dim) if shared else own
    encoder = replace(found, embedding=embedding)
    _check_written(written, embedding, shared=shared)
    encoder.check(f"{PLACE}.encoder")
    if recipe.data.seq_len is not None and embedding.max_len < recipe.data.seq_len:
        problem = f"{embedding.max_len}, the prepared data has rows of {recipe.data.seq_len}"
        raise InputError(f"{PLACE}.encoder.embedding.max_len", problem, "raise it, or prepare shorter rows")
    head = source.model.config.head if source else asked.head or MaskedLmConfig()
    if not isinstance(head, MaskedLmConfig):
        problem = f"{getattr(head, 'kind', 'none')}: a generator answers with tokens"
        raise InputError(f"{PLACE}.{'init_from' if source else 'head'}", problem, "give one with a masked_lm head")
    encoder_said = asked.encoder and replace(asked.encoder, embedding=embedding)
    for place, said, has in (("encoder", encoder_said, encoder), ("head", asked.head, head)):
        if said not in (None, has):
            raise InputError(f"{PLACE}.{place}", f"not that of {asked.init_from}", "leave it out, or init_from")
    if source:
        _check_source(source, embedding, tokenizer, shared=shared)
    return replace(recipe, objective=replace(objective, generator=replace(asked, encoder=encoder, head=head)))


def objective_of(recipe: Recipe, model: Model, *, continued: bool) -> Objective:
    """What the loop trains. continued: the model's weights are not fresh, so shared tables are the model's; otherwise
    they are those that the generator begins with."""
    config = recipe.objective
    if not isinstance(config, ReplacedTokensConfig):
        return MaskedLm(model)
    asked = config.generator
    assert asked.encoder is not None, "a recipe that is resolved has the whole generator"
    made = ModelConfig(encoder=asked.encoder, head=asked.head, special=recipe.model.special)
    generator = fresh(made, recipe.train.seed + 1)
    if asked.init_from is not None:
        source = open_source(asked.init_from)
        take(generator, source.model, f"{PLACE}.init_from")
        if config.share == "embeddings" and not continued:
            share_embedding(model, generator)
    return ReplacedTokens(model, generator, config)


def leave(objective: Objective, folder: Path, tokenizer: TextTokenizer) -> None:
    """The trained model as the model folder `folder`, and those beside it as folders of their own below."""
    save_model(objective.model, folder)
    for name, model in objective.beside().items():
        save_model(model, folder / name)
        tokenizer.save(folder / name)


def _check_written(written: Any, embedding: Any, *, shared: bool) -> None:
    """Raises InputError where the recipe says something of the generator's embedding that is not so."""
    said = written if isinstance(written, Mapping) else {}
    own = said.get("embedding")
    beside = {name: said[name] for name in ("vocab", "max_len") if name in said}  # a pattern takes them beside itself
    for place, keys in (("encoder.embedding", own if isinstance(own, Mapping) else {}), ("encoder", beside)):
        path = f"{PLACE}.{place}"
        alike = keys.get("kind", embedding.kind) == embedding.kind
        if alike and load(type(embedding), merge(dump(embedding), keys), path) == embedding:
            continue
        if shared:
            problem = "another embedding than the model's, which the generator shares"
            raise InputError(path, problem, "leave it out, or --set objective.share=none")
        raise InputError(f"{path}.vocab", f"not the {embedding.vocab} tokens of the model", "leave it out")


def _check_source(source: Source, embedding: Any, tokenizer: TextTokenizer, *, shared: bool) -> None:
    """Raises InputError where the model that a generator begins with has other tokens or, if shared, other tables."""
    own: EncoderConfig = source.model.config.encoder
    if own.embedding.vocab != embedding.vocab or (source.tokenizer and source.tokenizer.pieces != tokenizer.pieces):
        problem = f"its {own.embedding.vocab} tokens are not the {embedding.vocab} of the model"
        raise InputError(f"{PLACE}.init_from", problem, "name one that was trained with the same tokenizer")
    tables = replace(own.embedding, width=own.embedding.width or own.dim)
    if shared and with_dropout(tables, 0.0) != with_dropout(embedding, 0.0):
        problem = f"its token table is {tables.width} wide, the model's {embedding.width}, or they differ otherwise"
        raise InputError(f"{PLACE}.init_from", problem, "--set objective.share=none")
