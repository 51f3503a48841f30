"""What a model costs, part by part: parameters, multiply-adds, bytes kept for the backward pass.

Nothing is estimated: the model runs on the meta device, without memory, while torch counts the products of every part
and what autograd saves. It runs as the caller will run it, with gradients or without: attention of few rows to a memory
has other products in training than in inference (parts/absorbed.py). It is counted with the explicit core, whose maps
are kept; a fused or compiled run keeps less.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..parts.core import use_core
from ..parts.narrow import NarrowConfig
from ..subnet import axes_of_encoder
from .model import Model, ModelConfig, skeleton


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartCost:
    """One part for one batch: its parameters, multiply-adds of a forward pass, bytes saved for the backward pass (0
    where there is none).

    A tensor that several parts save counts at the first of them; parameters are no activations.
    """

    name: str  # embedding, layers.3.0, norm, head
    kind: str
    units: dict[str, int]  # of each named axis: heads, neurons
    parameters: int
    macs: int
    activation_bytes: int


def cost(
    config: ModelConfig, *, batch: int = 1, length: int = 128, keep: int | None = None, training: bool = False
) -> list[PartCost]:
    """The cost of every part for `batch` rows of `length` tokens in float32, in the order in which they run.

    keep: rows per text that are wanted, which a narrowing keeps and the head answers for; None: all. training: of the
    forward pass of an update; otherwise of an answer without gradients, which keeps no activations.
    """
    model = skeleton(config)
    use_core(model, "explicit")
    model.encoder.joins = False  # each layer counts its own products; together they are as many
    parts = list(_parts(model))
    meter = _Meter(model)
    for name, _, part in parts:
        part.register_forward_pre_hook(lambda *_, name=name: meter.enter(name))
        part.register_forward_hook(lambda *_: meter.leave())
    hooks = torch.autograd.graph.saved_tensors_hooks(meter.saved, lambda tensor: tensor)
    with torch.set_grad_enabled(training), meter.products, hooks:
        ids = torch.zeros(batch, length, dtype=torch.long, device="meta")
        select = None if keep is None else ids[:, :keep]
        encoded = model.encoder(ids, select=select, trace=model.trace)
        if model.head is not None:
            model.answer(encoded)
    units: dict[str, dict[str, int]] = {}
    for key, axis in axes_of_encoder(config.encoder).items():
        place, _, axis_name = key.rpartition(".")
        units.setdefault(place, {})[axis_name] = axis.units
    return [
        PartCost(
            name=name,
            kind=kind,
            units=units.get(name, {}),
            parameters=sum(p.numel() for p in part.parameters()),
            macs=meter.macs.get(name, 0),
            activation_bytes=meter.kept.get(name, 0),
        )
        for name, kind, part in parts
    ]


class _Meter:
    """Counts for the part that runs now; none runs inside another."""

    def __init__(self, model: nn.Module) -> None:
        self.products = FlopCounterMode(display=False)
        self.macs: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.now, self.before = "", 0
        self.seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self.alive: list[Tensor] = []  # a freed storage could lend its identity to the next

    def enter(self, name: str) -> None:
        self.now, self.before = name, self.products.get_total_flops()

    def leave(self) -> None:
        self.macs[self.now] = (self.products.get_total_flops() - self.before) // 2
        self.now = ""

    def saved(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.alive.append(tensor)
            self.kept[self.now] = self.kept.get(self.now, 0) + storage.nbytes()
        return tensor


def _parts(model: Model) -> Iterator[tuple[str, str, Any]]:
    """(name, kind, module) of all that a model is made of, in the order in which it runs."""
    encoder, config = model.encoder, model.config.encoder
    yield "embedding", config.embedding.kind, encoder.embedding
    made: Any
    for i, (step, made) in enumerate(zip(config.layers, encoder.layers, strict=True)):
        if not hasattr(step, "mix"):
            yield f"layers.{i}", getattr(step, "kind", "step"), made
        for j, mixer in enumerate(getattr(step, "mix", ())):
            yield f"layers.{i}.{j}", mixer.kind, made[j]
    if config.final_norm is not None:
        yield "norm", getattr(config.final_norm, "kind", "norm"), encoder.norm
    if model.head is not None:
        yield "head", getattr(model.config.head, "kind", "head"), model.head


def cost_per_point(config: ModelConfig, *, length: int, keep: int | None = None) -> list[int]:
    """Multiply-adds that lead from one trace point to the next, with the unit there, for a text of `length` tokens that
    is answered without gradients."""
    macs = {part.name: part.macs for part in cost(config, length=length, keep=keep)}
    out: list[int] = []
    ahead, split = macs["embedding"], False
    for i, layer in enumerate(config.encoder.layers):
        if isinstance(layer, NarrowConfig):
            split = not layer.memory
            continue
        each = [macs[f"layers.{i}.{j}"] for j in range(len(getattr(layer, "mix", ())))]
        for some in [[one] for one in each] if split else [each]:
            out.append(ahead + sum(some))
            ahead = 0
    unit = macs.get("head", 0) // len(out)
    return [one + unit for one in out]
