"""GroupBERT: Chelombiev et al. 2021, arXiv:2106.05822, as Graphcore/groupbert-base-uncased lies on the Hub.

A layer is convolution, grouped feed-forward, attention, grouped feed-forward, each behind its norm. transformers has no
such class, theirs needs an IPU's software; here neither is needed. Its config.json says an eps of 1e-12, BERT's, where
the weights were trained with 1e-3; that one value is not believed. It has BERT's heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...model import EncoderConfig
from ...parts.attention import AttentionConfig
from ...parts.convolution import ConvolutionConfig
from ...parts.embedding import AbsoluteConfig
from ...parts.mlp import MlpConfig
from ...parts.norm import LayerNormConfig
from ...parts.residual import LayerConfig
from .bert import BERT, ENCODER, FIELDS, PUBLISHED
from .layout import Layout, Names, Turn
from .shape import WHY, Shape, read_off, same

FEED_FORWARD = {1: "first", 3: "second"}  # place in our layer -> theirs


def encoder_of(shape: Shape) -> EncoderConfig:
    """The encoder of a Shape: pre-norm layers of four mixers, and a final norm."""
    norm = LayerNormConfig(eps=shape.eps)
    mlp = MlpConfig(hidden=shape.hidden, act=shape.act, groups=shape.groups, mixer=shape.groups > 1)
    attention = AttentionConfig(heads=shape.heads, head_dim=shape.dim // shape.heads, dropout=shape.attention_dropout)
    convolution = ConvolutionConfig(kernel=shape.kernel, group=shape.group, norm=norm)
    layer = LayerConfig(mix=(convolution, mlp, attention, mlp), wiring="pre", dropout=shape.dropout, norm=norm)
    embedding = AbsoluteConfig(
        vocab=shape.vocab, max_len=shape.rows, types=shape.types, dropout=shape.dropout, norm=norm
    )
    layers = (layer,) * shape.layers
    return EncoderConfig(dim=shape.dim, embedding=embedding, layers=layers, final_norm=norm, init_std=shape.init_std)


def shape_of(config: EncoderConfig) -> Shape:
    """The Shape of an encoder. Raises InputError, with the path of what differs, where it is no GroupBERT."""
    convolution, mlp, attention = (*getattr(config.layers[0], "mix", ()), None, None, None)[:3]
    shape = read_off(config, attention, mlp, order="convolution, mlp, attention, mlp")
    kernel, group = (getattr(convolution, name, 1) for name in ("kernel", "group"))
    shape = shape._replace(groups=mlp.groups, kernel=kernel, group=group)
    same(config, encoder_of(shape), "config.encoder", WHY)
    return shape


def swapped(value: Tensor) -> Tensor:
    """Theirs has the gate first, ours the value."""
    return torch.cat(value.chunk(2)[::-1])


def grouped(value: Tensor, shape: Sequence[int]) -> Tensor:
    """[dim, hidden / G, 1], whose g-th block of rows is that of group g, -> [G, hidden / G, dim / G]."""
    value = value.squeeze(-1)
    return value if len(shape) == 2 else value.reshape(shape[0], -1, value.shape[-1]).transpose(1, 2)


def flat(value: Tensor) -> Tensor:
    """The way back of `grouped`."""
    return (value if value.dim() == 2 else value.transpose(1, 2).flatten(0, 1)).unsqueeze(-1)


def _names() -> Names:
    """Ours -> theirs. Of BERT's encoder the embeddings stay, the attention stands at place 2."""
    names: Names = {ours: theirs for ours, theirs in ENCODER.items() if ".embedding." in ours}
    layer, their = "encoder.layers.{}.", "encoder.layer.{}."
    pairs = {
        "0.norm": "convolution.prenorm",
        "0.mixer.value_gate": "convolution.glu",
        "0.mixer.conv": "convolution.groupconv",
        "0.mixer.norm": "convolution.conv_norm",
        "0.mixer.out": "convolution.output_projection",
        "2.norm": "attention.LayerNorm",
        "2.mixer.out": "attention.output.dense",
    }
    for place, which in FEED_FORWARD.items():
        pairs |= {
            f"{place}.norm": f"intermediate_{which}.LayerNorm",
            f"{place}.mixer.up": f"intermediate_{which}.dense",
            f"{place}.mixer.down": f"output_{which}.grouped_matmul",
            f"{place}.mixer.mix": f"output_{which}.dense_output_projection",
        }
    for end in ("weight", "bias"):
        names |= {f"{layer}{ours}.{end}": f"{their}{theirs}.{end}" for ours, theirs in pairs.items()}
        maps = tuple(f"{their}attention.self.{one}.{end}" for one in ("query", "key", "value"))
        names |= {f"{layer}2.mixer.qkv.{end}": maps, f"encoder.norm.{end}": f"encoder.LayerNorm.{end}"}
    return names


SWAP = Turn(lambda value, _: swapped(value), swapped)

GROUPBERT = Layout(
    model_type="groupbert",
    class_name="GroupBert",
    prefix="bert.",
    body=("embeddings", "encoder", "pooler"),
    names=_names(),
    turns={
        "encoder.layers.{}.0.mixer.value_gate.weight": SWAP,
        "encoder.layers.{}.0.mixer.value_gate.bias": SWAP,
        **{f"encoder.layers.{{}}.{place}.mixer.down.weight": Turn(grouped, flat) for place in FEED_FORWARD},
    },
    heads=BERT.heads,
    copies=BERT.copies,
    fields=FIELDS | {"groups": "ffn_groups", "kernel": "conv_kernel_size", "group": "conv_group_size"},
    published=PUBLISHED  # groupbert-base-uncased
    | {
        "ffn_groups": 4,
        "conv_kernel_size": 7,
        "conv_group_size": 16,
        "layer_norm_eps": 1e-3,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    meant={"layer_norm_eps": (1e-12, 1e-3)},
    remark="; transformers itself has no class for it",
    build=encoder_of,
    measure=shape_of,
)
