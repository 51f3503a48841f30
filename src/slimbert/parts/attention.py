"""Multi-head attention: softmax(q k' / sqrt(head_dim)) v per head, then an output map.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2. Queries, keys and values come from one fused product. Positions, if
any here, and the core that computes the attention are parts of their own.
"""

from torch import Tensor, nn

from ..config import Count, PositionConfig, Share, kind
from ..errors import InputError
from ..state import Context, Mixed, places
from .core import Core, Sdpa, additive
from .linear import Fused
from .position import RotaryConfig


@kind("attention")
class AttentionConfig:
    heads: Count = 12
    head_dim: Count = 64
    bias: bool = True
    dropout: Share = 0.0
    position: PositionConfig | None = None
    axes = {"head": ("heads", "head_dim")}
    mixes_tokens = True

    def check(self, dim: int, path: str) -> None:
        if isinstance(self.position, RotaryConfig) and self.head_dim % 2:
            raise InputError(f"{path}.head_dim", f"rotary positions turn pairs, {self.head_dim} is odd", "make it even")

    def build(self, dim: int) -> "Attention":
        return Attention(self, dim)


class Attention(nn.Module):
    """[B, S, dim] -> [B, S, dim]; (4 dim + 2 S0) * heads * head_dim multiply-adds per token."""

    axes = {
        "qkv.weight": ("head|head|head", "dim"),
        "qkv.bias": ("head|head|head",),
        "out.weight": ("dim", "head"),
        "out.bias": ("dim",),
        "position.slopes": ("head",),
    }
    sinks = {"head": "out.weight"}

    def __init__(self, config: AttentionConfig, dim: int) -> None:
        super().__init__()
        width = config.heads * config.head_dim
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = Fused(dim, (width,) * 3, bias=config.bias)
        self.out = nn.Linear(width, dim, bias=config.bias)
        self.position = None if config.position is None else config.position.build(config.heads, config.head_dim)
        self.core: Core = Sdpa()

    def forward(self, x: Tensor, ctx: Context) -> Tensor | Mixed:
        if ctx.kv is x:
            q, k, v = (self._split(part) for part in self.qkv.maps(x))
        else:
            q = self._split(self.qkv.maps(x, 0, 1)[0])
            k, v = (self._split(part) for part in self.qkv.maps(ctx.kv, 1, 3))
        bias = additive(ctx.mask, ctx.segments, ctx.index, q.dtype)
        if self.position is not None:
            columns = places(None, ctx.kv.shape[1], x.device)
            rows = columns if ctx.index is None else ctx.index
            q, k = self.position.turn(q, rows), self.position.turn(k, columns)
            extra = self.position.bias(rows, columns)
            bias = bias if extra is None else extra if bias is None else bias + extra
        y, weights = self.core(q, k, v, bias, self.dropout if self.training else 0.0)
        y = self.out(y.transpose(1, 2).flatten(2))
        return y if weights is None else Mixed(y, maps=(weights,))

    def _split(self, x: Tensor) -> Tensor:
        """[B, S, H * Dh] -> [B, H, S, Dh], a view."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)
