"""The encoder: embed, fold the steps over the state, norm."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .. import parts as parts  # registers every kind
from ..config import Count, EmbeddingConfig, NonNegative, NormConfig, StepConfig, kind, validate
from ..errors import InputError
from ..parts.initial import initialise_all
from ..parts.narrow import NarrowConfig
from ..state import Encoded, State


@kind("encoder", role="encoder")
class EncoderConfig:
    """One entry per layer; `final_norm` is needed after pre-norm layers; `init_std` fills fresh weights."""

    dim: Count
    embedding: EmbeddingConfig
    layers: tuple[StepConfig, ...]
    final_norm: NormConfig | None = None
    init_std: NonNegative = 0.02

    def build(self) -> "Encoder":
        self.check()
        return Encoder(self)

    def mixers(self) -> Iterator[tuple[str, Any]]:
        """(path, config) of every mixer."""
        for i, layer in enumerate(self.layers):
            for j, mixer in enumerate(getattr(layer, "mix", ())):
                yield f"layers[{i}].mix[{j}]", mixer

    def check(self, path: str = "config.encoder") -> None:
        """What must fit across parts. Raises InputError with the path."""
        validate(self, path)
        lists = {"layers": self.layers} | {
            f"layers[{i}].mix": s.mix for i, s in enumerate(self.layers) if hasattr(s, "mix")
        }
        for place, entries in lists.items():
            if not entries:
                raise InputError(f"{path}.{place}", "empty", "give at least one")
        for place, mixer in self.mixers():
            if hasattr(mixer, "check"):
                mixer.check(self.dim, f"{path}.{place}")
        narrows = [i for i, step in enumerate(self.layers) if isinstance(step, NarrowConfig)]
        if len(narrows) > 1:
            raise InputError(f"{path}.layers[{narrows[1]}]", "a second narrowing", "keep one")
        for i in narrows:
            for j, step in enumerate(self.layers[i:], i):
                reads = any(getattr(mixer, "mixes_tokens", False) for mixer in getattr(step, "mix", ()))
                if reads and not self.layers[i].memory:  # type: ignore[attr-defined]
                    raise InputError(
                        f"{path}.layers[{j}]",
                        "reads other positions after a narrowing without memory",
                        f"set layers[{i}].memory: true",
                    )


class Encoder(nn.Module):
    """Token ids [B, S] -> State with x [B, S, dim], or [B, K, dim] after a narrowing to `select` [B, K]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = config.embedding.build(config.dim)
        self.layers = nn.ModuleList(step.build(config.dim) for step in config.layers)
        self.norm = None if config.final_norm is None else config.final_norm.build(config.dim)
        self.narrows = any(isinstance(step, NarrowConfig) for step in config.layers)
        if not self.embedding.token.weight.is_meta:
            self.reset_parameters()

    def forward(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        types: Tensor | None = None,
        segments: Tensor | None = None,
        select: Tensor | None = None,
        trace: bool = False,
    ) -> Encoded:
        """mask [B, S] True where real (None: everywhere); types [B, S]; segments [B, S] document numbers of packed
        rows; select [B, K] places that a Narrow keeps; trace: also give x after every layer."""
        x = self.embedding(ids, types, segments)
        state = State(x, mask, select=select, segments=segments)
        seen: list[Tensor] = []
        for step in self.layers:
            state = step(state)
            if trace:
                seen.append(state.x)
        return Encoded(state if self.norm is None else state._replace(x=self.norm(state.x)), tuple(seen))

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Fresh weights, everywhere."""
        initialise_all(self, self.config.init_std, generator)
