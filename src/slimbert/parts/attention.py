"""Multi-head attention: softmax(q k' / sqrt(head_dim)) v per head, then an output map.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2. Queries, keys and values come from one fused product. Positions, if
any here, and the core that computes the attention are parts of their own. Few rows that read a long memory absorb the
maps of keys and values (absorbed.py); many may find them computed already (projected.py).
"""

import torch
from torch import Tensor, nn

from ..config import Count, PositionConfig, Share, kind
from ..errors import InputError
from ..state import Context, Mixed
from .absorbed import absorbed, pays
from .core import Core, Explicit, Sdpa
from .linear import Fused
from .position import Rotary, RotaryConfig, scores_bias, turned
from .projected import Reads


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
    """[B, S, dim] -> [B, S, dim]; (4 dim + 2 S0) * heads * head_dim multiply-adds per token.

    `absorb`: whether rows that read a memory absorb keys and values; None: where it costs less. It says how the network
    runs, not what it is, as `core` does.
    """

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
        self.absorb: bool | None = None

    def forward(self, x: Tensor, ctx: Context) -> Tensor | Mixed:
        dropout = self.dropout if self.training else 0.0
        if ctx.kv is x and ctx.projected is None:
            q, k, v = (self._split(part) for part in self.qkv.maps(x))
        else:
            q = self._split(self.qkv.maps(x, 0, 1)[0])
            if ctx.projected is None and self.absorbs(x.shape[1], ctx.kv.shape[1]):
                key, value = self.qkv.part(1, 2)[0], self.qkv.part(2, 3)
                y, weights = absorbed(
                    q, ctx.kv, key=key, value=value, bias=scores_bias(ctx, self.position, q.dtype), dropout=dropout
                )  # fmt: skip
                return self._mapped(y, weights if isinstance(self.core, Explicit) and self.core.keep_maps else None)
            k, v = (self._split(part) for part in ctx.projected or self.qkv.maps(ctx.kv, 1, 3))
        q, k = turned(q, k, ctx, self.position)
        y, weights = self.core(q, k, v, scores_bias(ctx, self.position, q.dtype), dropout)
        return self._mapped(y, weights)

    def reads(self, rows: int, length: int) -> Reads | None:
        """What `rows` that read a memory of `length` tokens compute of it; None where they absorb it."""
        return None if self.absorbs(rows, length) else Reads(self.qkv, 1, 3)

    def absorbs(self, rows: int, length: int) -> bool:
        """Whether keys and values of a memory are absorbed. An exported graph, made for any sizes, projects them."""
        if isinstance(self.position, Rotary):
            return False
        if self.absorb is not None or torch.compiler.is_exporting():
            return bool(self.absorb)
        dim, width = self.qkv.in_features, self.out.in_features
        return pays(rows=rows, length=length, dim=dim, heads=self.heads, width=width)

    def _mapped(self, y: Tensor, weights: Tensor | None) -> Tensor | Mixed:
        """[B, H, S, Dh] -> [B, S, dim], with the attention map where the core keeps it."""
        y = self.out(y.transpose(1, 2).flatten(2))
        return y if weights is None else Mixed(y, maps=(weights,))

    def _split(self, x: Tensor) -> Tensor:
        """[B, S, H * Dh] -> [B, H, S, Dh], a view."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)
