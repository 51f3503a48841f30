"""GroupBERT in plain torch on tensors named as they are published: the oracle of our parts and of their converter.

Written from the description (Chelombiev et al. 2021, arXiv:2106.05822, and the authors' layout of weights) with the
simplest operations there are: one product per group, per tap, per head.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import gelu, pad

Tensors = Mapping[str, Tensor]
EPS = 1e-3


class Size(NamedTuple):
    """A toy GroupBERT."""

    dim: int = 32
    layers: int = 2
    heads: int = 2
    hidden: int = 64
    groups: int = 4
    group: int = 8
    kernel: int = 7
    vocab: int = 40
    rows: int = 24
    types: int = 2

    def config(self, **changes: Any) -> dict[str, Any]:
        """config.json as it is published; the eps in it is the known slip."""
        return {
            "model_type": "groupbert",
            "architectures": ["GroupBertForPreTraining"],
            "hidden_size": self.dim,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.hidden,
            "hidden_act": "gelu",
            "vocab_size": self.vocab,
            "max_position_embeddings": self.rows,
            "type_vocab_size": self.types,
            "layer_norm_eps": 1e-12,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.02,
            "pad_token_id": 0,
            "ffn_groups": self.groups,
            "conv_group_size": self.group,
            "conv_kernel_size": self.kernel,
            "max_num_masked_tokens": 96,
        } | changes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The published names and shapes, all heads of pretraining among them."""
        h, four = self.dim, self.hidden
        maps = {"cls.predictions.transform.dense": (h, h), "bert.pooler.dense": (h, h), "cls.seq_relationship": (2, h)}
        norms = ["bert.embeddings.LayerNorm", "bert.encoder.LayerNorm", "cls.predictions.transform.LayerNorm"]
        for i in range(self.layers):
            layer = f"bert.encoder.layer.{i}."
            norms += [layer + name for name in ("convolution.prenorm", "convolution.conv_norm", "attention.LayerNorm")]
            maps |= {
                f"{layer}convolution.glu": (2 * h, h),
                f"{layer}convolution.groupconv": (h, self.group, self.kernel),
            }
            maps |= {f"{layer}attention.self.{name}": (h, h) for name in ("query", "key", "value")}
            maps |= {f"{layer}attention.output.dense": (h, h), f"{layer}convolution.output_projection": (h, h)}
            for which in ("first", "second"):
                norms.append(f"{layer}intermediate_{which}.LayerNorm")
                maps[f"{layer}intermediate_{which}.dense"] = (four, h)
                maps[f"{layer}output_{which}.grouped_matmul"] = (h, four // self.groups, 1)
                maps[f"{layer}output_{which}.dense_output_projection"] = (h, h)
        tables = {"word": self.vocab, "position": self.rows, "token_type": self.types}
        out: dict[str, tuple[int, ...]] = {f"bert.embeddings.{n}_embeddings.weight": (k, h) for n, k in tables.items()}
        out |= {f"{name}.weight": shape for name, shape in maps.items()}
        out |= {f"{name}.bias": shape[:1] for name, shape in maps.items()}
        out |= {f"{name}.{end}": (h,) for name in norms for end in ("weight", "bias")}
        return out | {"cls.predictions.bias": (self.vocab,)}


def fabricated(size: Size, *, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of that size; those of the tables as small as in a trained model, where the eps of 1e-3 is felt."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in size.shapes().items():
        drawn = torch.randn(shape, generator=generator)
        norm = name.endswith("orm.weight")
        out[name] = 1 + 0.3 * drawn if norm else (0.02 if "embeddings.weight" in name else 0.3) * drawn
    return out


def folder_of(folder: Path, tensors: Tensors, config: Mapping[str, Any]) -> Path:
    """A folder as a checkpoint lies on the Hub, the tied decoder left out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(config)))
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
    return folder


def states(t: Tensors, size: Size, ids: Tensor, *, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
    """ids [B, S] -> the states [B, S, dim] behind the final norm."""
    mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    types = torch.zeros_like(ids) if types is None else types
    word, place, kind = (t[f"bert.embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type"))
    x = _norm(t, "bert.embeddings.LayerNorm", word[ids] + place[: ids.shape[1]] + kind[types])
    for i in range(size.layers):
        layer = f"bert.encoder.layer.{i}."
        x = x + convolution(t, size, f"{layer}convolution.", _norm(t, f"{layer}convolution.prenorm", x), mask)
        x = x + _feed_forward(t, size, layer, "first", x)
        x = x + _attention(t, size, layer, x, mask)
        x = x + _feed_forward(t, size, layer, "second", x)
    return _norm(t, "bert.encoder.LayerNorm", x)


def answers(t: Tensors, x: Tensor) -> Tensor:
    """States [B, S, dim] -> logits [B, S, vocab]; the decoder is the table of words."""
    x = gelu(_map(t, "cls.predictions.transform.dense", x))
    x = _norm(t, "cls.predictions.transform.LayerNorm", x)
    return x @ t["bert.embeddings.word_embeddings.weight"].T + t["cls.predictions.bias"]


def convolution(t: Tensors, size: Size, name: str, u: Tensor, mask: Tensor) -> Tensor:
    """The branch of the convolution for its normed input u [B, S, dim]."""
    both, side, s = _map(t, f"{name}glu", u), size.kernel // 2, size.group
    gate, value = both[..., : size.dim], both[..., size.dim :]
    y = value * torch.sigmoid(gate) * mask[..., None]
    y = pad(y, (0, 0, side, side))
    weight, z = t[f"{name}groupconv.weight"], []
    for start in range(0, size.dim, s):
        block = slice(start, start + s)
        taps = [y[:, j : j + u.shape[1], block] @ weight[block, :, j].T for j in range(size.kernel)]
        z.append(torch.stack(taps).sum(0))
    convolved = torch.cat(z, dim=-1) + t[f"{name}groupconv.bias"]
    normed = _norm(t, f"{name}conv_norm", convolved)
    return _map(t, f"{name}output_projection", normed * torch.sigmoid(normed))


def _feed_forward(t: Tensors, size: Size, layer: str, which: str, x: Tensor) -> Tensor:
    hidden = gelu(_map(t, f"{layer}intermediate_{which}.dense", _norm(t, f"{layer}intermediate_{which}.LayerNorm", x)))
    weight = t[f"{layer}output_{which}.grouped_matmul.weight"].squeeze(-1)
    blocks = zip(hidden.chunk(size.groups, dim=-1), weight.chunk(size.groups), strict=True)
    joined = torch.cat([block @ rows.T for block, rows in blocks], dim=-1)
    joined = joined + t[f"{layer}output_{which}.grouped_matmul.bias"]
    return _map(t, f"{layer}output_{which}.dense_output_projection", joined)


def _attention(t: Tensors, size: Size, layer: str, x: Tensor, mask: Tensor) -> Tensor:
    u = _norm(t, f"{layer}attention.LayerNorm", x)
    q, k, v = (_map(t, f"{layer}attention.self.{name}", u) for name in ("query", "key", "value"))
    heads = []
    for one in zip(*(part.chunk(size.heads, dim=-1) for part in (q, k, v)), strict=True):
        scores = one[0] @ one[1].transpose(1, 2) / (size.dim // size.heads) ** 0.5
        heads.append(scores.masked_fill(~mask[:, None, :], -torch.inf).softmax(dim=-1) @ one[2])
    return _map(t, f"{layer}attention.output.dense", torch.cat(heads, dim=-1))


def _map(t: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def _norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + EPS).sqrt()
    return scaled * t[f"{name}.weight"] + t[f"{name}.bias"]
