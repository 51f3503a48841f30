"""What tells one encoder of the layouts from another: a Shape, the encoder it stands for, and the way back."""

from typing import Any, NamedTuple

from ...config import StepConfig, dump
from ...errors import InputError
from ...model import EncoderConfig
from ...parts.activation import Activation
from ...parts.attention import AttentionConfig
from ...parts.embedding import AbsoluteConfig
from ...parts.mixed import MixedAttentionConfig, Padding
from ...parts.mlp import MlpConfig
from ...parts.narrow import NarrowConfig
from ...parts.norm import LayerNormConfig
from ...parts.residual import LayerConfig

KEEP = "keep the slimbert folder, `import slimbert.hf` reads it"
WHY = f"transformers' layouts cannot say it; {KEEP}"


class Shape(NamedTuple):
    """What tells one encoder of these layouts from another."""

    dim: int
    layers: int
    heads: int
    hidden: int
    act: Activation
    vocab: int
    rows: int  # of the position table
    offset: int  # rows before place 0
    types: int
    width: int  # of the token table
    eps: float
    dropout: float
    attention_dropout: float
    init_std: float
    groups: int = 1  # of the feed-forward network
    kernel: int = 0  # rows that a convolution reads; 0: there is none
    group: int = 1  # channels of a group of the convolution
    full: int | None = None  # layers before a narrowing; None: there is none
    ratio: int = 0  # of `heads` to those that attend beside convolving ones (ConvBERT); 0: all attend, none convolves
    padding: Padding = "masked"  # ours alone: no config of theirs says it

    @property
    def attending(self) -> int:
        """Heads that attend. With a ratio, by transformers' rule: so wide that they fill half of `dim`."""
        return max(1, self.heads // self.ratio) if self.ratio else self.heads


def encoder_of(shape: Shape) -> EncoderConfig:
    """The encoder of a Shape: post-norm layers of attention and feed-forward, with or without a narrowing."""
    norm = LayerNormConfig(eps=shape.eps)
    mlp = MlpConfig(hidden=shape.hidden, act=shape.act, groups=shape.groups, up_groups=shape.groups)
    layer = LayerConfig(mix=(_attention(shape), mlp), dropout=shape.dropout, norm=norm)
    embedding = AbsoluteConfig(
        vocab=shape.vocab,
        width=None if shape.width == shape.dim else shape.width,
        max_len=shape.rows - shape.offset,
        offset=shape.offset,
        types=shape.types,
        dropout=shape.dropout,
        norm=norm,
    )
    layers: tuple[StepConfig, ...] = (layer,) * shape.layers
    if shape.full is not None:
        layers = (*layers[: shape.full], NarrowConfig(memory=shape.full < shape.layers), *layers[shape.full :])
    return EncoderConfig(dim=shape.dim, embedding=embedding, layers=layers, init_std=shape.init_std)


def _attention(shape: Shape) -> AttentionConfig | MixedAttentionConfig:
    heads, dropout = shape.attending, shape.attention_dropout
    if not shape.ratio:
        return AttentionConfig(heads=heads, head_dim=shape.dim // heads, dropout=dropout)
    head_dim = shape.dim // (2 * heads)
    return MixedAttentionConfig(
        heads=heads, head_dim=head_dim, kernel=shape.kernel, dropout=dropout, padding=shape.padding
    )


def shape_of(config: EncoderConfig) -> Shape:
    """The Shape of an encoder, read off its embedding and first layer.

    Raises InputError, with the path of what differs, where it is not an encoder of these layouts.
    """
    first = next((step for step in config.layers if not isinstance(step, NarrowConfig)), None)
    attention, mlp = (*getattr(first, "mix", ()), None, None)[:2]
    shape = read_off(config, attention, mlp, order="attention and then an mlp")
    same(config, encoder_of(shape), "config.encoder", WHY)
    return shape


def read_off(config: EncoderConfig, attention: Any, mlp: Any, *, order: str) -> Shape:
    """The Shape that the embedding and two mixers of the first layer say; `order`: what a layer has to be made of."""
    place, embedding = "config.encoder", config.embedding
    narrows = [number for number, step in enumerate(config.layers) if isinstance(step, NarrowConfig)]
    if not isinstance(embedding, AbsoluteConfig):
        raise InputError(f"{place}.embedding", "no table of absolute positions", WHY)
    if not isinstance(attention, AttentionConfig | MixedAttentionConfig) or not isinstance(mlp, MlpConfig):
        raise InputError(f"{place}.layers[0].mix", f"not {order}", WHY)
    mixed = isinstance(attention, MixedAttentionConfig)
    return Shape(
        dim=config.dim,
        layers=len(config.layers) - len(narrows),
        heads=attention.heads * (2 if mixed else 1),
        hidden=mlp.hidden,
        act=mlp.act,
        vocab=embedding.vocab,
        rows=embedding.max_len + embedding.offset,
        offset=embedding.offset,
        types=embedding.types,
        width=embedding.width or config.dim,
        eps=getattr(embedding.norm, "eps", 0.0),
        dropout=embedding.dropout,
        attention_dropout=attention.dropout,
        init_std=config.init_std,
        groups=mlp.groups,
        kernel=getattr(attention, "kernel", 0),
        full=narrows[0] if narrows else None,
        ratio=2 if mixed else 0,
        padding=getattr(attention, "padding", "masked"),
    )


def same(ours: Any, said: Any, place: str, remedy: str) -> None:
    """Raise InputError at the first place where our config differs from what another library's config says."""
    difference = _difference(dump(ours), dump(said), place)
    if difference:
        raise InputError(*difference, remedy)


def _difference(ours: Any, said: Any, place: str) -> tuple[str, str] | None:
    if isinstance(ours, dict) and isinstance(said, dict) and ours.keys() == said.keys():
        found = (_difference(ours[key], said[key], f"{place}.{key}") for key in ours)
    elif isinstance(ours, list) and isinstance(said, list) and len(ours) == len(said):
        found = (_difference(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(ours, said, strict=True)))
    else:
        return None if ours == said else (place, f"{_named(ours)} where the layout has {_named(said)}")
    return next((difference for difference in found if difference), None)


def _named(value: Any) -> str:
    """A part by its kind, a list by its length, anything else as it is."""
    if isinstance(value, dict):
        return str(value.get("kind", "a mapping"))
    if isinstance(value, list):
        return f"{len(value)} entries"
    return "nothing" if value is None else repr(value)
