"""A Predictor: a model folder with its tokenizer, asked in texts, answering in the order asked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from ..data.sampler import similar_rows
from ..data.tagging import Tagged
from ..data.tasks import Split
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model
from ..model.exits import EarlyConfig
from ..model.folder import task_of
from ..model.heads import (
    EmbedConfig,
    MaskedLmConfig,
    ReplacedTokenConfig,
    SequenceConfig,
    SpanConfig,
    TokenConfig,
    pooled,
)
from ..train.chunked import pass_tokens
from ..train.engine import device_of
from ..train.objectives import Batch
from .depth import AskedDepth, Depth, Ran, can_stop, chosen_depth, run_adaptively
from .labelled import outputs
from .source import open_encoder
from .tasks import Description, Kind, kind_of
from .tasks.features import Features, collate

Texts = Sequence[str] | Sequence[tuple[str, str]]
FINE_TUNED = SequenceConfig | TokenConfig | SpanConfig | EarlyConfig


class Filled(NamedTuple):
    """One way to fill a mask."""

    token: str
    score: float


class Predictor:
    """`predict` for what was fine-tuned, `fill` for a masked language model, `embed` for any encoder.

    `task` is what the run says of itself; without it (`described` False) the head decides: classes of single texts.
    `depth`: how deep texts go, where the head can stop early; None: all layers.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: TextTokenizer,
        *,
        task: Description | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self.device = device_of(device)
        self.model, self.tokenizer, self.described = model.to(self.device).eval(), tokenizer, task is not None
        task = task or Description()
        self.task = replace(task, max_len=min(task.max_len, model.config.encoder.embedding.max_len))
        self.batch_size = batch_size
        self.depth: Depth | None = None

    def predict(self, texts: Texts) -> list[Any]:
        """The answer to each text or pair, in order; what it is depends on the kind of task (jobs/tasks).

        Raises InputError where the model was not fine-tuned.
        """
        kind = self.kind
        self._check(texts, len(self.task.text_columns))
        features = kind.features(Split(texts, None), labelled=False)
        return kind.answers(texts, features, self.outputs(features))

    @property
    def kind(self) -> Kind:
        """What the model answers. Raises InputError where it was not fine-tuned."""
        head = self.model.config.head
        vectors = isinstance(head, EmbedConfig) and self.task.kind == "embedding"
        if not vectors and not isinstance(head, FINE_TUNED):
            said = getattr(head, "kind", "none")
            raise InputError(
                "model", f"it was not fine-tuned (its head: {said})", "fine-tune it first: slimbert finetune"
            )
        return kind_of(self.tokenizer, self.task, getattr(head, "labels", self.task.names))

    def predict_to_depth(self, texts: Texts) -> list[dict[str, Any]]:
        """As `predict`, as mappings, with the `depth` that each text needed and whether that is `guaranteed` to be the
        answer of the full depth."""
        kind, depth = self.kind, self.depth
        self._check(texts, len(self.task.text_columns))
        assert depth is not None, "this predictor has no depth to choose"
        features = kind.features(Split(texts, None), labelled=False)
        ran = self.ran(features, depth)
        reached = np.zeros(len(texts), dtype=np.int64)
        np.maximum.at(reached, features.owner, ran.depth)  # of a text in several rows, the deepest
        return [
            {**answer._asdict(), "depth": int(units), "guaranteed": depth.guaranteed}
            for answer, units in zip(kind.answers(texts, features, ran.outputs), reached, strict=True)
        ]

    def ran(self, features: Features, depth: Depth) -> Ran:
        """What a model that can stop early says of each unit, and how deep it went."""
        size = self.batch_size
        return run_adaptively(self.model, features, depth, pad_id=self.pad_id, device=self.device, batch_size=size)

    def outputs(self, features: Features) -> list[Any]:
        """What the model says of each unit."""
        if self.depth is not None:
            return self.ran(features, self.depth).outputs
        return outputs(
            self.model,
            features,
            None,
            pad_id=self.pad_id,
            device=self.device,
            windows=self.task.merge,
            batch_size=self.batch_size,
        )[0]

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
            if pool == "cls":
                options["select"] = torch.zeros_like(batch["input_ids"][:, :1])
            with torch.inference_mode():
                state = self.model.encoder(batch["input_ids"], **options).state
                vectors = pooled(state, pool)
                out[index] = (torch.nn.functional.normalize(vectors, dim=-1) if normalise else vectors).cpu().numpy()
        return out

    def fill(self, text: str, *, top: int = 5) -> list[list[Filled]]:
        """The most probable tokens for every mask in `text`, one list per mask."""
        head = self.model.config.head
        if not isinstance(head, MaskedLmConfig):
            detects = isinstance(head, ReplacedTokenConfig)
            remedy = "use the generator/ of its run" if detects else "use a pretrained run"
            raise InputError("model", "it has no masked-LM head", remedy)
        mask = self.tokenizer.special.mask
        ids = self.tokenizer.encode([text], self.task.max_len)[0]
        places = np.flatnonzero(ids == mask)
        if not len(places):
            raise InputError(
                "text", f"no mask in {text!r}", f"write {self.tokenizer.pieces[mask]} where a word is missing"
            )
        with torch.inference_mode():
            rows = torch.from_numpy(ids).long()[None].to(self.device)
            select = torch.from_numpy(places)[None].to(self.device)
            best = torch.softmax(self.model(rows, select=select)[0], dim=-1).topk(top)
        return [
            [Filled(self.tokenizer.decode([int(i)]), float(p)) for i, p in zip(tokens, scores, strict=True)]
            for tokens, scores in zip(best.indices, best.values, strict=True)
        ]

    def encode(self, texts: Texts) -> tuple[list[Any], list[Any] | None]:
        """Token ids of every text, and token types where they are pairs."""
        if texts and not isinstance(texts[0], str):
            return self.tokenizer.encode_pairs(cast(Sequence[tuple[str, str]], texts), self.task.max_len)
        return self.tokenizer.encode(cast(Sequence[str], texts), self.task.max_len), None

    def batches(self, ids: list[Any], types: list[Any] | None) -> Iterator[tuple[Any, Batch]]:
        """(places, batch) over rows of similar length, the longest first."""
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        for index in similar_rows(lengths, most=self.batch_size, pass_tokens=pass_tokens(self.device)):
            batch = collate([ids[i] for i in index], types and [types[i] for i in index], self.pad_id)
            yield index, {name: value.to(self.device) for name, value in batch.items()}

    @property
    def pad_id(self) -> int:
        return self.tokenizer.special.pad

    def _check(self, texts: Texts, wanted: int | None = None) -> None:
        if isinstance(texts, str):
            raise InputError("texts", "one string instead of a list", "write predict([text])")
        for i, text in enumerate(texts):
            if isinstance(text, Tagged):  # words of a file
                continue
            parts = (text,) if isinstance(text, str) else text
            if not isinstance(parts, tuple | list) or not all(isinstance(part, str) for part in parts):
                raise InputError(f"texts[{i}]", f"{text!r:.80} is no text", "give strings, or pairs of strings")
            given = len(parts)
            if wanted is not None and given != wanted:
                raise InputError(f"texts[{i}]", f"{given} texts where the model reads {wanted}", "give pairs as (a, b)")


def load(
    folder: str | Path,
    *,
    device: str | None = None,
    depth: AskedDepth | str | None = None,
) -> Predictor:
    """The Predictor of a run, a model folder, a transformers folder or a Hub name.

    depth: of a run that can stop early, see jobs/depth/choose.py; by default its answers are those of all layers.
    """
    model, tokenizer, _ = open_encoder(folder)
    said = task_of(folder)
    made = Predictor(model, tokenizer, task=None if said is None else Description.read(said), device=device)
    if can_stop(model) or depth not in (None, AskedDepth()):
        made.depth = chosen_depth(model, made.kind, depth, run=folder)
    return made
