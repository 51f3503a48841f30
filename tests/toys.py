"""Toy sizes of every part, and the toy encoder that is at once mixed attention, grouped, convolving and narrowed."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.testing import assert_close

from slimbert.config import KINDS
from slimbert.model.encoder import EncoderConfig
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.model.heads import SequenceConfig
from slimbert.model.model import Model, ModelConfig, fresh
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.embedding import AbsoluteConfig, TokensConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import GluConfig, MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import LayerNormConfig, RmsNormConfig
from slimbert.parts.position import AlibiConfig, RotaryConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import Mixed
from slimbert.subnet import Axis

DIM, LENGTH, VOCAB = 32, 12, 40
LENGTHS = (12, 9, 5)  # real tokens of the rows of the ragged batch
SELECT = ((0, 3, 7, 11), (2, 0, 8, 5), (0, 4, 1, 2))  # rows kept, in any order, all real
MIXED = MixedAttentionConfig(heads=3, conv_heads=2, span_heads=4, head_dim=8, kernel=3)

# What a part is made with in the contracts, where its defaults are not toy-size or one form does not cover it.
FORMS: dict[str, tuple[Any, ...]] = {
    "attention": (
        AttentionConfig(heads=4, head_dim=8),
        AttentionConfig(heads=3, head_dim=8, bias=False, position=AlibiConfig()),
        AttentionConfig(heads=4, head_dim=6, position=RotaryConfig()),
    ),
    "mixed_attention": (
        MIXED,
        MixedAttentionConfig(heads=3, head_dim=8, kernel=3, bias=False, position=AlibiConfig()),
        MixedAttentionConfig(heads=2, conv_heads=3, head_dim=6, position=RotaryConfig()),
    ),
    "mlp": (
        MlpConfig(hidden=48),
        MlpConfig(hidden=48, groups=4, mixer=True, act="gelu_tanh"),
        MlpConfig(hidden=48, groups=2, up_groups=4, bias=False),
    ),
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
    mixed, convolution = MIXED, ConvolutionConfig(kernel=5, group=8)
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


def assert_compiled_is_eager(model: Model, ids: Tensor, **given: Any) -> None:
    """One graph gives the same answer and gradients; ahead-of-time autograd, without code generation."""
    torch.compiler.reset()
    counters.clear()
    eager = answer_and_gradients(model, model, ids, **given)
    run = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    compiled = answer_and_gradients(model, run, ids, **given)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    assert_close(compiled, eager, rtol=2e-5, atol=2e-5)  # float32, sums in another order


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
