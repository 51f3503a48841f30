"""A ticket without the training behind it: to be looked at, and applied to one model or many."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...data.shards import Shards
from ...data.tasks import load_task
from ...errors import InputError
from ...methods.earlybird import TicketRecipe
from ...methods.units import counts
from ...train.engine import device_of, is_first_process
from ...train.recipe import read_recipe, recipes
from ...train.run import TICKET, RunFolder, check_free
from ...train.signals import Stop, stop_on_signal
from .. import finetune as finetuning
from .. import pretrain as pretraining
from ..resolve import resolve
from ..source import open_encoder, open_source
from .draw import drawn_in
from .finetuning import dense as in_finetuning
from .pretraining import dense as in_pretraining
from .recipe import ticket_recipe
from .stage import Dense

SUFFIXES = (".yaml", ".yml")


class Found(NamedTuple):
    """A ticket that was drawn. units: of every axis, (those that stay, those there were)."""

    ticket: str
    by: str
    why: str
    updates: int
    seconds: float
    units: dict[str, tuple[int, int]]


def find(
    model: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    ticket: str | Path | Mapping[str, Any] = "earlybird",
    init_from: str | Path | None = None,
    kind: str | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    seed: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> Found:
    """Search as `finetune` does, on labelled data, and stop at the draw; `out` then holds ticket.json.

    Where `model` is a pretraining recipe, `data` is what `prepare` wrote, and the search is that of `pretrain`;
    `init_from` as there. Raises InputError on what does not fit, Interrupted after a signal.
    """
    recipe, rest = ticket_recipe(ticket, settings, out)
    assert recipe is not None
    device_of(device)
    if _is_recipe(model):
        rest += [] if seed is None else [f"train.seed={seed}"]
        shards, source = Shards.open(data, split="train"), None if init_from is None else open_source(init_from)
        chosen = resolve(read_recipe(model), shards, settings=rest, source=source)
        with _opened(out, resume=resume) as (folder, stop):
            run = pretraining.Run(chosen, shards, folder, device=device, source=source, quiet=quiet)
            return _found(in_pretraining(run), recipe, stop)
    if init_from is not None:
        raise InputError("--init-from", "goes with a pretraining recipe", "name the encoder itself as MODEL")
    asked = finetuning.settings_of(rest, seed=seed, early=recipe)
    task = load_task(data, kind=kind, text_columns=text_columns, label_column=label_column, seed=asked.seed)
    encoder, tokenizer, _ = open_encoder(model, prefer="pooler")
    asked.check_widths(encoder.config.encoder.dim)
    with _opened(out, resume=resume) as (folder, stop):
        tuned = finetuning.Run(encoder, tokenizer, task, asked, folder, device=device, quiet=quiet)
        return _found(in_finetuning(tuned), recipe, stop)


def _is_recipe(model: str | Path) -> bool:
    named = any(Path(model).name in (known.name, known.stem) for known in recipes())
    return Path(model).suffix in SUFFIXES or (named and not Path(model).exists())


@contextmanager
def _opened(out: str | Path, *, resume: bool) -> Iterator[tuple[RunFolder, Stop]]:
    if is_first_process():
        check_free(out, resume=resume)
    with RunFolder(out) as folder, stop_on_signal() as stop:
        yield folder, stop


def _found(run: Dense, recipe: TicketRecipe, stop: Stop) -> Found:
    if run.main:
        run.folder.write_environment()
    made = drawn_in(run, recipe, stop)
    units = counts(run.objective.model.config.encoder, made.subnet)
    return Found(str(run.folder.path / TICKET), made.by, made.why, made.updates, made.seconds, units)
