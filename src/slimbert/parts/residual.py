"""One mixer with its norm, skip and dropout: the only place that knows where the norm stands.

post: y = norm(x + drop(mix(x)))       Vaswani et al. 2017, arXiv:1706.03762 (BERT)
pre:  y = x + drop(mix(norm(x)))       Xiong et al. 2020, arXiv:2002.04745

A layer is residuals one after the other. After narrowing a mixer reads the frozen memory, normalised as x is.
"""

from typing import Literal

from torch import Tensor, nn

from ..config import MixerConfig, NormConfig, Share, kind
from ..state import Context, Mixed, State
from .dropout import Dropout
from .narrow import narrowed
from .norm import LayerNormConfig

Wiring = Literal["post", "pre"]


@kind("layer", role="step")
class LayerConfig:
    mix: tuple[MixerConfig, ...]
    wiring: Wiring = "post"
    dropout: Share = 0.0
    norm: NormConfig = LayerNormConfig()

    def build(self, dim: int) -> "Layer":
        return Layer(Residual(mixer.build(dim), self, dim) for mixer in self.mix)


class Layer(nn.ModuleList):
    """State -> State: its residuals in order. `narrow_at`: the residual before which only the selected rows stay."""

    def forward(self, state: State, narrow_at: int | None = None) -> State:
        for j, residual in enumerate(self):
            state = residual(narrowed(state) if j == narrow_at else state)
        return state


class Residual(nn.Module):
    """State -> State around one mixer."""

    def __init__(self, mixer: nn.Module, config: LayerConfig, dim: int) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = config.norm.build(dim)
        self.dropout = Dropout(config.dropout)
        self.pre = config.wiring == "pre"

    def forward(self, state: State) -> State:
        rows = self.norm(state.x) if self.pre else state.x
        y, losses, maps = _unpack(self.mixer(rows, self._context(state, rows)))
        x = state.x + self.dropout(y)
        return state._replace(x=x if self.pre else self.norm(x), losses=state.losses + losses, maps=state.maps + maps)

    def _context(self, state: State, rows: Tensor) -> Context:
        if state.memory is None:
            return Context(rows, state.mask, state.index, state.relative, state.segments)
        kv = self.norm(state.memory) if self.pre else state.memory
        return Context(kv, state.memory_mask, state.index, state.relative, state.segments)


def _unpack(answer: Tensor | Mixed) -> Mixed:
    return answer if isinstance(answer, Mixed) else Mixed(answer)
