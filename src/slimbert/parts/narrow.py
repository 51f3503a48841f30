"""The narrowing step: from here on only the rows that matter are computed.

x <- x[select]; with memory, the full-length tokens stay readable, frozen (sparse queries); without, nothing after may
read other positions (context first). Li et al. 2023, arXiv:2301.04761 (NarrowBERT). Where nothing says which rows
matter, all stay.
"""

from torch import nn

from ..config import kind
from ..state import State, pick


@kind("narrow", role="step")
class NarrowConfig:
    memory: bool = True

    def build(self, dim: int) -> "Narrow":
        return Narrow(self)


class Narrow(nn.Module):
    """State -> State with rows [B, K, dim] of [B, S, dim]; no multiply-adds. Rows that are picked already stay."""

    def __init__(self, config: NarrowConfig) -> None:
        super().__init__()
        self.memory = config.memory

    def forward(self, state: State) -> State:
        return state if state.index is not None else narrowed(state, memory=self.memory)


def narrowed(state: State, *, memory: bool = True) -> State:
    """The state of the rows at `select`; with memory, what it was before stays readable."""
    if memory:
        state = state._replace(memory=state.x, memory_mask=state.mask)
    if state.select is None:
        return state
    return state._replace(
        x=pick(state.x, state.select),
        mask=None if state.mask is None else state.mask.gather(1, state.select),
        index=state.select,
    )
