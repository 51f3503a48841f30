"""One mixer with its norm, skip and dropout: the only place that knows where the norm stands.

post: y = norm(x + drop(mix(x)))       Vaswani et al. 2017, arXiv:1706.03762 (BERT)
pre:  y = x + drop(mix(norm(x)))       Xiong et al. 2020, arXiv:2002.04745

A layer is residuals one after the other. After narrowing a mixer reads the frozen memory, normalised as x is.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from ..config import MixerConfig, NormConfig, Share, kind
from ..state import Context, Mixed, State
from .dropout import Dropout
from .narrow import narrowed
from .norm import LayerNormConfig
from .projected import Reads

Wiring = Literal["post", "pre"]


@kind("layer", role="step")
class LayerConfig:
    mix: tuple[MixerConfig, ...]
    wiring: Wiring = "post"
    dropout: Share = 0.0
    norm: NormConfig = LayerNormConfig()

    def build(self, dim: int) -> "Layer":
        return Layer(
            Residual(mixer.build(dim), self, dim, mixes_tokens=getattr(mixer, "mixes_tokens", False))
            for mixer in self.mix
        )


class Layer(nn.ModuleList):
    """State -> State: its residuals in order. `narrow_at`: the residual before which only the selected rows stay."""

    def forward(
        self, state: State, narrow_at: int | None = None, *, projected: Mapping[int, tuple[Tensor, ...]] | None = None
    ) -> State:
        """projected: for some of the residuals, what their mixers read of the memory."""
        for j, residual in enumerate(self):
            known = None if projected is None else projected.get(j)
            state = residual(narrowed(state) if j == narrow_at else state, known)
        return state


class Residual(nn.Module):
    """State -> State around one mixer."""

    def __init__(self, mixer: nn.Module, config: LayerConfig, dim: int, *, mixes_tokens: bool = True) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = config.norm.build(dim)
        self.dropout = Dropout(config.dropout)
        self.pre = config.wiring == "pre"
        self.mixes_tokens = mixes_tokens

    def forward(self, state: State, projected: tuple[Tensor, ...] | None = None) -> State:
        rows = self.norm(state.x) if self.pre else state.x
        y, losses, maps = _unpack(self.mixer(rows, self._context(state, rows, projected)))
        x = state.x + self.dropout(y)
        return state._replace(x=x if self.pre else self.norm(x), losses=state.losses + losses, maps=state.maps + maps)

    def reads(self, rows: int, length: int) -> Reads | None:
        """What the mixer computes of a memory of `length` tokens for `rows` rows, if other layers may share it."""
        known = getattr(self.mixer, "reads", None)
        return None if self.pre or known is None else known(rows, length)

    def _context(self, state: State, rows: Tensor, projected: tuple[Tensor, ...] | None) -> Context:
        if state.memory is None:
            return Context(rows, state.mask, state.index, state.segments)
        if not self.mixes_tokens:  # it reads no memory, so none is normalised for it
            return Context(rows, state.mask)
        kv = self.norm(state.memory) if self.pre else state.memory
        return Context(kv, state.memory_mask, state.index, state.segments, projected)


def _unpack(answer: Tensor | Mixed) -> Mixed:
    return answer if isinstance(answer, Mixed) else Mixed(answer)
