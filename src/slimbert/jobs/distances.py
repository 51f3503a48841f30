"""How far the heads of an encoder look: the mean distance of attention, head by head.

Jiang et al. 2020, arXiv:2008.02496, section 1, replace heads by convolutions because many look at their neighbours
only; this measures it on a trained encoder. The distance of a head is sum over j of weight(i, j) |i - j|, the mean over
all real tokens i.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..atomic import write_atomically
from ..data.readers import documents
from ..errors import InputError
from ..model import Model
from ..parts.core import Explicit, use_core
from ..state import places
from .source import open_encoder
from .tasks.features import collate

COLOURS = ("#8a8f98", "#c8502d", "#2d6fc8", "#4b8f3a")


class Distances(NamedTuple):
    """One encoder: the mean distance in tokens of each head of each attention, in the order of layers; the texts and
    tokens it rests on."""

    run: str
    layers: tuple[tuple[float, ...], ...]
    texts: int
    tokens: int


class Looked(NamedTuple):
    """What was measured, and where its picture is (None: not drawn)."""

    encoders: tuple[Distances, ...]
    picture: str | None


def head_distances(
    runs: Sequence[str | Path],
    data: str | Path,
    *,
    texts: int = 64,
    max_len: int = 128,
    picture: str | Path | None = None,
    device: str = "cpu",
) -> Looked:
    """Measure encoders on the first `texts` of a corpus, cut to `max_len` tokens; `picture`: the PNG to write.

    Raises InputError on an encoder without attention, or a corpus without text.
    """
    some = list(islice(documents(data), texts))
    if not some:
        raise InputError(data, "there is no text in it", "name files with text")
    found = tuple(_measured(run, some, max_len, device) for run in runs)
    if picture is not None:
        write_atomically(Path(picture), draw(found))
    return Looked(found, None if picture is None else str(picture))


def _measured(run: str | Path, texts: list[str], max_len: int, device: str) -> Distances:
    model, tokenizer, _ = open_encoder(run)
    longest = min(max_len, model.config.encoder.embedding.max_len)
    model = model.to(device).eval()
    use_core(model, Explicit(keep_maps=True))
    ids = tokenizer.encode(texts, longest)
    sums: list[NDArray[np.float64]] = []
    tokens = 0
    for first in range(0, len(ids), 16):
        batch = collate(ids[first : first + 16], None, tokenizer.special.pad)
        each, real = _of_batch(model, {name: value.to(device) for name, value in batch.items()})
        if not each:
            raise InputError(run, "no attention in this encoder", "name one that has")
        sums = each if not sums else [old + new for old, new in zip(sums, each, strict=True)]
        tokens += real
    layers = tuple(tuple((one / tokens).round(3).tolist()) for one in sums)
    return Distances(str(run), layers, len(texts), tokens)


@torch.inference_mode()
def _of_batch(model: Model, batch: dict[str, torch.Tensor]) -> tuple[list[NDArray[np.float64]], int]:
    """(sums over the real tokens of each head's distance, one array [H] per attention; how many tokens)."""
    ids, mask = batch["input_ids"], batch.get("mask")
    state = model.encoder(ids, mask=mask).state
    line = places(None, ids.shape[1], ids.device)
    apart = (line.unsqueeze(-1) - line.unsqueeze(-2)).abs().float()  # [1, S, S]
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    sums = [
        ((one.float() * apart.unsqueeze(1)).sum(-1) * real.unsqueeze(1)).sum(dim=(0, 2)).double().cpu().numpy()
        for one in state.maps
    ]
    return sums, int(real.sum())


def draw(found: Iterable[Distances]) -> bytes:
    """A PNG: every head as a dot over its layer, one colour for an encoder."""
    from matplotlib.figure import Figure  # takes a second to load

    from ..train.curve import png

    figure = Figure(figsize=(8, 4.2), dpi=150, layout="constrained")
    axes: Any = figure.add_subplot()
    for place, one in enumerate(found):
        colour = COLOURS[place % len(COLOURS)]
        shift = 0.12 * place
        for layer, heads in enumerate(one.layers, 1):
            axes.plot([layer + shift] * len(heads), heads, "o", color=colour, alpha=0.8, markersize=5)
        means = [float(np.mean(heads)) for heads in one.layers]
        axes.plot(np.arange(1, len(means) + 1) + shift, means, color=colour, linewidth=1.5, label=Path(one.run).name)
    axes.set_xlabel("layer with attention")
    axes.set_ylabel("mean distance of attention, tokens")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, title="lines: mean over the heads")
    return png(figure)
