"""The tensors of a layout: theirs to ours and back, every one accounted for."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import InputError
from .layout import TABLE, Layout

OTHERS = {"sequence": "MultipleChoice|TokenClassification|QuestionAnswering", "token": "MultipleChoice"}
BUFFERS = re.compile(r"(^|\.)(position_ids|token_type_ids)$")
MEND = "mend config.json, or copy the folder again"


def plain_names(layout: Layout, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors without the encoder's prefix, buffers and copies, and with today's names of LayerNorm."""
    out = {}
    for name, value in tensors.items():
        plain = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name.removeprefix(layout.prefix)))
        if not BUFFERS.search(plain):
            out[plain] = value
    for copy, first in layout.copies.items():
        if copy in out:
            out.setdefault(first, out[copy])
            del out[copy]
    return out


def kind_of(layout: Layout, tensors: Mapping[str, Tensor], architecture: str, prefer: str) -> str | None:
    """The kind of head that these (plainly named) tensors hold whole; None: none that we have."""
    for kind in ("sequence", "token", "span", "replaced_token", prefer, "masked_lm", "pooler"):
        names = {n for n in _names(layout, kind) if n != _decoder(layout)}
        if not names or not names <= tensors.keys():
            continue
        if kind not in OTHERS:
            return kind
        if class_rows(layout, tensors, kind) > 1 and not re.search(OTHERS[kind], architecture):
            return kind  # one row is a regression or a choice, without labels
    return None


def class_rows(layout: Layout, tensors: Mapping[str, Tensor], kind: str) -> int:
    """How many classes the sequence or token head among these tensors has."""
    return tensors[_only(layout, kind, "head.classes.weight")].shape[0]


def tied(layout: Layout, tensors: Mapping[str, Tensor], *, said: bool) -> bool:
    """Whether the decoder is the token table: transformers too believes the weights more than the config."""
    decoder, table = tensors.get(_decoder(layout)), tensors.get(_only(layout, None, TABLE))
    return said if decoder is None or table is None or torch.equal(decoder, table) else False


def gather(
    layout: Layout, tensors: dict[str, Tensor], wanted: Mapping[str, tuple[int, ...]], kind: str | None, place: object
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """(our tensors in float32, of the `wanted` shapes; notes on what was left over).

    Raises InputError with the key and both shapes where theirs are missing, contradict the config or are not floats.
    """
    out, used = {}, set()
    for name, shape in wanted.items():
        sources, turn = layout.theirs(name, kind), layout.turn(name)
        form = shape if turn is None else tuple(turn.theirs(torch.empty(shape, device="meta")).shape)
        part = (form[0] // len(sources), *form[1:])
        for source in sources:
            asked = (*part, 1) if source.endswith(layout.columns) else part
            found = tuple(tensors[source].shape) if source in tensors else "missing"
            if found != asked:
                raise InputError(place, f"{source!r} is {found}, config.json asks for {asked}", MEND)
            if not tensors[source].is_floating_point():
                raise InputError(place, f"{source!r} is {tensors[source].dtype}", "convert the unquantised model")
        used |= set(sources)
        values = [tensors[source].float().reshape(part) for source in sources]
        value = torch.cat(values) if len(values) > 1 else values[0].clone()
        out[name] = value if turn is None else turn.ours(value, shape).contiguous()
    return out, _left_over(layout, {k: v for k, v in tensors.items() if k not in used}, kind, place)


def scatter(layout: Layout, tensors: Mapping[str, Tensor], kind: str | None) -> dict[str, Tensor]:
    """Their tensors of ours; the encoder bears its prefix where there is a head besides the pooler."""
    out = {}
    prefix = "" if kind in (None, "pooler") else layout.prefix
    for name, value in tensors.items():
        sources, turn = layout.theirs(name, kind), layout.turn(name)
        value = value if turn is None else turn.theirs(value)
        for source, part in zip(sources, value.chunk(len(sources)), strict=True):
            inside = source.partition(".")[0] in layout.body
            part = part.unsqueeze(-1) if source.endswith(layout.columns) else part
            out[f"{prefix}{source}" if inside else source] = part.detach().cpu().contiguous().clone()
    if _decoder(layout) in out:  # an untied decoder has its own copy of the bias
        out |= {copy: out[first].clone() for copy, first in layout.copies.items()}
    return out


def _left_over(layout: Layout, rest: Mapping[str, Tensor], kind: str | None, place: object) -> tuple[str, ...]:
    groups: dict[str, int] = {}
    for name, value in rest.items():
        pooler = name.startswith("pooler.") and kind != "pooler"
        if name.partition(".")[0] in layout.body and not pooler:
            raise InputError(place, f"{name!r} {tuple(value.shape)} has no place in config.json", MEND)
        if name != _decoder(layout):
            group = name.rpartition(".")[0] or name
            groups[group] = groups.get(group, 0) + value.numel()
    return tuple(f"dropped {group} ({count:,} numbers): {_why(group)}" for group, count in groups.items())


def _why(group: str) -> str:
    if group == "pooler.dense":
        return "a model has one head, and this one has another"
    return "no head of ours is made of it"


def _names(layout: Layout, kind: str) -> set[str]:
    return {name for ours in layout.heads.get(kind, ()) for name in layout.theirs(ours, kind)}


def _only(layout: Layout, kind: str | None, ours: str) -> str:
    return layout.theirs(ours, kind)[0]


def _decoder(layout: Layout) -> str:
    return _only(layout, "masked_lm", "head.decoder.weight")
