"""A Predictor: a model folder with its tokenizer, asked in texts, answering in the order asked."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ..data.masking import pad
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model
from ..model.folder import model_type, read_description
from ..model.heads import EmbedConfig, MaskedLmConfig, SequenceConfig, pooled
from ..state import State
from ..train.engine import choose_core, device_of
from ..train.objectives import Batch, with_first_row
from .source import open_encoder

Texts = Sequence[str] | Sequence[tuple[str, str]]


class Prediction(NamedTuple):
    """One text's answer: the best label, its probability, and that of every label."""

    text: str | tuple[str, str]
    label: str
    score: float
    scores: dict[str, float]


class Filled(NamedTuple):
    """One way to fill a mask."""

    token: str
    score: float


class Predictor:
    """`predict` for a classifier, `fill` for a masked language model, `embed` for any encoder."""

    def __init__(
        self,
        model: Model,
        tokenizer: TextTokenizer,
        *,
        max_len: int | None = None,
        task: dict[str, Any] | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self.device = device_of(device)
        self.model, self.tokenizer, self.task = model.to(self.device).eval(), tokenizer, task or {}
        self.max_len = min(max_len or 512, model.config.encoder.embedding.max_len)
        self.batch_size = batch_size
        choose_core(self.model, "auto", device=self.device, length=self.max_len)

    def predict(self, texts: Texts) -> list[Prediction]:
        """The label of each text or pair, in order. Raises InputError where the model has no labels."""
        head = self.model.config.head
        if not isinstance(head, SequenceConfig):
            kind = getattr(head, "kind", "no head")
            raise InputError("model", f"it does not classify ({kind})", "fine-tune it first: slimbert finetune")
        self._check(texts)
        scores = torch.softmax(self.logits(*self.encode(texts)), dim=-1).tolist()
        return [_prediction(text, row, head.labels) for text, row in zip(texts, scores, strict=True)]

    def embed(self, texts: Texts, *, normalise: bool = False) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """One vector per text [N, dim]: the mean of its real tokens, of length 1 where `normalise`.

        An `embed` head decides for itself how tokens become a vector.
        """
        self._check(texts)
        head = self.model.config.head
        pool = head.pool if isinstance(head, EmbedConfig) else "mean"
        normalise = normalise or (isinstance(head, EmbedConfig) and head.normalise)
        ids, types = self.encode(texts)
        out = np.empty((len(ids), self.model.config.encoder.dim), dtype=np.float32)
        for index, batch in self.batches(ids, types):
            options = {name: batch[name] for name in ("mask", "types") if name in batch}
            with torch.inference_mode():
                state = self.model.encoder(batch["input_ids"], **options).state
                vectors = pooled(state, pool)
                out[index] = (torch.nn.functional.normalize(vectors, dim=-1) if normalise else vectors).cpu().numpy()
        return out

    def fill(self, text: str, *, top: int = 5) -> list[list[Filled]]:
        """The most probable tokens for every mask in `text`, one list per mask."""
        if not isinstance(self.model.config.head, MaskedLmConfig):
            raise InputError("model", "it has no masked-LM head", "use a pretrained run")
        mask = self.tokenizer.special.mask
        ids = self.tokenizer.encode([text], self.max_len)[0]
        places = np.flatnonzero(ids == mask)
        if mask is None:
            raise InputError("model", "its tokenizer has no mask token", "use a masked language model")
        if not len(places):
            raise InputError(
                "text", f"no mask in {text!r}", f"write {self.tokenizer.pieces[mask]} where a word is missing"
            )
        with torch.inference_mode():
            rows = torch.from_numpy(ids).long()[None].to(self.device)
            select = torch.from_numpy(places)[None].to(self.device)
            state: State = self.model.encoder(rows, select=select).state
            best = torch.softmax(self.model.answer(state)[0], dim=-1).topk(top)
        return [
            [Filled(self.tokenizer.decode([int(i)]), float(p)) for i, p in zip(tokens, scores, strict=True)]
            for tokens, scores in zip(best.indices, best.values, strict=True)
        ]

    def encode(self, texts: Texts) -> tuple[list[Any], list[Any] | None]:
        """Token ids of every text, and token types where they are pairs."""
        if texts and not isinstance(texts[0], str):
            return self.tokenizer.encode_pairs(cast(Sequence[tuple[str, str]], texts), self.max_len)
        return self.tokenizer.encode(cast(Sequence[str], texts), self.max_len), None

    def logits(self, ids: list[Any], types: list[Any] | None) -> Tensor:
        """The head's answer for every row [N, C], float32 on the CPU."""
        out = torch.empty(len(ids), len(self.model.config.head.labels))  # type: ignore[union-attr]
        for index, batch in self.batches(ids, types):
            with torch.inference_mode():
                out[torch.from_numpy(index)] = classify(self.model, batch).float().cpu()
        return out

    def batches(self, ids: list[Any], types: list[Any] | None) -> Iterator[tuple[Any, Batch]]:
        """(places, batch) over rows of similar length, the longest first."""
        order = np.argsort([-len(row) for row in ids], kind="stable")
        for first in range(0, len(order), self.batch_size):
            index = order[first : first + self.batch_size]
            yield index, collate([ids[i] for i in index], types and [types[i] for i in index], self.pad_id, self.device)

    @property
    def pad_id(self) -> int:
        return self.tokenizer.special.pad or 0

    def _check(self, texts: Texts) -> None:
        if isinstance(texts, str):
            raise InputError("texts", "one string instead of a list", "write predict([text])")
        wanted = len(self.task.get("text_columns", ("text",)))
        for i, text in enumerate(texts):
            parts = (text,) if isinstance(text, str) else text
            if not isinstance(parts, tuple | list) or not all(isinstance(part, str) for part in parts):
                raise InputError(f"texts[{i}]", f"{text!r:.80} is no text", "give strings, or pairs of strings")
            given = len(parts)
            if given != wanted and isinstance(self.model.config.head, SequenceConfig):
                raise InputError(f"texts[{i}]", f"{given} texts where the model reads {wanted}", "give pairs as (a, b)")


def load(folder: str | Path, *, device: str | None = None) -> Predictor:
    """The Predictor of a run, a model folder, a transformers folder or a Hub name."""
    model, tokenizer, _ = open_encoder(folder)
    own = (Path(folder) / "config.json").is_file() and model_type(folder) == "slimbert"
    task = (read_description(folder).get("task") if own else None) or {}
    return Predictor(model, tokenizer, task=task, max_len=task.get("max_len"), device=device)


def classify(model: Model, batch: Batch) -> Tensor:
    """Logits [B, C] of a batch."""
    return model.answer(encoded(model, with_first_row(model, batch)))


def encoded(model: Model, batch: Batch) -> State:
    """The encoder's last state for a batch."""
    options = {name: batch[name] for name in ("mask", "types", "select") if name in batch}
    return model.encoder(batch["input_ids"], **options).state


def collate(ids: Sequence[Any], types: Sequence[Any] | None, pad_id: int, device: str) -> dict[str, Tensor]:
    """Rows of token ids as one batch, padded to the longest; no mask where nothing is padded."""
    batch = {"input_ids": pad(ids, pad_id, multiple=1)}
    lengths = torch.tensor([len(row) for row in ids])
    if bool((lengths < batch["input_ids"].shape[1]).any()):
        batch["mask"] = torch.arange(batch["input_ids"].shape[1]) < lengths[:, None]
    if types is not None:
        batch["types"] = pad(types, 0, multiple=1)
    return {name: value.to(device) for name, value in batch.items()}


def _prediction(text: Any, row: list[float], labels: tuple[str, ...]) -> Prediction:
    best = max(range(len(labels)), key=row.__getitem__)
    return Prediction(text, labels[best], row[best], dict(zip(labels, row, strict=True)))
