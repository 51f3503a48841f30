"""Heads: encoded states to answers.

A head is called with the State of the rows it shall answer for, and the token table of the embedding (a tied decoder
owns no copy of it).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import HeadConfig, NormConfig, Share, kind
from ..errors import InputError
from ..parts.activation import Activation, activation
from ..parts.dropout import Dropout
from ..parts.norm import LayerNormConfig
from ..state import State

Pool = Literal["cls", "mean"]
Answer = Literal["class", "labels", "number"]  # of a text
Answers = Literal["class", "labels", "number", "tags"]  # of a text, or of each of its words
LEAST: dict[Answers, int] = {"class": 2, "tags": 2, "labels": 1, "number": 1}  # names that an answer has


@kind("masked_lm", role="head")
class MaskedLmConfig:
    """`tied`: the decoder is the token table of the embedding."""

    act: Activation = "gelu"
    norm: NormConfig = LayerNormConfig()
    tied: bool = True

    def build(self, dim: int, *, vocab: int, width: int) -> "MaskedLm":
        return MaskedLm(self, dim, vocab, width)


class MaskedLm(nn.Module):
    """State of rows [B, K, dim] -> logits [B, K, V]: norm(act(dense x)) table' + bias.

    dim * width + width * V multiply-adds per row. Devlin et al. 2018, arXiv:1810.04805.
    """

    def __init__(self, config: MaskedLmConfig, dim: int, vocab: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, width)
        self.act = activation(config.act)
        self.norm = config.norm.build(width)
        self.decoder = None if config.tied else nn.Linear(width, vocab, bias=False)
        self.bias = nn.Parameter(torch.empty(vocab))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def forward(self, state: State, table: Tensor) -> Tensor:
        x = self.norm(self.act(self.dense(state.x)))
        return functional.linear(x, table if self.decoder is None else self.decoder.weight, self.bias)


@kind("replaced_token", role="head")
class ReplacedTokenConfig:
    """Whether a token is the one that was written there, or another one in its place."""

    act: Activation = "gelu"

    def build(self, dim: int, *, vocab: int, width: int) -> "ReplacedToken":
        return ReplacedToken(self, dim)


class ReplacedToken(nn.Module):
    """State of rows [B, K, dim] -> scores [B, K, 1], above 0 where the token was replaced: out(act(dense x)).

    dim^2 + dim multiply-adds per row. Clark et al. 2020, arXiv:2003.10555, section 2; the dense layer is their code's.
    """

    def __init__(self, config: ReplacedTokenConfig, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.act = activation(config.act)
        self.out = nn.Linear(dim, 1)

    def forward(self, state: State, table: Tensor) -> Tensor:
        return self.out(self.act(self.dense(state.x)))


@kind("sequence", role="head")
class SequenceConfig:
    """One answer per text or pair: the `class` it has, all the `labels` that fit it, or a `number`, which has one name.

    `hidden`: activation of a dense layer before the answers (BERT's pooler: tanh). A number is `mean` + `deviation`
    times what the last layer says, so that the network need not learn the unit of the labels.
    """

    labels: tuple[str, ...]
    pool: Pool = "cls"
    hidden: Activation | None = "tanh"
    dropout: Share = 0.0
    answer: Answer = "class"
    mean: float = 0.0
    deviation: float = 1.0

    def check(self, path: str) -> None:
        check_labels(self.labels, self.answer, path)
        if not self.deviation > 0:
            raise InputError(f"{path}.deviation", f"{self.deviation} is no deviation", "give a positive number")

    def build(self, dim: int, *, vocab: int, width: int) -> "Sequence":
        return Sequence(self, dim)


class Sequence(nn.Module):
    """State [B, S, dim] -> logits [B, C]; dim^2 + dim * C multiply-adds per text."""

    def __init__(self, config: SequenceConfig, dim: int) -> None:
        super().__init__()
        self.pool, self.mean, self.deviation = config.pool, config.mean, config.deviation
        self.dense = nn.Linear(dim, dim) if config.hidden else None
        self.act = activation(config.hidden) if config.hidden else None
        self.dropout = Dropout(config.dropout)
        self.classes = nn.Linear(dim, len(config.labels))

    def forward(self, state: State, table: Tensor) -> Tensor:
        x = pooled(state, self.pool)
        if self.dense is not None and self.act is not None:
            x = self.act(self.dense(x))
        answer = self.classes(self.dropout(x))
        return answer if (self.mean, self.deviation) == (0.0, 1.0) else self.mean + self.deviation * answer


@kind("token", role="head")
class TokenConfig:
    """One label per token: tags of words, read at their first pieces."""

    labels: tuple[str, ...]
    dropout: Share = 0.0

    def check(self, path: str) -> None:
        check_labels(self.labels, "tags", path)

    def build(self, dim: int, *, vocab: int, width: int) -> "Token":
        return Token(self, dim)


class Token(nn.Module):
    """State of rows [B, K, dim] -> logits [B, K, C]; dim * C multiply-adds per row. Devlin et al. 2018, section 5.3."""

    def __init__(self, config: TokenConfig, dim: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.classes = nn.Linear(dim, len(config.labels))

    def forward(self, state: State, table: Tensor) -> Tensor:
        return self.classes(self.dropout(state.x))


@kind("span", role="head")
class SpanConfig:
    """Where an answer starts and ends: two scores per token. Devlin et al. 2018, arXiv:1810.04805, section 4.2."""

    dropout: Share = 0.0

    def build(self, dim: int, *, vocab: int, width: int) -> "Span":
        return Span(self, dim)


class Span(nn.Module):
    """State of rows [B, K, dim] -> scores of start and end [B, K, 2]; 2 * dim multiply-adds per row."""

    def __init__(self, config: SpanConfig, dim: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.ends = nn.Linear(dim, 2)

    def forward(self, state: State, table: Tensor) -> Tensor:
        return self.ends(self.dropout(state.x))


@kind("embed", role="head")
class EmbedConfig:
    """One vector per text, of length 1 where `normalise`."""

    pool: Pool = "mean"
    normalise: bool = True

    def build(self, dim: int, *, vocab: int, width: int) -> "Embed":
        return Embed(self)


class Embed(nn.Module):
    """State [B, S, dim] -> vectors [B, dim]; no multiply-adds that count."""

    def __init__(self, config: EmbedConfig) -> None:
        super().__init__()
        self.pool, self.normalise = config.pool, config.normalise

    def forward(self, state: State, table: Tensor) -> Tensor:
        x = pooled(state, self.pool)
        return functional.normalize(x, dim=-1) if self.normalise else x


@kind("pooler", role="head")
class PoolerConfig:
    """What BERT's pretraining leaves beside its encoder: the dense layer of a sequence head that has no classes yet.

    Its weights have the names of that layer in `SequenceConfig`, so fine-tuning may start from them.
    """

    act: Activation = "tanh"

    def build(self, dim: int, *, vocab: int, width: int) -> "Pooler":
        return Pooler(self, dim)


class Pooler(nn.Module):
    """State [B, S, dim] -> act(dense first token) [B, dim]; dim^2 multiply-adds per text."""

    def __init__(self, config: PoolerConfig, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.act = activation(config.act)

    def forward(self, state: State, table: Tensor) -> Tensor:
        return self.act(self.dense(pooled(state, "cls")))


def check_labels(labels: tuple[str, ...], answer: Answers, path: str) -> None:
    """Raise InputError where labels and kind of answer contradict each other."""
    count = len(labels)
    if count < LEAST[answer] or (answer == "number" and count > 1) or len(set(labels)) != count:
        remedy = "name each once: one for a number, two or more for a class or tags"
        raise InputError(f"{path}.labels", f"{count} labels for {answer}", remedy)


def reads_first_row(head: HeadConfig | None) -> bool:
    """Whether a head reads no row but the first of each text."""
    return isinstance(head, PoolerConfig) or getattr(head, "pool", None) == "cls"


def pooled(state: State, pool: Pool) -> Tensor:
    """One vector per row of the batch [B, dim]: the first token, or the mean of the real ones."""
    if pool == "cls":
        return state.x[:, 0]
    if state.mask is None:
        return state.x.mean(dim=1)
    real = state.mask.unsqueeze(-1).to(state.x.dtype)
    return (state.x * real).sum(dim=1) / real.sum(dim=1)
