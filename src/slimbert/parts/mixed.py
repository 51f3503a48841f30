"""Mixed attention: some heads attend, the others convolve with kernels that are made from the span around each token.

q, k, v, u = W x,    s = point(depth(x))                 depth: parts/depthwise.py
attended[t]  = softmax(q_h k_h' / sqrt(head_dim)) v_h    for every attending head h
convolved[t] = sum_j w[t, j] u[t + j - side]             w = softmax over j of (W_span (s * q))[t], k numbers per head
y = W_out [attended, convolved]

Jiang et al. 2020, arXiv:2008.02496 (ConvBERT), and its published code, whose convolutions also read
padding: `padding: published`. Here they read nothing there, and nothing of another document.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from ..config import Count, PositionConfig, Share, kind
from ..errors import InputError
from ..state import Context, Mixed, pick
from .attend import absorbs, attend
from .core import Core, Sdpa
from .depthwise import Depthwise
from .dynamic import convolve, of_taps
from .linear import Fused
from .position import build_position, check_position
from .projected import Reads
from .taps import readable, real, taken

Padding = Literal["masked", "published"]


def reduced(dim: int, heads: int, *, ratio: int = 2) -> tuple[int, int]:
    """(heads that attend, width of a head) of an encoder of width `dim` with nominally `heads` heads.

    The published code's rule: heads keep the width dim / heads, and there are `ratio` (the paper's gamma) times fewer,
    but one at least. transformers has another: as many heads, so wide that they fill half of `dim`. At a ratio of 2
    and an even number of heads they agree.
    """
    if heads < 1 or dim % heads:
        raise InputError("heads", f"{heads} heads do not divide the width {dim}", "choose a divisor")
    if ratio < 1:
        raise InputError("ratio", f"{ratio} is below 1", "give 1 or more")
    return max(1, heads // ratio), dim // heads


@kind("mixed_attention")
class MixedAttentionConfig:
    """`conv_heads`: heads that convolve; `span_heads`: heads of the query, all of which feed the kernels and the first
    `heads` of which attend; None: as many as `heads`. `padding`: what the convolutions read there, nothing (masked) or
    tokens as everywhere (published)."""

    heads: Count = 6
    conv_heads: Count | None = None
    span_heads: Count | None = None
    head_dim: Count = 64
    kernel: Count = 9
    bias: bool = True
    dropout: Share = 0.0
    position: PositionConfig | None = None
    padding: Padding = "masked"
    axes = {"head": ("heads", "head_dim"), "conv_head": ("conv_heads", "head_dim")}
    mixes_tokens = True

    def __post_init__(self) -> None:
        for name in ("conv_heads", "span_heads"):  # resolved here: cutting `heads` must not cut the others
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.heads)

    def check(self, dim: int, path: str) -> None:
        if self.kernel % 2 == 0:
            raise InputError(f"{path}.kernel", f"{self.kernel} is even, a token has no middle", "give an odd number")
        if (self.span_heads or 0) < self.heads:
            problem = f"{self.span_heads} heads of the query for {self.heads} that attend"
            raise InputError(f"{path}.span_heads", problem, f"give at least {self.heads}, or null")
        check_position(self.position, self.head_dim, path)

    def build(self, dim: int) -> "MixedAttention":
        return MixedAttention(self, dim)


class MixedAttention(nn.Module):
    """[B, S, dim] -> [B, S, dim]. With a, c, s = head_dim times heads, conv_heads, span_heads, in multiply-adds per
    token: dim (3 a + 2 c + 2 s) + 2 S0 a, and kernel (dim + c + s * conv_heads) of the convolutions.

    Where few rows are kept the kernels are applied to the tokens around them instead of to their values, then
    projected: exact, and the values of all other tokens are never made. Keys and values of their attention are absorbed
    (attend.py; `absorb` as there).
    """

    axes = {
        "qkvu.weight": ("~head|head|head|conv_head", "dim"),
        "qkvu.bias": ("~head|head|head|conv_head",),
        "depth.weight": ("dim", None, None),
        "point.weight": ("~head", "dim"),
        "point.bias": ("~head",),
        "span.weight": ("conv_head", "~head"),  # `kernel` rows per head
        "span.bias": ("conv_head",),
        "out.weight": ("dim", "head|conv_head"),
        "out.bias": ("dim",),
        "position.slopes": ("head",),
    }
    sinks = {"head": "out.weight", "conv_head": "out.weight"}

    def __init__(self, config: MixedAttentionConfig, dim: int) -> None:
        super().__init__()
        self.heads, self.conv_heads = config.heads, config.conv_heads or config.heads
        span_heads = config.span_heads or config.heads
        self.attend, conv, span = (n * config.head_dim for n in (self.heads, self.conv_heads, span_heads))
        self.kernel, self.dropout, self.padding = config.kernel, config.dropout, config.padding
        self.qkvu = Fused(dim, (span, self.attend, self.attend, conv), bias=config.bias)
        self.depth = Depthwise(dim, config.kernel)
        self.point = nn.Linear(dim, span, bias=config.bias)
        self.span = nn.Linear(span, self.conv_heads * config.kernel, bias=config.bias)
        self.out = nn.Linear(self.attend + conv, dim, bias=config.bias)
        self.position = build_position(config.position, heads=config.heads, head_dim=config.head_dim)
        self.core: Core = Sdpa()
        self.absorb: bool | None = None

    def forward(self, x: Tensor, ctx: Context) -> Tensor | Mixed:
        near = ctx if self.padding == "masked" else ctx._replace(mask=None)  # what the convolutions read
        if ctx.kv is x and ctx.projected is None:
            q, k, v, u = self.qkvu.maps(x)
            kv, values = [k, v], [u]
        else:
            rows, length = x.shape[1], ctx.kv.shape[1]
            (q,), made = self.qkvu.maps(x, 0, 1), ctx.projected
            first, last = self._made(rows, length, picked=ctx.index is not None)
            if made is None:
                made = self.qkvu.maps(ctx.kv, first, last) if first < last else ()
            kv, values = list(made[: 3 - first]), list(made[3 - first :])
        convolved = self._convolve(q, values[0] if values else None, near)
        attended, weights = attend(self, self.qkvu, q=q[..., : self.attend], kv=kv, ctx=ctx)
        y = self.out(torch.cat((attended, convolved), dim=-1))
        return y if weights is None else Mixed(y, maps=(weights,))

    def reads(self, rows: int, length: int) -> Reads | None:
        """What `rows` that read a memory of `length` tokens compute of all of it; None where that is nothing, and in an
        exported graph, whose sizes are open."""
        if torch.compiler.is_exporting():
            return None
        first, last = self._made(rows, length, picked=rows < length)
        return Reads(self.qkvu, first, last) if first < last else None

    def absorbs(self, rows: int, length: int) -> bool:
        """Whether keys and values of a memory are absorbed."""
        return absorbs(self, self.qkvu, rows=rows, length=length)

    def _made(self, rows: int, length: int, *, picked: bool) -> tuple[int, int]:
        """Which maps are made of a whole memory, from, to (exclusive): keys and values are 1 and 2, those of the
        convolutions are 3."""
        few = picked and self._are_few(rows, length)
        return 3 if self.absorbs(rows, length) else 1, 3 if few else 4

    def _convolve(self, q: Tensor, u: Tensor | None, ctx: Context) -> Tensor:
        """q [B, S, span], u [B, S0, conv] -> [B, S, conv]; u None: the values are not made, see `_projected`."""
        spans = self.depth(real(ctx.kv, ctx.mask), ctx.segments)
        w = self._kernels(q, self.point(spans if ctx.index is None else pick(spans, ctx.index)))
        if ctx.index is None and u is not None:
            there = readable(ctx, self.kernel)
            w = w if there is None else w.masked_fill(~there.unsqueeze(2), 0.0)
            return convolve(self._by_head(u), w).flatten(2)
        taps, there = taken(ctx.kv if u is None else u, ctx, self.kernel)  # [B, K, kernel, dim or conv]
        w = w.masked_fill(~there.unsqueeze(2), 0.0).to(taps.dtype)
        return self._projected(taps, w) if u is None else of_taps(self._by_head(taps), w).flatten(2)

    def _projected(self, taps: Tensor, w: Tensor) -> Tensor:
        """sum_j w_j (W x_j + b) as W (sum_j w_j x_j) + (sum_j w_j) b: taps [B, K, kernel, dim] -> [B, K, conv]."""
        first = -self.qkvu.sizes[3]
        weight = self._by_head(self.qkvu.weight[first:].T)  # [dim, H, head_dim]
        y = torch.einsum("bkhd,dhe->bkhe", torch.matmul(w, taps), weight)
        if self.qkvu.bias is not None:
            y = y + w.sum(dim=-1, keepdim=True) * self._by_head(self.qkvu.bias[first:])
        return y.flatten(2)

    def _are_few(self, kept: int, length: int) -> bool:
        """Whether so many rows are served best by what stands around them; an exported graph serves any number."""
        return torch.compiler.is_exporting() or 4 * kept <= length  # a trial on a busy machine: convbert_core.py

    def _kernels(self, q: Tensor, keys: Tensor) -> Tensor:
        """[B, S, conv_heads, kernel], summing to 1 over the kernel."""
        logits = self.span(keys * q)
        return logits.view(*logits.shape[:-1], self.conv_heads, self.kernel).softmax(dim=-1)

    def _by_head(self, x: Tensor) -> Tensor:
        """[..., conv] -> [..., conv_heads, head_dim], a view."""
        return x.view(*x.shape[:-1], self.conv_heads, -1)
