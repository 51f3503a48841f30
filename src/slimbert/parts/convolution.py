"""GroupBERT's convolution module: near words mix by a grouped convolution, so that attention need not learn them.

[value, gate] = x W + b        y = value * sigmoid(gate), zero where there is no token
z_t = sum_j K_j y_(t + j - kernel // 2) + c        out = W_out silu(norm(z)) + b_out

Chelombiev et al. 2021, arXiv:2106.05822; written after the authors' public code, whose norm before and skip around it
are a Residual's. K_j is block-diagonal: each `group` channels of z read the same `group` channels of y (1: depthwise;
the width: a full convolution). Ours beyond it: a tap in another document of a packed row is nothing, too.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import Count, NormConfig, kind
from ..errors import InputError
from ..state import Context, pick
from .norm import LayerNormConfig
from .taps import neighbours, real, together


@kind("convolution")
class ConvolutionConfig:
    """`group`: channels of a group; `init`: of the kernel, as every map or with deviation 1 / sqrt(kernel * group)."""

    kernel: Count = 7
    group: Count = 16
    glu: bool = True
    bias: bool = True  # of the two dense maps
    conv_bias: bool = True
    norm: NormConfig = LayerNormConfig(eps=1e-3)  # as trained
    init: Literal["normal", "fan_in"] = "normal"
    mixes_tokens = True

    def check(self, dim: int, path: str) -> None:
        if self.kernel % 2 == 0:
            raise InputError(f"{path}.kernel", f"{self.kernel} is even, it has no middle", "give an odd number")
        if dim % self.group:
            raise InputError(f"{path}.group", f"{self.group} does not divide the width {dim}", "choose a divisor")

    def build(self, dim: int) -> "Convolution":
        return Convolution(self, dim)


class Convolution(nn.Module):
    """[B, S, dim] -> [B, S, dim]; 3 dim^2 + kernel * group * dim multiply-adds per token, without GLU dim^2 less.

    Of K rows after a narrowing: the first map costs 2 dim^2 for each of their K * kernel taps, or for each of the S0
    tokens where these are fewer; then the convolution is of all tokens, too.
    """

    def __init__(self, config: ConvolutionConfig, dim: int) -> None:
        super().__init__()
        self.kernel, self.glu = config.kernel, config.glu
        self.value_gate = nn.Linear(dim, 2 * dim if config.glu else dim, bias=config.bias)
        self.conv = Kernels(config, dim)
        self.norm = config.norm.build(dim)
        self.act = nn.SiLU()
        self.out = nn.Linear(dim, dim, bias=config.bias)
        entry = "dim|dim" if config.glu else "dim"
        self.axes: dict[str, tuple[str | None, ...]] = {  # none is cut: the norm reads all that the convolution gives
            "value_gate.weight": (entry, "dim"),
            "value_gate.bias": (entry,),
            "conv.weight": ("dim", None, None),
            "conv.bias": ("dim",),
            "norm.weight": ("dim",),
            "norm.bias": ("dim",),
            "out.weight": ("dim", "dim"),
            "out.bias": ("dim",),
        }

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        few = ctx.index is not None and self._are_few(ctx.index.shape[1], ctx.kv.shape[1])
        z = self._of_windows(ctx) if few else self._of_all(ctx)
        return self.out(self.act(self.norm(z)))

    def _are_few(self, kept: int, length: int) -> bool:
        """Whether so many rows have fewer taps than there are tokens. An exported graph, made for any sizes, takes the
        tokens."""
        return not torch.compiler.is_exporting() and kept * self.kernel < length

    def _gated(self, x: Tensor) -> Tensor:
        y = self.value_gate(x)
        return functional.glu(y, dim=-1) if self.glu else y

    def _of_all(self, ctx: Context) -> Tensor:
        """[B, S or K, dim]: every token is convolved, then the rows of the context are picked."""
        y = real(self._gated(ctx.kv), ctx.mask)
        z = convolve(y, self.conv) if ctx.segments is None else convolve_documents(y, self.conv, ctx.segments)
        return z if ctx.index is None else pick(z, ctx.index)

    def _of_windows(self, ctx: Context) -> Tensor:
        """[B, K, dim]: only the taps of the rows of the context are computed."""
        flat, there = neighbours(ctx, self.kernel)
        windows = self._gated(pick(ctx.kv, flat)).view(*there.shape, -1)
        windows = windows.masked_fill(~there.unsqueeze(-1), 0.0)  # after the map: its bias would be a token
        return convolve(windows.flatten(0, 1), self.conv, padding=0).reshape(len(flat), -1, windows.shape[-1])


class Kernels(nn.Conv1d):
    """The weight [dim, group, kernel] of a grouped convolution; the functions below say how it is applied."""

    def __init__(self, config: ConvolutionConfig, dim: int) -> None:
        super().__init__(dim, dim, config.kernel, groups=dim // config.group, bias=config.conv_bias)
        self.init_std = (config.kernel * config.group) ** -0.5 if config.init == "fan_in" else None


def convolve(y: Tensor, conv: nn.Conv1d, *, padding: int | None = None) -> Tensor:
    """y [B, S, dim] -> [B, S, dim] as an image of one line whose channels stand last, as they do in y: no copies.

    padding: zeros on both sides (None: kernel // 2, so that S stays).
    """
    side = conv.kernel_size[0] // 2 if padding is None else padding
    image = y.transpose(1, 2).unsqueeze(2)  # [B, dim, 1, S]
    z = functional.conv2d(image, conv.weight.unsqueeze(2), conv.bias, padding=(0, side), groups=conv.groups)
    return z.squeeze(2).transpose(1, 2)


def convolve_line(y: Tensor, conv: nn.Conv1d) -> Tensor:
    """`convolve` in torch's layout of one dimension, [B, dim, S]: the plain form, for comparison."""
    side, lines = conv.kernel_size[0] // 2, y.transpose(1, 2)
    return functional.conv1d(lines, conv.weight, conv.bias, padding=side, groups=conv.groups).transpose(1, 2)


def convolve_documents(y: Tensor, conv: nn.Conv1d, segments: Tensor) -> Tensor:
    """`convolve` where a tap in another document counts as zero; segments [B, S].

    One grouped product per tap, of which what crosses a border is dropped: dropping before would keep a copy of y per
    tap for the backward pass.
    """
    b, s, _ = y.shape
    kernel, groups = conv.kernel_size[0], conv.groups
    near = together(segments, kernel).unsqueeze(3).to(y.dtype)  # [B, S, kernel, 1]
    padded = functional.pad(y, (0, 0, kernel // 2, kernel // 2))
    rows = padded.reshape(-1, groups, y.shape[2] // groups).transpose(0, 1)  # [G, B * (S + kernel - 1), group], a view
    blocks = conv.weight.reshape(groups, -1, *conv.weight.shape[1:])  # [G, out, in, kernel]
    z = torch.zeros((), dtype=y.dtype, device=y.device)
    for j in range(kernel):
        product = torch.bmm(rows, blocks[..., j].transpose(1, 2)).view(groups, b, -1, blocks.shape[1])
        z = torch.addcmul(z, product[:, :, j : j + s], near[:, :, j])  # [G, B, S, group]
    z = z.permute(1, 2, 0, 3).flatten(2)
    return z if conv.bias is None else z + conv.bias.to(z.dtype)
