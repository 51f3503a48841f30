"""How another library lays out the models that we have too: tables of names, read in both directions.

A name of ours stands beside one of theirs, or several that ours joins along the first dimension (queries, keys and
values of one fused product); `{}` is the number of the layer. Where a tensor of theirs has another form than ours, a
`Turn` stands beside it. Their config fields stand beside those of a `Shape`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ...config import HeadConfig
from ...errors import InputError
from ...model import EncoderConfig
from ...model.heads import (
    MaskedLmConfig,
    PoolerConfig,
    ReplacedTokenConfig,
    SequenceConfig,
    SpanConfig,
    TokenConfig,
)
from ...parts.activation import Activation
from ...parts.norm import LayerNormConfig
from .shape import Shape, encoder_of, shape_of

Names = dict[str, str | tuple[str, ...]]  # ours -> theirs
LAYER = re.compile(r"layers\.(\d+)\.")
TABLE = "encoder.embedding.token.weight"
FULL = re.compile(r"^encoder\.layer\.")
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


class Turn(NamedTuple):
    """A reversible change of form between a tensor of theirs and ours."""

    ours: Callable[[Tensor, Sequence[int]], Tensor]  # of theirs, and the shape that ours has
    theirs: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One architecture of transformers: its names, the names of its config, and what it does not let you choose."""

    model_type: str  # in config.json
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
    turns: Mapping[str, Turn] = field(default_factory=dict)  # ours -> how theirs becomes it
    meant: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # key of theirs -> (a known slip, what is meant)
    remark: str = ""  # what one must know of a folder written so
    build: Callable[[Shape], EncoderConfig] = encoder_of
    measure: Callable[[EncoderConfig], Shape] = shape_of
    columns: tuple[str, ...] = ()  # ends of their names whose tensors have one dimension of 1 more, the last
    note: str = ""  # where their model and ours are meant to differ
    key: str = ""  # what we call it, where another layout has the same model_type
    full: int | None = None  # of one model: layers before its narrowing; those behind it have a list of their own

    @property
    def name(self) -> str:
        return self.key or self.model_type

    @property
    def narrows(self) -> bool:
        """Whether its models narrow; all of them do, or none."""
        return "full" in self.fields

    @property
    def mixed(self) -> bool:
        """Whether its layers have convolving heads."""
        return "ratio" in self.fields

    def theirs(self, name: str, kind: str | None) -> tuple[str, ...]:
        """The tensors of theirs that our tensor `name` of a model with a head of that kind is made of."""
        number = LAYER.search(name)
        found = (self.names | self.heads.get(kind or "", {}))[LAYER.sub("layers.{}.", name, count=1)]
        texts = (found,) if isinstance(found, str) else found
        layer = int(number[1]) if number else 0
        if self.full is not None and layer > self.full:  # ours at `full` is the narrowing itself
            texts, layer = tuple(FULL.sub("encoder_narrow.layer.", text) for text in texts), layer - self.full - 1
        return tuple(text.format(layer) for text in texts)

    def turn(self, name: str) -> Turn | None:
        """How the tensor of theirs becomes our tensor `name`; None: it has our form."""
        return self.turns.get(LAYER.sub("layers.{}.", name, count=1))

    def notes(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Where their config is not believed."""
        slips = [(key, *slip) for key, slip in self.meant.items() if config.get(key) == slip[0]]
        return tuple(f"{key} {said} of config.json is read as {meant}, as trained" for key, said, meant in slips)

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
        config = {**config, **{key: meant for key, (slip, meant) in self.meant.items() if config.get(key) == slip}}
        values = dict(self.fixed)
        for ours, theirs in self.fields.items():
            least = 0 if ours == "full" else 1
            values[ours] = self._number(config, theirs, place, type(self.published[theirs]), least=least)
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
        if shape.full is not None and shape.full > shape.layers:
            problem = f"{shape.full} of {shape.layers} layers"
            raise InputError(f"{place}: {self.fields['full']}", problem, "mend config.json")
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
        if kind == "replaced_token":
            return ReplacedTokenConfig(act=shape.act)
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
