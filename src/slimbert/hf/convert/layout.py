"""How another library lays out the models that we have too: tables of names, read in both directions.

A name of ours stands beside one of theirs, or several that ours joins along the first dimension (queries, keys and
values of one fused product); `{}` is the number of the layer. Their config fields stand beside those of a `Shape`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...config import HeadConfig, dump
from ...errors import InputError
from ...model import EncoderConfig
from ...model.heads import MaskedLmConfig, PoolerConfig, SequenceConfig, SpanConfig, TokenConfig
from ...parts.activation import Activation
from ...parts.attention import AttentionConfig
from ...parts.embedding import AbsoluteConfig
from ...parts.mixed import MixedAttentionConfig, Padding
from ...parts.mlp import MlpConfig
from ...parts.narrow import NarrowConfig
from ...parts.norm import LayerNormConfig
from ...parts.residual import LayerConfig

Names = dict[str, str | tuple[str, ...]]  # ours -> theirs
TABLE = "encoder.embedding.token.weight"
# theirs -> ours; gelu_new, gelu_fast and gelu_pytorch_tanh are one function
ACTS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


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
    groups: int = 1  # of both maps of the feed-forward network
    ratio: int = 0  # of `heads` to those that attend beside convolving ones (ConvBERT); 0: all attend, none convolves
    kernel: int = 0  # of the convolving heads
    padding: Padding = "masked"  # ours alone: no config of theirs says it

    @property
    def attending(self) -> int:
        """Heads that attend. With a ratio, by transformers' rule: so wide that they fill half of `dim`."""
        return max(1, self.heads // self.ratio) if self.ratio else self.heads


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One architecture of transformers: its names, the names of its config, and what it does not let you choose."""

    model_type: str
    class_name: str  # BertModel, BertForMaskedLM, ... begin with it
    prefix: str  # of the encoder's tensors where there is a head
    body: tuple[str, ...]  # first parts of the encoder's names
    names: Names
    heads: Mapping[str, Names]  # kind of head -> its names
    fields: Mapping[str, str]  # field of Shape -> theirs
    published: Mapping[str, Any]  # value of a field of theirs that config.json leaves out
    fixed: Mapping[str, Any] = field(default_factory=dict)  # field of Shape -> its only value
    offset_after_pad: bool = False  # positions begin one after the number of the pad token
    masked_lm_act: Activation | None = None  # None: the encoder's
    sequence_act: Activation | None = "tanh"  # None: the encoder's
    classifier_dropout: str = "classifier_dropout"
    copies: Mapping[str, str] = field(default_factory=dict)  # a name of theirs that repeats another
    columns: tuple[str, ...] = ()  # ends of their names whose tensors have one dimension of 1 more, the last
    note: str = ""  # where their model and ours are meant to differ

    @property
    def mixed(self) -> bool:
        """Whether its layers have convolving heads."""
        return "ratio" in self.fields

    def theirs(self, name: str, kind: str | None) -> tuple[str, ...]:
        """The tensors of theirs that our tensor `name` of a model with a head of that kind is made of."""
        number = re.search(r"layers\.(\d+)\.", name)
        pattern = re.sub(r"layers\.\d+\.", "layers.{}.", name, count=1)
        found = (self.names | self.heads.get(kind or "", {}))[pattern]
        return tuple(n.format(number[1] if number else "") for n in ((found,) if isinstance(found, str) else found))

    def shape(self, config: Mapping[str, Any], place: object) -> Shape:
        """The Shape that their config says. Raises InputError with the key that is missing or makes no sense."""
        for key, usual in (
            ("position_embedding_type", "absolute"),
            ("is_decoder", False),
            ("add_cross_attention", False),
        ):
            if config.get(key, usual) not in (usual, None):
                raise InputError(
                    f"{place}: {key}", f"{config[key]!r} is another network", f"only {usual!r} is converted"
                )
        values = dict(self.fixed)
        for ours, theirs in self.fields.items():
            values[ours] = self._number(config, theirs, place, type(self.published[theirs]))
        act = str(values["act"])
        if act not in ACTS:
            raise InputError(f"{place}: {self.fields['act']}", f"{act!r} is not known", f"known: {', '.join(ACTS)}")
        values |= {"act": ACTS[act], "width": values.get("width", values["dim"])}
        values["offset"] = self.pad(config, place) + 1 if self.offset_after_pad else 0
        shape = Shape(**values)
        heads = shape.attending * (2 if self.mixed else 1)
        if shape.dim % heads:
            problem = f"{heads} heads do not divide the width {shape.dim}"
            raise InputError(f"{place}: {self.fields['heads']}", problem, "mend config.json")
        if self.mixed and shape.kernel % 2 == 0:
            raise InputError(f"{place}: {self.fields['kernel']}", f"{shape.kernel} is even", "mend config.json")
        if shape.dim % shape.groups or shape.hidden % shape.groups:
            problem = f"{shape.groups} groups do not divide {shape.dim} and {shape.hidden}"
            raise InputError(f"{place}: {self.fields['groups']}", problem, "mend config.json")
        if shape.rows <= shape.offset:
            raise InputError(f"{place}: {self.fields['rows']}", f"{shape.rows} rows, {shape.offset} unused", "mend it")
        return shape

    def pad(self, config: Mapping[str, Any], place: object) -> int:
        """The number of the pad token."""
        return int(self._number(config, "pad_token_id", place, int, least=0))

    def head(
        self,
        kind: str | None,
        shape: Shape,
        config: Mapping[str, Any],
        *,
        labels: Sequence[str] = (),
        tied: bool = True,
    ) -> HeadConfig | None:
        """The config of a head of that kind in this layout."""
        if kind == "masked_lm":
            return MaskedLmConfig(act=self.masked_lm_act or shape.act, norm=LayerNormConfig(eps=shape.eps), tied=tied)
        if kind in (None, "pooler"):
            return PoolerConfig() if kind else None
        given = config.get(self.classifier_dropout, self.published.get(self.classifier_dropout))
        rate = shape.dropout if given is None else float(given)
        if kind == "sequence":
            act = self.sequence_act or shape.act
            return SequenceConfig(labels=tuple(labels), pool="cls", hidden=act, dropout=rate)
        return TokenConfig(labels=tuple(labels), dropout=rate) if kind == "token" else SpanConfig(dropout=rate)

    def describe(self, shape: Shape) -> dict[str, Any]:
        """Their config of a Shape."""
        values = shape._asdict()
        values["act"] = next(theirs for theirs, ours in ACTS.items() if ours == shape.act)
        return {theirs: values[ours] for ours, theirs in self.fields.items()}

    def _number(self, config: Mapping[str, Any], key: str, place: object, kind: type, *, least: int = 1) -> Any:
        value = config.get(key, self.published[key])
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        if kind is int and isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        if kind is str and isinstance(value, str):
            return value
        raise InputError(f"{place}: {key}", f"{value!r} is not a usable {kind.__name__}", "mend config.json")


def encoder_of(shape: Shape) -> EncoderConfig:
    """The encoder of a Shape: post-norm layers of attention and feed-forward."""
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
    layers = (layer,) * shape.layers
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
    place, embedding, first = "config.encoder", config.embedding, config.layers[0]
    attention, mlp = (*getattr(first, "mix", ()), None, None)[:2]
    for number, step in enumerate(config.layers):
        if isinstance(step, NarrowConfig):
            raise InputError(place, f"layer {number} is a narrowing; transformers has none", KEEP)
    if not isinstance(embedding, AbsoluteConfig):
        raise InputError(f"{place}.embedding", "no table of absolute positions", WHY)
    if not isinstance(attention, AttentionConfig | MixedAttentionConfig) or not isinstance(mlp, MlpConfig):
        raise InputError(f"{place}.layers[0].mix", "not attention and then an mlp", WHY)
    mixed = isinstance(attention, MixedAttentionConfig)
    shape = Shape(
        dim=config.dim,
        layers=len(config.layers),
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
        ratio=2 if mixed else 0,
        kernel=getattr(attention, "kernel", 0),
        padding=getattr(attention, "padding", "masked"),
    )
    same(config, encoder_of(shape), place, WHY)
    return shape


KEEP = "keep the slimbert folder, `import slimbert.hf` reads it"
WHY = f"transformers' layouts cannot say it; {KEEP}"


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
