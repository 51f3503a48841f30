"""What must work together, at toy size: families x narrowings x objectives x positions, and one batch for all.

Every family has attention, so every position scheme is defined for each.
"""

from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from slimbert.data.documents import first_places
from slimbert.model import EncoderConfig, Model, ModelConfig, SpecialTokens, fresh
from slimbert.model.generator import generator_of
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig
from slimbert.model.presets import from_pattern
from slimbert.parts.embedding import TokensConfig
from slimbert.parts.position import AlibiConfig, RotaryConfig
from slimbert.parts.residual import Wiring
from slimbert.train.objectives import MaskedLm, Objective
from slimbert.train.replaced import ReplacedTokens

VOCAB, MAX_LEN, DIM = 60, 16, 32
PAD, UNK, CLS, MASK, SEP = range(5)
SPECIAL = SpecialTokens(pad=PAD, unk=UNK, cls=CLS, mask=MASK, sep=SEP)
FORMS = {  # of a layer {xy}, x the mixers up to the last that reads other rows
    "bert": {"wide": "2{sf}", "sparse queries": "1{sf}:1{sf}", "context first": "1{sf},1{s}:1{f}"},
    "convbert": {"wide": "2{mf}", "sparse queries": "1{mf}:1{mf}", "context first": "1{mf},1{m}:1{f}"},
    "groupbert": {"wide": "2{cgsg}", "sparse queries": "1{cgsg}:1{cgsg}", "context first": "1{cgsg},1{cs}:1{gg}"},
}
NARROWINGS = ("wide", "sparse queries", "context first")
OBJECTIVES = ("mlm", "rtd")
POSITIONS = {"absolute": None, "rotary": RotaryConfig(), "alibi": AlibiConfig()}
WIRINGS: tuple[Wiring, ...] = ("post", "pre")
SHAPES = tuple(product(FORMS, NARROWINGS, POSITIONS))
LENGTHS = (12, 12, 12, 11, 9, 6)  # real tokens of the rows of the batch


def encoder(family: str, narrowing: str, position: str, *, wiring: Wiring | None = None) -> EncoderConfig:
    """Two layers. wiring None: the family's own."""
    sizes: dict[str, Any] = {"dim": DIM, "head_dim": 8, "hidden": 64, "vocab": VOCAB, "max_len": MAX_LEN}
    made = from_pattern(FORMS[family][narrowing], wiring=wiring, **sizes)
    scheme = POSITIONS[position]
    if scheme is None:
        return made

    def placed(mixer: Any) -> Any:
        return replace(mixer, position=scheme) if hasattr(mixer, "position") else mixer

    layers = tuple(
        replace(step, mix=tuple(map(placed, step.mix))) if hasattr(step, "mix") else step for step in made.layers
    )
    return replace(made, layers=layers, embedding=TokensConfig(vocab=VOCAB, max_len=MAX_LEN, norm=made.embedding.norm))


def objective_of(shape: EncoderConfig, objective: str) -> Objective:
    """Fresh models with weights wide enough that a mistake shows; a generator has half the width."""
    shape = replace(shape, init_std=0.1)
    if objective == "mlm":
        return MaskedLm(_model(shape, MaskedLmConfig(), 0))
    return ReplacedTokens(
        _model(shape, ReplacedTokenConfig(), 0), _model(generator_of(shape, width=0.5), MaskedLmConfig(), 1)
    )


def _model(shape: EncoderConfig, head: Any, seed: int) -> Model:
    return fresh(ModelConfig(encoder=shape, head=head, special=SPECIAL), seed)


def batch_of() -> dict[str, Tensor]:
    """Six ragged rows [6, 12] that begin with [CLS]; one to three chosen places each, three of which at most show
    [MASK]. What is left over points at [CLS] and has no weight."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCAB, (len(LENGTHS), max(LENGTHS)), generator=draw)
    ids[:, 0] = CLS
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    ids = ids.masked_fill(~mask, PAD)
    positions = torch.tensor([[2, 5, 9], [1, 4, 11], [3, 10, 0], [2, 7, 0], [5, 8, 0], [4, 0, 0]])
    shown = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]]).bool()
    labels = ids.gather(1, positions)
    return {
        "input_ids": ids.scatter(1, positions, torch.where(shown, MASK, labels)),
        "mask": mask,
        "positions": positions,
        "labels": labels,
        "weights": (positions > 0).float(),
        "draws": torch.rand(positions.shape, generator=draw),
    }


def packed_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same texts in one row [1, 62], as documents apart."""
    lengths = batch["mask"].sum(dim=1)
    starts = (lengths.cumsum(0) - lengths)[:, None]
    segments = torch.arange(len(lengths)).repeat_interleave(lengths)[None]
    one_row = {name: batch[name].view(1, -1) for name in ("labels", "weights", "draws")}
    return one_row | {
        "input_ids": batch["input_ids"][batch["mask"]][None],
        "segments": segments,
        "positions": (batch["positions"] + starts).view(1, -1),
        "firsts": first_places(segments, len(lengths)),
    }


def kept_rows(batch: dict[str, Tensor]) -> Tensor:
    """[B, K]: the first token, or that of every document, and the chosen places."""
    firsts = batch.get("firsts", torch.zeros_like(batch["positions"][:, :1]))
    return torch.cat((firsts, batch["positions"]), dim=1)
