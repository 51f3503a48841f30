"""Objectives: what a loop trains. batch -> Loss.

An objective receives `encode`, a function (params, batch) -> Encoded, so that a wrapper can hand its inner objective
another one (gated, cut, traced) and wrappers nest in any order; nothing ever replaces a forward.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import kind
from ..data.masking import Shown
from ..model.heads import MaskedLmConfig
from ..model.model import Model
from ..state import Encoded

Batch = Mapping[str, Tensor]  # input_ids [B, S], mask, types, segments, select; and what the objective asks for
INPUTS = ("mask", "types", "segments", "select")  # of a batch, what the encoder takes beside input_ids
Params = Mapping[str, Tensor] | None  # the encoder's parameters by name; None: its own
Encode = Callable[[Params, Batch], Encoded]


class Loss(NamedTuple):
    """The scalar to descend, and the named terms it is made of."""

    total: Tensor
    parts: dict[str, Tensor]

    def plus(self, name: str, value: Tensor) -> "Loss":
        """With one more term."""
        return Loss(self.total + value, self.parts | {name: value})


class Objective(nn.Module):
    """Holds the Model it trains. Data-parallel training wraps the objective: `forward(batch)` is its one entry."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Loss:
        return self.loss(self.encode, batch)

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        raise NotImplementedError(f"{type(self).__name__} defines no loss")

    def encode(self, params: Params, batch: Batch) -> Encoded:
        """The states of a batch. The module itself is called unless a wrapper changed parameters: the hot path."""
        options = inputs_of(self.model, batch)
        encoder = self.model.encoder
        if params is None:
            return encoder(batch["input_ids"], **options)
        return torch.func.functional_call(encoder, dict(params), (batch["input_ids"],), options)

    def beside(self) -> dict[str, Model]:
        """Other models that are trained along, by the name of the folder that a run leaves each in."""
        return {}

    def rates(self) -> dict[nn.Parameter, float]:
        """What learns at another rate than the rest, and how many times that of the run."""
        return {}


class Wrapper(Objective):
    """An objective around another one."""

    def __init__(self, inner: Objective) -> None:
        super().__init__(inner.model)
        self.inner = inner

    def beside(self) -> dict[str, Model]:
        return self.inner.beside()

    def rates(self) -> dict[nn.Parameter, float]:
        return self.inner.rates()


@kind("masked_lm", role="objective")
class MaskedLmObjectiveConfig:
    """`head`: what the model answers with; `shown`: what stands at the predicted places; `draws`: whether a batch
    brings a random number for each of them."""

    head = MaskedLmConfig
    shown = Shown()
    draws = False


class MaskedLm(Objective):
    """Predict the tokens at `positions` [B, P]: cross-entropy with `labels` [B, P], weighted by `weights` [B, P].

    Devlin et al. 2018, arXiv:1810.04805, section 3.1. Logits exist at the chosen rows only. `total` in the batch is
    what the sum is divided by (the weights of the whole update); without it, the batch's own weights. Where the encoder
    narrows, the rows at `firsts` [B, C] are kept as well, the first token of every document of a packed row; without
    it, the first token of the row. They answer for nothing.
    """

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        positions = batch["positions"]
        firsts = batch["firsts"] if "firsts" in batch else torch.zeros_like(positions[:, :1])
        firsts = firsts if self.model.encoder.narrows else firsts[:, :0]  # all rows are there anyway
        encoded = encode(None, {**batch, "select": torch.cat((firsts, positions), dim=1)})
        rows = encoded.state._replace(x=encoded.state.x[:, firsts.shape[1] :])
        mean = of_chosen(self.model.answer(encoded._replace(state=rows)), batch)
        return with_auxiliary(Loss(mean, {"mlm": mean}), encoded.state.losses)


def of_chosen(logits: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of logits [B, P, V] with `labels` [B, P], in float32; see `MaskedLm`."""
    weights = batch["weights"]
    losses = functional.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten(), reduction="none")
    total = batch["total"] if "total" in batch else weights.sum().clamp(min=1)
    return (losses * weights.flatten()).sum() / total


def inputs_of(model: Model, batch: Batch) -> dict[str, Any]:
    """What the encoder is called with beside the ids: what the batch has of it, and the trace that the head reads."""
    return {name: batch[name] for name in INPUTS if name in batch} | {"trace": model.trace}


def with_auxiliary(loss: Loss, losses: Sequence[Tensor], *, of: str = "") -> Loss:
    """The loss with what the mixers add to it, `losses`; `of` goes before the names of these terms."""
    for i, value in enumerate(losses):
        loss = loss.plus(f"{of}auxiliary_{i}", value)
    return loss
