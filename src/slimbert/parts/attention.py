"""Multi-head attention: softmax(q k' / sqrt(head_dim)) v per head, then an output map.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2. Queries, keys and values come from one fused product. Positions, if
any here, and the core that computes the attention are parts of their own. Few rows that read a long memory absorb the
maps of keys and values (absorbed.py); many may find them computed already (projected.py).
"""

from torch import Tensor, nn

from ..config import Count, PositionConfig, Share, kind
from ..state import Context, Mixed
from .attend import absorbs, attend
from .core import Core, Sdpa
from .linear import Fused
from .position import build_position, check_position
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
        check_position(self.position, self.head_dim, path)

    def build(self, dim: int) -> "Attention":
        return Attention(self, dim)


class Attention(nn.Module):
    """[B, S, dim] -> [B, S, dim]; (4 dim + 2 S0) * heads * head_dim multiply-adds per token. `absorb`: see attend."""

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
        self.position = build_position(config.position, heads=config.heads, head_dim=config.head_dim)
        self.core: Core = Sdpa()
        self.absorb: bool | None = None

    def forward(self, x: Tensor, ctx: Context) -> Tensor | Mixed:
        if ctx.kv is x and ctx.projected is None:
            q, *kv = self.qkv.maps(x)
        else:
            (q,), kv = self.qkv.maps(x, 0, 1), []
            if ctx.projected is not None or not self.absorbs(x.shape[1], ctx.kv.shape[1]):
                kv = list(ctx.projected or self.qkv.maps(ctx.kv, 1, 3))
        y, weights = attend(self, self.qkv, q=q, kv=kv, ctx=ctx)
        y = self.out(y)
        return y if weights is None else Mixed(y, maps=(weights,))

    def reads(self, rows: int, length: int) -> Reads | None:
        """What `rows` that read a memory of `length` tokens compute of it; None where they absorb it."""
        return None if self.absorbs(rows, length) else Reads(self.qkv, 1, 3)

    def absorbs(self, rows: int, length: int) -> bool:
        """Whether keys and values of a memory are absorbed."""
        return absorbs(self, self.qkv, rows=rows, length=length)
