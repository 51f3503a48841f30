"""One run of the benchmark of tickets: a fine-tuning or a pretraining, and all of it that is kept when it is gone."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arms import ours
from depth_verdicts import packed
from scored import scored

from slimbert.data.tasks import Task
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.source import open_encoder
from slimbert.jobs.tickets.file import read_ticket
from slimbert.methods.units import counts, masks
from slimbert.model import EncoderConfig
from slimbert.train.recipe import recipes
from slimbert.train.run import METRICS, TICKET

DISTANCES = "distances.json"


def earlybird(stem: str) -> Path:
    """A ticket recipe of the repository."""
    return next(path for path in recipes() if path.stem == stem)


def tuned(
    encoder: Path, task: Task, settings: Sequence[str], *, out: Path, seed: int, recipe: Path | None = None
) -> dict[str, Any]:
    """One fine-tuning in `out`, or the rest of it: what the rows of the test are answered, its time and its ticket."""
    learnt = dataclasses.replace(task, test=None)  # scored behind it, once, row by row
    made = ours(encoder, learnt, seed=seed, settings=settings, out=out, ticket=recipe)
    taught = [line for line in lines_of(out) if "loss" in line]
    spent = taught[-1]["seconds"] - taught[0]["seconds"]
    found = {"updates": len(taught), "update_seconds": made["update_seconds"], "validation": made[task.metric]}
    found |= {"seconds_per_update": spent / max(1, len(taught) - 1)}
    found |= {} if task.test is None else scored(out, task.test)
    return found if recipe is None else found | drawn(out, open_encoder(encoder, prefer="pooler")[0].config.encoder)


def drawn(out: Path, encoder: EncoderConfig) -> dict[str, Any]:
    """The ticket of a run in `out` that began with `encoder`: its search, the units that stay, as digits and as counts
    by axis, and the distances of the masks, as JSON in a string: thousands of numbers."""
    if not (out / TICKET).exists():
        return {}
    ticket = read_ticket(out)
    found: dict[str, Any] = {"why": ticket.why, "search_updates": ticket.updates, "search_seconds": ticket.seconds}
    stay = masks(encoder, ticket.subnet)
    found["units"] = {kind: {"of": len(mask), "kept": packed(mask.tolist())} for kind, mask in stay.items()}
    found["widths"] = {key: list(both) for key, both in counts(encoder, ticket.subnet).items()}
    if (out / DISTANCES).exists():
        matrices = json.loads((out / DISTANCES).read_text(), parse_float=lambda digits: round(float(digits), 4))
        found["distances"] = json.dumps(matrices)
    return found


def pretrained(
    shards: Path, out: Path, minutes: float, settings: Sequence[str], *, encoder: Any, recipe: Path | None = None
) -> dict[str, Any]:
    """The validation losses of one pretraining in `out`, or the rest of it, [[seconds, loss]], and its ticket.

    encoder: as a recipe has it.
    """
    times = {"time": f"{minutes}m", "evaluate_every": 100, "checkpoint_every": 500}
    plain = {"model": {"encoder": encoder}, "train": times}
    pretrain(plain, data=shards, out=out, settings=settings, ticket=recipe, resume=out.exists(), device="cpu")
    losses = [[line["seconds"], line["val_loss"]] for line in lines_of(out) if "val_loss" in line]
    found: dict[str, Any] = {"curve": losses}
    if recipe is not None:
        ticket = read_ticket(out)
        found |= {"why": ticket.why, "search_updates": ticket.updates, "search_seconds": ticket.seconds}
    return found


def lines_of(out: Path) -> list[dict[str, Any]]:
    """The metrics of a run."""
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
