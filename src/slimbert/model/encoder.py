"""The encoder: embed, fold the steps over the state, norm."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .. import parts as parts  # registers every kind
from ..config import Count, EmbeddingConfig, NonNegative, NormConfig, StepConfig, kind, validate
from ..errors import InputError
from ..parts.initial import initialise_all
from ..parts.narrow import NarrowConfig, narrowed
from ..parts.projected import Reads, projected
from ..parts.residual import Layer, Residual
from ..state import Encoded, State
from .kept import check_select

Trace = Literal["states", "rows"]


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

    def depth(self) -> int:
        """Layers, a narrowing not counted."""
        return sum(hasattr(step, "mix") for step in self.layers)

    def most_heads(self) -> int:
        """Of any one mixer; 0 where none has heads."""
        return max((mixer.heads for _, mixer in self.mixers() if hasattr(mixer, "heads")), default=0)

    def last_token_mixer(self) -> tuple[int, int]:
        """(layer, place in its mix) of the last mixer that reads other rows; (-1, -1) where none does."""
        found = [
            (i, j)
            for i, layer in enumerate(self.layers)
            for j, mixer in enumerate(getattr(layer, "mix", ()))
            if getattr(mixer, "mixes_tokens", False)
        ]
        return found[-1] if found else (-1, -1)

    def points(self) -> int:
        """Trace points: after each layer, and after each mixer of what follows a narrowing without memory."""
        count, split = 0, False
        for layer in self.layers:
            if isinstance(layer, NarrowConfig):
                split = not layer.memory
            else:
                count += len(getattr(layer, "mix", ())) if split else 1
        return count

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
        narrows = [(i, step) for i, step in enumerate(self.layers) if isinstance(step, NarrowConfig)]
        if len(narrows) > 1:
            raise InputError(f"{path}.layers[{narrows[1][0]}]", "a second narrowing", "keep one")
        for i, narrow in narrows:
            for j, step in enumerate(self.layers[i:], i):
                if mixes_tokens([step]) and not narrow.memory:
                    problem = "reads other positions after a narrowing without memory"
                    raise InputError(f"{path}.layers[{j}]", problem, f"set layers[{i}].memory: true")


def mixes_tokens(steps: Iterable[Any]) -> bool:
    """Whether a mixer of these steps reads other rows."""
    return any(getattr(mixer, "mixes_tokens", False) for step in steps for mixer in getattr(step, "mix", ()))


Block = Callable[[State], State]


class Encoder(nn.Module):
    """Token ids [B, S] -> State with x [B, S, dim], or [B, K, dim] where the caller wants the rows at `select` [B, K].

    Wanted rows cost least where a Narrow stands in the layers. Where nothing reads a memory they also spare the end of
    the last mixing layer: after the last token mixer nothing reads other rows, so only the wanted ones are computed;
    exactly the same answer. `joins`: whether keys and values that several layers compute of one memory are one product
    (None: on a GPU); it says how the network runs, not what it is.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = config.embedding.build(config.dim)
        self.layers = nn.ModuleList(step.build(config.dim) for step in config.layers)
        self.norm = None if config.final_norm is None else config.final_norm.build(config.dim)
        found = [i for i, step in enumerate(config.layers) if isinstance(step, NarrowConfig)]
        self.narrow = found[0] if found else None  # the place of the Narrow
        self.remembers = any(isinstance(step, NarrowConfig) and step.memory for step in config.layers)
        self.joins: bool | None = None
        self.last = config.last_token_mixer()
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
        trace: Trace | None = None,
    ) -> Encoded:
        """mask [B, S] True where real (None: everywhere); types [B, S]; segments [B, S] document numbers of packed
        rows; select [B, K] places of the rows that are wanted (None: all); trace: also give, for every trace point,
        the state there with all its rows (states), or what a head would read if the encoder ended there (rows)."""
        state = self.begin(ids, mask=mask, types=types, segments=segments, select=select)
        early = select is not None and trace != "states"
        if trace is None:
            return Encoded(self.read(self._through(state, early=early)))
        seen: list[State] = []
        for block in self.blocks(early=early):
            state = block(state)
            seen.append(self.read(state) if trace == "rows" else state)
        return Encoded(seen[-1] if trace == "rows" else self.read(state), tuple(seen))

    def begin(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        types: Tensor | None = None,
        segments: Tensor | None = None,
        select: Tensor | None = None,
    ) -> State:
        """The state before the first layer. Raises InputError where `select` cannot be (see kept.check_select)."""
        if select is not None:
            check_select(select, ids.shape[1])
        return State(self.embedding(ids, types, segments), mask, select=select, segments=segments)

    def blocks(self, *, early: bool = False) -> "list[Block]":
        """What stands between two trace points, in order; a Narrow belongs to what follows it, the last of all to what
        is before it.

        early: compute the rows that are wanted alone from the last token mixer on, where no memory is kept before.
        """
        out: list[Block] = []
        ahead: tuple[Block, ...] = ()
        split = False
        for i, (config, step) in enumerate(zip(self.config.layers, self.layers, strict=True)):
            if isinstance(config, NarrowConfig):
                ahead, split = (*ahead, step), not config.memory
                continue
            here = early and not self.remembers and i == self.last[0]
            made = partial(step, narrow_at=self.last[1]) if here else step
            for one in step if split else (made,):  # type: ignore[union-attr]
                out.append(partial(_in_order, (*ahead, one)) if ahead else one)
                ahead = ()
        if ahead and out:
            out[-1] = partial(_in_order, (out[-1], *ahead))
        return out or [*ahead]

    def read(self, state: State) -> State:
        """What a head reads of a state between two layers: the rows that are wanted, after the final norm."""
        if state.select is not None and state.index is None:
            state = narrowed(state, memory=False)
        return state if self.norm is None else state._replace(x=self.norm(state.x))

    def _through(self, state: State, *, early: bool) -> State:
        """The state after all layers."""
        ahead: dict[int, dict[int, tuple[Tensor, ...]]] = {}
        for i, step in enumerate(self.layers):
            if early and not self.remembers and i == self.last[0]:
                state = step(state, narrow_at=self.last[1])
            elif i in ahead:
                state = step(state, projected=ahead[i])
            else:
                state = step(state)
            if i == self.narrow and state.memory is not None:
                ahead = self._projected(state.memory, state.x.shape[1])
        return state

    @property
    def narrows(self) -> bool:
        """Whether a Narrow stands in the layers."""
        return self.narrow is not None

    def _projected(self, memory: Tensor, rows: int) -> dict[int, dict[int, tuple[Tensor, ...]]]:
        """By layer and residual: what it reads of the memory, in one product for all; empty where each has its own."""
        if not (memory.device.type != "cpu" if self.joins is None else self.joins):
            return {}
        asked: list[tuple[int, int, Reads]] = []
        for i, step in enumerate(self.layers):
            if isinstance(step, Layer) and self.narrow is not None and i > self.narrow:
                for j, residual in enumerate(step):
                    reads = residual.reads(rows, memory.shape[1]) if isinstance(residual, Residual) else None
                    if reads is not None:
                        asked.append((i, j, reads))
        found: dict[int, dict[int, tuple[Tensor, ...]]] = {}
        if len(asked) > 1:
            maps = projected(memory, [reads for _, _, reads in asked])
            for (i, j, _), own in zip(asked, maps, strict=True):
                found[i] = {**found.get(i, {}), j: own}
        return found

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Fresh weights, everywhere."""
        initialise_all(self, self.config.init_std, generator)


def _in_order(blocks: tuple[Block, ...], state: State) -> State:
    for block in blocks:
        state = block(state)
    return state
