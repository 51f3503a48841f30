"""Toy forms of later parts, and the toy encoder that is at once mixed attention, grouped, convolving and narrowed.

The toys are registered kinds: every contract holds for them too. They are written for clarity (taps are gathered),
and they bend the declarations of axes as far as the real parts will: two axes in one fused map, rows that another axis
also reads, axes side by side in one output map, no axis at all.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from slimbert.config import KINDS, kind
from slimbert.errors import InputError
from slimbert.model.encoder import EncoderConfig
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.model.heads import SequenceConfig
from slimbert.model.model import Model, ModelConfig, fresh
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.core import Core, Sdpa, additive
from slimbert.parts.embedding import AbsoluteConfig, TokensConfig
from slimbert.parts.linear import Fused
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import GluConfig, MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import LayerNormConfig, RmsNormConfig
from slimbert.parts.position import AlibiConfig, RotaryConfig
from slimbert.parts.residual import LayerConfig
from slimbert.parts.taps import gathered
from slimbert.state import Context, Mixed
from slimbert.subnet import Axis

DIM, LENGTH, VOCAB = 32, 12, 40
LENGTHS = (12, 9, 5)  # real tokens of the rows of the ragged batch
SELECT = ((0, 3, 7, 11), (2, 0, 8, 5), (0, 4, 1, 2))  # rows kept, in any order, all real


@kind("toy_mixed")
class ToyMixedConfig:
    """`span_heads`: heads of the query from which kernels are made; the first `heads` of them also attend."""

    heads: int = 3
    conv_heads: int = 2
    span_heads: int = 4
    head_dim: int = 8
    kernel: int = 3
    axes = {"head": ("heads", "head_dim"), "conv_head": ("conv_heads", "head_dim")}
    mixes_tokens = True

    def check(self, dim: int, path: str) -> None:
        if not 1 <= self.heads <= self.span_heads or min(self.conv_heads, self.head_dim, self.kernel) < 1:
            raise InputError(f"{path}.heads", f"{self.heads} heads", f"give 1 to {self.span_heads}, and sizes above 0")

    def build(self, dim: int) -> "ToyMixed":
        return ToyMixed(self, dim)


class ToyMixed(nn.Module):
    """Half attends, half convolves with kernels made from the span: Jiang et al. 2020, arXiv:2008.02496."""

    axes = {
        "qkvu.weight": ("~head|head|head|conv_head", "dim"),
        "qkvu.bias": ("~head|head|head|conv_head",),
        "depth.weight": ("dim", None, None),
        "point.weight": ("~head", "dim"),
        "point.bias": ("~head",),
        "span.weight": ("conv_head", "~head"),  # `kernel` rows per conv head
        "span.bias": ("conv_head",),
        "out.weight": ("dim", "head|conv_head"),
        "out.bias": ("dim",),
    }
    sinks = {"head": "out.weight", "conv_head": "out.weight"}

    def __init__(self, config: ToyMixedConfig, dim: int) -> None:
        super().__init__()
        self.heads, self.conv_heads, self.kernel = config.heads, config.conv_heads, config.kernel
        span, attend, conv = (n * config.head_dim for n in (config.span_heads, config.heads, config.conv_heads))
        self.attend = attend
        self.qkvu = Fused(dim, (span, attend, attend, conv))
        self.depth = nn.Conv1d(dim, dim, config.kernel, groups=dim, bias=False)  # holds the weight of each channel
        self.point = nn.Linear(dim, span)
        self.span = nn.Linear(span, config.conv_heads * config.kernel)
        self.out = nn.Linear(attend + conv, dim)
        self.core: Core = Sdpa()

    def forward(self, x: Tensor, ctx: Context) -> Tensor | Mixed:
        q = self.qkvu.maps(x, 0, 1)[0]
        k, v, u = self.qkvu.maps(ctx.kv, 1, 4)
        keys = self.point(torch.einsum("bskd,dk->bsd", gathered(ctx.kv, ctx, self.kernel), self.depth.weight[:, 0]))
        kernels = self.span(keys * q).unflatten(-1, (self.conv_heads, self.kernel)).softmax(dim=-1)
        values = gathered(u, ctx, self.kernel).unflatten(-1, (self.conv_heads, -1))
        convolved = torch.einsum("bshk,bskhd->bshd", kernels, values).flatten(2)
        split = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q[..., : self.attend], k, v))
        attended, weights = self.core(*split, additive(ctx.mask, ctx.segments, ctx.index, q.dtype), 0.0)
        y = self.out(torch.cat((attended.transpose(1, 2).flatten(2), convolved), dim=-1))
        return y if weights is None else Mixed(y, maps=(weights,))


@kind("toy_convolution")
class ToyConvolutionConfig:
    kernel: int = 5
    group: int = 8
    mixes_tokens = True

    def check(self, dim: int, path: str) -> None:
        if self.kernel < 1 or self.group < 1 or dim % self.group:
            raise InputError(f"{path}.group", f"{self.group} does not divide the width {dim}", "choose a divisor")

    def build(self, dim: int) -> "ToyConvolution":
        return ToyConvolution(self, dim)


class ToyConvolution(nn.Module):
    """Gate, grouped convolution, norm, activation, projection: Chelombiev et al. 2021, arXiv:2106.05822."""

    axes = {
        "gate.weight": ("dim", "dim"),
        "gate.bias": ("dim",),
        "conv.weight": ("dim", None, None),
        "conv.bias": ("dim",),
        "norm.weight": ("dim",),
        "norm.bias": ("dim",),
        "out.weight": ("dim", "dim"),
        "out.bias": ("dim",),
    }

    def __init__(self, config: ToyConvolutionConfig, dim: int) -> None:
        super().__init__()
        self.kernel, self.groups = config.kernel, dim // config.group
        self.gate = Fused(dim, (dim, dim))
        self.conv = nn.Conv1d(dim, dim, config.kernel, groups=self.groups)
        self.norm = nn.LayerNorm(dim)
        self.act = nn.SiLU()
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        gate, value = self.gate.maps(ctx.kv)
        taps = gathered(value * gate.sigmoid(), ctx, self.kernel).unflatten(-1, (self.groups, -1))
        y = torch.einsum("bskgi,goik->bsgo", taps, self.conv.weight.unflatten(0, (self.groups, -1))).flatten(2)
        return self.out(self.act(self.norm(y + self.conv.bias)))


# What a part is made with in the contracts, where its defaults are not toy-size or one form does not cover it.
FORMS: dict[str, tuple[Any, ...]] = {
    "attention": (
        AttentionConfig(heads=4, head_dim=8),
        AttentionConfig(heads=3, head_dim=8, bias=False, position=AlibiConfig()),
        AttentionConfig(heads=4, head_dim=6, position=RotaryConfig()),
    ),
    "mixed_attention": (
        MixedAttentionConfig(heads=3, conv_heads=2, span_heads=4, head_dim=8, kernel=5),
        MixedAttentionConfig(heads=3, head_dim=8, kernel=3, bias=False, position=AlibiConfig()),
        MixedAttentionConfig(heads=2, conv_heads=3, head_dim=6, position=RotaryConfig()),
    ),
    "mlp": (
        MlpConfig(hidden=48),
        MlpConfig(hidden=48, groups=4, mixer=True, act="gelu_tanh"),
        MlpConfig(hidden=48, groups=2, up_groups=4, bias=False),
    ),
    "toy_mixed": (ToyMixedConfig(),),
    "convolution": (
        ConvolutionConfig(kernel=5, group=8),
        ConvolutionConfig(kernel=3, group=DIM, glu=False, norm=RmsNormConfig(), init="fan_in"),
        ConvolutionConfig(group=1, bias=False, conv_bias=False),
    ),
    "layer": (LayerConfig(mix=(MlpConfig(hidden=48),)),),
    "sequence": (SequenceConfig(labels=("a", "b", "c")), SequenceConfig(labels=("a", "b"), pool="mean", hidden=None)),
    "dact": (DactConfig(labels=("a", "b", "c"), units=1),),
    "exits": (ExitsConfig(labels=("a", "b", "c"), units=1),),
    "glu": (GluConfig(hidden=48), GluConfig(hidden=48, groups=4, bias=True, act="silu")),
}
SMALL = {
    "heads": 4,
    "head_dim": 8,
    "hidden": 48,
    "experts": 4,
    "vocab": VOCAB,
    "max_len": 16,
    "labels": ("a", "b", "c"),
}


def configs(role: str) -> list[Any]:
    """Every registered kind of a role at toy size: the forms listed here, else its defaults with small sizes."""
    return [one for cls in KINDS[role].values() for one in (FORMS.get(cls.kind) or (small(cls),))]


def small(cls: type) -> Any:
    return cls(**{f.name: SMALL[f.name] for f in dataclasses.fields(cls) if f.name in SMALL})


def name(config: Any) -> str:
    """The kind and what is not default: the id of a test."""
    plain = {f.name: (getattr(config, f.name), f.default) for f in dataclasses.fields(config)}
    changed = [f"{key}={getattr(value, 'kind', value)}" for key, (value, default) in plain.items() if value != default]
    return "-".join([config.kind, *changed])


def encoder_of(*steps: Any, **rest: Any) -> EncoderConfig:
    """An encoder of these steps at toy size; a mixer stands for a layer of its own."""
    layers = tuple(LayerConfig(mix=(step,)) if type(step) in KINDS["mixer"].values() else step for step in steps)
    return EncoderConfig(**{"dim": DIM, "embedding": TokensConfig(vocab=VOCAB, max_len=16), "layers": layers} | rest)


def toy_encoder() -> EncoderConfig:
    """Mixed attention, grouped MLP, grouped convolution, both wirings and norms, all positions, narrowed."""
    mixed, convolution = ToyMixedConfig(), ToyConvolutionConfig()
    turned = AttentionConfig(heads=4, head_dim=8, position=RotaryConfig())
    biased = AttentionConfig(heads=3, head_dim=8, position=AlibiConfig())
    grouped = MlpConfig(hidden=64, groups=4, mixer=True)
    return encoder_of(
        LayerConfig(mix=(mixed, grouped)),
        LayerConfig(mix=(convolution, MlpConfig(hidden=48, groups=2, up_groups=4), turned), wiring="pre"),
        NarrowConfig(),
        LayerConfig(mix=(mixed, convolution, grouped), wiring="pre", norm=RmsNormConfig()),
        LayerConfig(mix=(biased, GluConfig(hidden=48, groups=2)), norm=RmsNormConfig()),
        embedding=AbsoluteConfig(vocab=VOCAB, width=16, max_len=16),
        final_norm=LayerNormConfig(),
    )


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter drawn wide enough to matter: at a standard deviation of 0.02 a law would hold of any mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def model_of(encoder: EncoderConfig, head: Any = None, seed: int = 0) -> Model:
    """A lively model."""
    model = lively(fresh(ModelConfig(encoder=encoder, head=head), seed), seed)
    assert isinstance(model, Model)
    return model


def mixer_of(config: Any) -> nn.Module:
    """A lively mixer, with its initialised buffers."""
    return model_of(encoder_of(config)).encoder.layers[0][0].mixer


def output(answer: Tensor | Mixed) -> Tensor:
    return answer.y if isinstance(answer, Mixed) else answer


def answer_and_gradients(model: Model, run: Any, ids: Tensor, **given: Any) -> tuple[Tensor, list[Tensor]]:
    """What `run`, a form of the model, says of ids, and the gradients of the mean square of it."""
    model.zero_grad()
    y = run(ids, **given)
    y.square().mean().backward()
    return y.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


class Batch:
    """Three ragged rows: ids [3, 12], x [3, 12, 32], mask, select [3, 4]; and how many tokens of each row are real."""

    def __init__(self, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(0, VOCAB, (3, LENGTH), generator=generator)
        self.x = torch.randn(3, LENGTH, DIM, generator=generator)
        self.mask = torch.arange(LENGTH) < torch.tensor(LENGTHS)[:, None]
        self.select = torch.tensor(SELECT)

    def documents(self) -> Iterator[tuple[int, int]]:
        """(row, its length)."""
        yield from enumerate(LENGTHS)


def pack(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The real tokens of rows [3, 12, ...] as one packed row [1, 26, ...], and its segments [1, 26]."""
    packed = torch.cat([rows[i, :n] for i, n in enumerate(LENGTHS)]).unsqueeze(0)
    return packed, torch.cat([torch.full((n,), i) for i, n in enumerate(LENGTHS)]).unsqueeze(0)


def some_units(axis: Axis, seed: int, *, drop: bool = True) -> list[int]:
    """Units to keep: in each group about two thirds (all, where not `drop`), in any order."""
    generator = torch.Generator().manual_seed(seed)
    size = axis.units // axis.groups
    number = max(1, size * 2 // 3) if drop else size
    return [g * size + int(u) for g in range(axis.groups) for u in torch.randperm(size, generator=generator)[:number]]
