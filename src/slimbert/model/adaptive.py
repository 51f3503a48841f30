"""Running a model that may stop early: each text goes only as deep as its policy asks.

After every trace point the unit there answers, texts that may stop leave the batch, and what stays is packed together:
states, memory, masks, places and segments. The promise is executed multiply-adds; `work` says what was executed.
"""

import dataclasses
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..errors import InputError
from ..state import State
from .encoder import EncoderConfig
from .exits import Exits
from .halting import Rule as Rule
from .halting import accumulate, bounds, class_is_safe, labels_are_safe, logits_of, number_is_safe
from .model import Model


class Seen(NamedTuple):
    """What a policy may look at after a unit; B counts the texts that are still there."""

    value: Tensor  # y_n [B, C], of tags [B, W, C]
    answer: Tensor  # a_n, the same shape; y_n where nothing halts
    p: Tensor  # [B] what later units may still change
    left: int  # units to come
    real: Tensor | None  # [B, W] which tags count; None: all
    memory: Tensor | None  # [B, M] what the policy said to keep


class Policy(Protocol):
    """When a text may stop. `guaranteed`: its answer is then that of the full depth."""

    @property
    def guaranteed(self) -> bool: ...

    def stop(self, seen: Seen, head: Exits) -> tuple[Tensor, Tensor | None]:
        """([B] True where a text stops, what to keep of each text)."""


class Adapted(NamedTuple):
    """answers: as the head gives them in full depth; depth [B]: units that ran; work: (unit from 0, texts, tokens) of
    everything that ran."""

    answers: Tensor
    depth: Tensor
    work: tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Safe:
    """Stop where no later unit can change the class (each label, each tag; a number by more than `tolerance`).

    `kappa` below 1 counts what is left for less, which stops earlier and guarantees nothing. `thresholds` [C]: of
    labels, or of both classes where one is given from a probability on. `legal` [C, C], `starts` and `ends` [C]: tags
    that may follow each other, and stand first and last; a text with another sequence goes on, as its tags would be
    repaired together.
    """

    rule: Rule = "tight"
    kappa: float = 1.0
    margin: float = 1e-5
    tolerance: float = 0.1
    thresholds: Tensor | None = None
    legal: Tensor | None = None
    starts: Tensor | None = None
    ends: Tensor | None = None

    @property
    def guaranteed(self) -> bool:
        return self.kappa == 1.0

    def stop(self, seen: Seen, head: Exits) -> tuple[Tensor, Tensor | None]:
        config, p = head.config, seen.p * self.kappa
        h_max = getattr(config, "h_max", 1.0)
        if config.answer == "number":
            return number_is_safe(p, seen.left, self.tolerance, head.span, h_max=h_max), None
        if config.answer == "labels" or self.thresholds is not None:
            half = torch.full((seen.answer.shape[-1],), 0.5, device=p.device)
            sides = half if self.thresholds is None else self.thresholds.to(p.device)
            return labels_are_safe(seen.answer, p, seen.left, sides, h_max=h_max, margin=self.margin), None
        safe = class_is_safe(seen.answer, p, seen.left, rule=self.rule, h_max=h_max, margin=self.margin)
        if config.answer == "tags":
            safe = (safe if seen.real is None else safe | ~seen.real).all(dim=1) & self.stands(seen.answer, seen.real)
        return safe, None

    def stands(self, answer: Tensor, real: Tensor | None) -> Tensor:
        """[B] whether the best tags of each text [B, W, C] may stand in this order."""
        tags = answer.argmax(dim=-1)
        real = torch.ones_like(tags, dtype=torch.bool) if real is None else real
        fine = torch.ones(len(tags), dtype=torch.bool, device=tags.device)
        if self.legal is not None:
            pairs = self.legal.to(tags.device)[tags[:, :-1], tags[:, 1:]]
            fine &= (pairs | ~real[:, 1:]).all(dim=1)
        last = (real.sum(dim=1) - 1).clamp(min=0).unsqueeze(1)
        if self.starts is not None:
            fine &= self.starts.to(tags.device)[tags[:, 0]] | ~real[:, 0]
        if self.ends is not None:
            fine &= self.ends.to(tags.device)[tags.gather(1, last).squeeze(1)] | ~real[:, 0]
        return fine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entropy:
    """Stop where the entropy of y_n, in nats, is below `threshold`: DeeBERT, Xin et al. 2020, arXiv:2004.12993."""

    threshold: float
    guaranteed = False

    def stop(self, seen: Seen, head: Exits) -> tuple[Tensor, Tensor | None]:
        value = seen.value if head.config.answer != "labels" else torch.stack((seen.value, 1 - seen.value), dim=-1)
        entropy = -torch.special.xlogy(value, value).sum(dim=-1)
        return _everywhere(entropy < self.threshold, seen), None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confident:
    """Stop where the most probable class of y_n has at least probability `threshold`."""

    threshold: float
    guaranteed = False

    def stop(self, seen: Seen, head: Exits) -> tuple[Tensor, Tensor | None]:
        if head.config.answer == "labels":
            return _everywhere(torch.maximum(seen.value, 1 - seen.value) >= self.threshold, seen), None
        return _everywhere(seen.value.amax(dim=-1) >= self.threshold, seen), None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """Stop where `count` units in a row agreed with the one before (a number: within `tolerance`).

    PABEE: Zhou et al. 2020, arXiv:2006.04152.
    """

    count: int
    tolerance: float = 0.1
    guaranteed = False

    def stop(self, seen: Seen, head: Exits) -> tuple[Tensor, Tensor | None]:
        kind = head.config.answer
        now = seen.value if kind == "number" else (seen.value > 0.5 if kind == "labels" else seen.value.argmax(dim=-1))
        now = now.double().flatten(1) if now.dim() > 1 else now.double().unsqueeze(1)
        if seen.memory is None:
            streak = torch.zeros_like(now[:, :1])
        else:
            before, streak = seen.memory[:, 1:], seen.memory[:, :1]
            near = (now - before).abs() <= (self.tolerance if kind == "number" else 0.0)
            near = near if seen.real is None else near | ~seen.real
            streak = torch.where(near.all(dim=1, keepdim=True), streak + 1, 0.0)
        return streak.squeeze(1) >= self.count, torch.cat((streak, now), dim=1)


@torch.inference_mode()
def adaptive(
    model: Model,
    ids: Tensor,
    *,
    policy: Policy,
    mask: Tensor | None = None,
    types: Tensor | None = None,
    segments: Tensor | None = None,
    select: Tensor | None = None,
    real: Tensor | None = None,
    max_depth: int | Tensor | None = None,
) -> Adapted:
    """Answers of texts [B, S], each computed as deep as `policy` asks, `max_depth` units at most ([B]: of each text).

    Takes what the model takes; `real` [B, W]: which tags count. Raises InputError where the head has no trace, and in
    training mode: with dropout nothing would be guaranteed.
    """
    head, encoder = model.head, model.encoder
    if not isinstance(head, Exits):
        said = getattr(model.config.head, "kind", "none")
        raise InputError("model.head", f"a head of kind {said} has no trace", "give it a head of kind dact or exits")
    if model.training:
        raise InputError("model", "it is in training mode, and dropout breaks the guarantee", "call model.eval() first")
    state = encoder.begin(ids, mask=mask, types=types, segments=segments, select=select)
    blocks = encoder.blocks(early=select is not None)
    rows = torch.arange(len(ids), device=ids.device)
    most = torch.as_tensor(len(blocks) if max_depth is None else max_depth, device=ids.device)
    most = most.clamp(1, len(blocks)).expand(len(ids))
    trims = not _reads_padding(model.config.encoder)
    p = torch.ones(len(ids), device=ids.device)
    answer: Tensor | None = None
    memory: Tensor | None = None
    out: Tensor | None = None
    depth = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
    work: list[tuple[int, int, int]] = []
    for n, block in enumerate(blocks):
        work.append((n, len(rows), (state.x if state.memory is None else state.memory).shape[1]))
        state = block(state)
        unit = head.unit_answer(n, encoder.read(state))
        value = head.value(unit.logits)
        answer = value if answer is None or unit.log_h is None else accumulate(answer, value, p)
        if unit.log_h is not None:
            p = p * unit.log_h.exp()
        left = len(blocks) - n - 1
        seen = Seen(value, answer, p, left, real, memory)
        settled, memory = policy.stop(seen, head)
        stop = settled | (most <= n + 1)
        if not bool(stop.any()):
            continue
        out = answer.new_empty(len(ids), *answer.shape[1:]) if out is None else out
        out[rows[stop]] = _given(answer, settled, p, left, head, policy)[stop]
        depth[rows[stop]] = n + 1
        if bool(stop.all()):
            break
        stay = (~stop).nonzero().squeeze(1)
        rows, p, answer, most, state = rows[stay], p[stay], answer[stay], most[stay], packed(state, stay, trim=trims)
        memory = None if memory is None else memory[stay]
        real = None if real is None else real[stay]
    assert out is not None
    return Adapted(logits_of(out, head.config.answer), depth, tuple(work))


def packed(state: State, stay: Tensor, *, trim: bool = True) -> State:
    """The texts at `stay` [b], cut to the longest of them where `trim`."""
    batch = {
        name: value.index_select(0, stay)
        for name in ("x", "mask", "index", "select", "memory", "memory_mask", "segments")
        if (value := getattr(state, name)) is not None
    }
    state = state._replace(**batch, losses=(), maps=())
    narrowed = state.memory is not None
    mask = state.memory_mask if narrowed else state.mask if state.index is None else None
    if mask is None or not trim:
        return state
    real = mask.any(dim=0).nonzero()
    longest = int(real[-1]) + 1 if len(real) else 1
    short = mask[:, :longest]
    kept = None if bool(short.all()) else short
    segments = None if state.segments is None else state.segments[:, :longest]
    if narrowed:
        assert state.memory is not None
        return state._replace(memory=state.memory[:, :longest], memory_mask=kept, segments=segments)
    return state._replace(x=state.x[:, :longest], mask=kept, segments=segments)


def _reads_padding(encoder: EncoderConfig) -> bool:
    """Whether some mixer reads padded places, as published convolutions do: cutting them would change real ones."""
    return any(getattr(mixer, "padding", None) == "published" for _, mixer in encoder.mixers())


def _given(answer: Tensor, settled: Tensor, p: Tensor, left: int, head: Exits, policy: Policy) -> Tensor:
    """The answer of texts that stop: of a number that has settled, the middle of what it can still become."""
    if head.config.answer != "number" or not isinstance(policy, Safe):
        return answer
    low, high = bounds(answer, p * policy.kappa, left, head.span, h_max=getattr(head.config, "h_max", 1.0))
    return torch.where(settled.unsqueeze(1), ((low + high) / 2).to(answer.dtype), answer)


def _everywhere(stop: Tensor, seen: Seen) -> Tensor:
    """[B] whether it is so at every label, at every tag that counts."""
    if stop.dim() == 1:
        return stop
    if seen.real is not None and stop.dim() == 2 and stop.shape == seen.real.shape:
        stop = stop | ~seen.real
    return stop.all(dim=1)
