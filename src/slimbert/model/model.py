"""A Model: an encoder, a head, the config that rebuilds both. The unit that is saved, transformed, exported, served."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..config import HeadConfig, kind, validate
from ..parts.initial import initialise_all
from ..state import Encoded
from .encoder import EncoderConfig, Trace
from .kept import check_head, check_packed

BERT_VOCAB = 30522  # pieces of bert-base-uncased


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Ids of the tokens that have a role; None where a tokenizer has none."""

    pad: int = 0
    unk: int | None = 100
    cls: int | None = 101
    sep: int | None = 102
    mask: int | None = 103


def usual_special(vocab: int) -> SpecialTokens | None:
    """BERT's ids, where a vocabulary that nobody described has the size of BERT's; else nothing is known."""
    return SpecialTokens() if vocab == BERT_VOCAB else None


@kind("model", role="model")
class ModelConfig:
    """`head` None: a bare encoder, whose answer is its states."""

    encoder: EncoderConfig
    head: HeadConfig | None = None
    special: SpecialTokens | None = None

    def build(self) -> "Model":
        if self.head is not None:
            validate(self.head, "config.head")
            if hasattr(self.head, "check"):
                self.head.check("config.head")
            if hasattr(self.head, "fits"):
                self.head.fits(self.encoder, "config.head")
        return Model(self)


class Model(nn.Module):
    """Token ids [B, S] -> the head's answer, or the State's x [B, S, dim] where there is no head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build()
        table = self.encoder.embedding.token.weight
        vocab, width = table.shape
        self.head = config.head and config.head.build(config.encoder.dim, vocab=vocab, width=width)
        if self.head is not None and not table.is_meta:
            with torch.no_grad():
                initialise_all(self.head, config.encoder.init_std)

    def forward(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        types: Tensor | None = None,
        segments: Tensor | None = None,
        select: Tensor | None = None,
    ) -> Tensor:
        """As `Encoder.forward`. Raises InputError also where `select` leaves the head without its rows, or `segments`
        give it more texts than it answers (see model/kept.py)."""
        if select is not None:
            check_head(select, self.config.head)
        if segments is not None:
            check_packed(self.config.head)
        encoded = self.encoder(ids, mask=mask, types=types, segments=segments, select=select, trace=self.trace)
        return encoded.state.x if self.head is None else self.answer(encoded)

    @property
    def trace(self) -> Trace | None:
        """What the head reads of the layers below the last: what `encoder` must be called with."""
        return getattr(self.head, "trace", None)

    def answer(self, encoded: Encoded) -> Tensor:
        """What the head says of what the encoder gave."""
        return answer(self.encoder, self.head, encoded)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Fresh weights, everywhere; the same for the same generator state."""
        initialise_all(self, self.config.encoder.init_std, generator)

    @property
    def device(self) -> torch.device:
        return self.encoder.embedding.token.weight.device


def answer(encoder: nn.Module, head: nn.Module | None, encoded: Encoded) -> Tensor:
    """What a head says: of the last state, or of the whole trace where it reads that."""
    assert head is not None, "a model without a head gives states, not answers"
    if getattr(head, "trace", None):
        return head(encoded.trace)
    return head(encoded.state, encoder.embedding.token.weight)  # type: ignore[union-attr]


def fresh(config: ModelConfig, seed: int) -> Model:
    """A model with weights drawn from `seed`, built without touching torch's global generator."""
    bare = skeleton(config)
    model = fill(bare, {name: torch.empty(t.shape, dtype=t.dtype) for name, t in bare.state_dict().items()})
    model.reset_parameters(torch.Generator().manual_seed(seed))
    return model


def skeleton(config: ModelConfig) -> Model:
    """The model's modules on the meta device, without memory, to be called with given parameters."""
    with _Unfilled(), torch.device("meta"):
        return config.build()


def fill(bare: Model, tensors: Mapping[str, Tensor]) -> Model:
    """A skeleton made a model: `tensors`, its whole state dict, become its own without a copy.

    Parts keep every buffer in the state dict. (Module.to_empty and loading into it would import for a second.)
    """
    bare.load_state_dict(tensors, strict=True, assign=True)
    return bare


def parameter_count(model: nn.Module) -> int:
    """All its weights, a shared one once."""
    return sum(value.numel() for value in model.parameters())


class _Unfilled(TorchFunctionMode):
    """Leaves out what modules draw when they are made: on the meta device it fills nothing, and imports for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def with_dropout(config: Any, rate: float) -> Any:
    """The config with every dropout set to `rate`."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        values = {
            f.name: rate if f.name == "dropout" else with_dropout(getattr(config, f.name), rate)
            for f in dataclasses.fields(config)
        }
        return dataclasses.replace(config, **values)
    return tuple(with_dropout(item, rate) for item in config) if isinstance(config, tuple) else config
