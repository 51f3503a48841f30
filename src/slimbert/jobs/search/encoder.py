"""The encoder of an index: taken from any model, copied into the index, opened again from there to read queries."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from ...config import dump
from ...data.tokenizer import TextTokenizer
from ...errors import InputError
from ...model import headless, load_model, save_model
from ...model.folder import digest
from ...model.heads import EmbedConfig
from ..predict import Predictor, load


class Encoder(NamedTuple):
    """`sha256`: of all that decides a vector: config, weights, tokenizer, and the tokens that are read of a text."""

    predictor: Predictor
    sha256: str

    @property
    def dim(self) -> int:
        return self.predictor.model.config.encoder.dim

    def save(self, folder: Path) -> None:
        save_model(self.predictor.model, folder)
        self.predictor.tokenizer.save(folder)


def encoder_of(name: str | Path, *, batch_size: int, device: str | None) -> Encoder:
    """The encoder of a run, a model folder, a transformers folder or a Hub name, without the head that it does not use.

    A head that says how tokens become a vector stays. InputError for what is no encoder, or has no tokenizer.
    """
    whole = load(name, device="cpu")
    model = whole.model if isinstance(whole.model.config.head, EmbedConfig) else headless(whole.model)
    about = [dump(model.config), digest(model.state_dict()), whole.tokenizer.sha256, whole.max_len]
    sha256 = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    predictor = Predictor(model, whole.tokenizer, max_len=whole.max_len, device=device, batch_size=batch_size)
    return Encoder(predictor, sha256)


def copied(folder: Path, manifest: dict[str, Any], *, device: str | None) -> Predictor:
    """The encoder that an index holds, reading as many tokens as when the index was built."""
    model, about = load_model(folder), manifest["model"]
    if model.config.encoder.dim != manifest["dim"]:
        problem = f"vectors of {model.config.encoder.dim} numbers, the index has {manifest['dim']}"
        raise InputError(folder, problem, "build the index again")
    return Predictor(model, TextTokenizer.load(folder), max_len=about["max_len"], device=device)
