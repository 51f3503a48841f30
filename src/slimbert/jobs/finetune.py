"""Fine-tuning as one job: labelled texts and an encoder in, a run folder that classifies out.

Rows are sorted by length into batches and padded to the longest of each; validation stops and selects; the test rows
are looked at once. Only the token rows that occur are trained (the others get no gradient), which on small data spares
most of the optimiser's work without changing the result.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import dump, load, override
from ..data.tasks import Task, load_task
from ..data.tokenizer import TextTokenizer
from ..errors import InputError, RunError
from ..methods.earlybird import TicketRecipe
from ..model import Model
from ..model.folder import digest
from ..model.transform import with_tokens
from ..train.engine import choose_core, device_of, engine
from ..train.halting import Halting, with_progress
from ..train.loop import Start, Step, train
from ..train.objectives import Batch
from ..train.optim import OptimConfig, adamw, rate
from ..train.progress import Progress
from ..train.run import RunFolder, check_free
from ..train.signals import Stop, stop_on_signal
from ..train.supervised import Supervised
from .baselines import missing
from .beside import Known
from .depth import adaptive_head, check_frozen, taught, without_windows
from .few_shot import few
from .finetuned import Finetuned
from .finish import finish
from .heading import with_head
from .labelled import Labelled, outputs
from .settings import Settings, default_lr, every
from .source import open_encoder
from .standing import Standing
from .tasks import Kind, about_length, kind_for, kind_of
from .tasks.kind import Outputs
from .tickets.finetuning import with_ticket
from .tickets.recipe import ticket_recipe

WARMUP_OF_TICKETS = 0.05  # of the run: with three epochs, over before the search is (ours, see docs/log.md)
NEW_UNIT = "the last exit is new and learns like the others: the classifier there has no layer that a unit has"


def finetune(
    encoder: str | Path,
    data: str | Path | Task,
    *,
    out: str | Path,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    kind: str | None = None,
    settings: Sequence[str] = (),
    ticket: str | Path | Mapping[str, Any] | None = None,
    resume: bool = False,
    seed: int | None = None,
    split_seed: int | None = None,
    few_shot: int | None = None,
    device: str | None = None,
    quiet: bool = False,
    explain: bool = True,
    with_baselines: bool = True,
    known_baselines: Known | None = None,
) -> Finetuned:
    """Train what answers the labels of `data` on top of `encoder`; `out` is the run folder.

    `kind`: the kind of task, or a benchmark's name (data.tasks.KINDS, NAMED); None: guessed from the columns.
    `settings` are `name=value` changes of `Settings`; `explain`: say what was chosen and why, before the progress.
    `split_seed`: of the split of one file, if it is another than `seed`. `few_shot`: train on so many rows of each
    class only. `ticket`: a recipe by which a ticket is drawn first, and trained instead. `known_baselines`: scores that
    are not computed again, by the SHA-256 of their data. Raises InputError on what does not fit, RunError at a loss
    that is not finite, Interrupted after a signal with a checkpoint written.
    """
    early, settings = ticket_recipe(ticket, settings, out)
    chosen = settings_of(settings, seed=seed, early=early)
    split = chosen.seed if split_seed is None else split_seed
    task = (
        data
        if isinstance(data, Task)
        else load_task(data, kind=kind, text_columns=text_columns, label_column=label_column, seed=split)
    )
    task = task if few_shot is None else few(task, few_shot, seed=chosen.seed)
    model, tokenizer, converted = open_encoder(encoder, prefer="pooler")
    chosen.check_widths(model.config.encoder.dim)
    check_free(out, resume=resume)
    device_of(device)  # a wrong name leaves nothing behind
    with RunFolder(out) as folder, stop_on_signal() as stop:
        run = Run(model, tokenizer, task, chosen, folder, device=device, quiet=quiet)
        run.notes += (*converted, *task.notes, *(missing(task) if with_baselines else ()))
        run.few_shot, run.known = few_shot is not None, known_baselines
        if early is not None:
            with_ticket(run, early, stop)
        try:
            return run.go(stop, encoder=str(encoder), resume=resume, explain=explain, with_baselines=with_baselines)
        except RunError as error:
            raise RunError(f"{error}; begin again with a lower rate (--set lr=...), in a new --out") from error


def settings_of(changes: Sequence[str], *, seed: int | None, early: TicketRecipe | None) -> Settings:
    """The checked settings of a run; one whose ticket is detected warms up for less time, unless told otherwise.

    Raises InputError where settings do not fit, or a ticket would be cut out of an encoder that stays as it is.
    """
    given: dict[str, Any] = {} if seed is None else {"seed": seed}
    given |= {"warmup": WARMUP_OF_TICKETS} if early is not None and early.detects else {}
    chosen = load(Settings, override(given, list(changes), "--set"), "--set")
    chosen.check()
    if early is not None and chosen.halting is not None and chosen.halting.method == "entropy":
        problem = "halting.method=entropy leaves the encoder as it is, so what is cut could not be learnt again"
        raise InputError("--ticket", problem, "draw the ticket in the first stage, and name that run here without one")
    return chosen if chosen.halting is None else without_windows(chosen)


class Run:
    def __init__(
        self,
        model: Model,
        tokenizer: TextTokenizer,
        task: Task,
        settings: Settings,
        folder: RunFolder,
        *,
        device: str | None,
        quiet: bool,
    ) -> None:
        self.task, self.settings, self.folder, self.quiet, self.tokenizer = task, settings, folder, quiet, tokenizer
        self.device, self.encoder, self.weights = device_of(device), model, digest(model.state_dict())
        self.notes: tuple[str, ...] = ()
        self.few_shot = False
        self.known: Known | None = None
        max_len = min(settings.max_len, model.config.encoder.embedding.max_len)
        self.kind, self.cut_share = kind_for(task, tokenizer, settings, max_len=max_len)
        head = self.kind.head(task.train, settings, old=model.config.head, narrows=model.encoder.narrows)
        self.taught = True
        if settings.halting is not None:
            head = adaptive_head(head, model.config.encoder.points(), task.train, settings.halting)
            self.taught = taught(model.config, head)
            if settings.halting.method == "entropy":
                check_frozen(model.config, head)
                self.notes += () if self.taught else (NEW_UNIT,)
        whole = with_head(model, head, dropout=settings.dropout, seed=settings.seed)
        self.accelerator = engine(device=device, precision=settings.precision)
        if self.accelerator.num_processes > 1:
            raise InputError("finetune", f"{self.accelerator.num_processes} processes", "start it in one")
        self.rows = Labelled(task, self.kind, tokenizer)
        self.per_epoch = math.ceil(len(self.rows.features["train"]) / settings.batch_size)
        self.updates = max(settings.epochs * self.per_epoch, settings.min_updates)
        self.every = every(settings, updates=self.updates, validation=len(self.rows.features["validation"]))
        lr = settings.lr or default_lr(model.config.encoder.dim)
        self.optim = OptimConfig(
            lr=lr, betas=(0.9, 0.999), weight_decay=settings.weight_decay, layer_decay=settings.layer_decay,
            course="linear", warmup=settings.warmup,
        )  # fmt: skip
        self.begin = Start()  # where a new run starts
        self.take(whole)
        self.standing = Standing()

    def take(self, whole: Model) -> None:
        """Train this model, of which the tokens that occur are enough."""
        self.whole, settings = whole, self.settings
        small = with_tokens(whole, self.rows.used)
        choose_core(small, settings.core, device=self.device)
        judge = self.kind.judge(self.task.train, settings)
        halts = settings.halting
        if halts is None:
            objective = Supervised(small, judge, windows=self.kind.description.merge, chunk=settings.chunk)
        else:
            objective = Halting(small, judge, halts, taught=self.taught)
        self.objective = objective.to(self.accelerator.device)
        self.optimizer = adamw(self.objective, self.optim)

    def go(self, stop: Stop, *, encoder: str, resume: bool, explain: bool, with_baselines: bool) -> Finetuned:
        if explain:
            self._say(*self.notes, about_length(self.kind, self.cut_share))
        start = self.standing.start(self, resume, tell=self._say)
        chosen = {"head": dump(self.whole.config.head), "task": self.kind.description.plain()}
        said = {"encoder": encoder, "finetune": dump(self.settings) | {"lr": self.optim.lr}, **chosen}
        self.folder.write_recipe(json.loads(json.dumps(said)))
        self.folder.write_environment()
        self.folder.write_json("data.json", {"sha256": self.task.sha256, "notes": list(self.notes)})
        if start.step == self.begin.step:
            torch.manual_seed(self.settings.seed)
        step = Step(start.step, math.nan, {}, start.tokens, start.seconds, 0.0, 0.0)
        over = self.standing.stale >= self.settings.patience
        with Progress(self.updates, start=start.step, enabled=not self.quiet) as progress:
            for step in () if over else self.steps(start):
                self.folder.append({"step": step.n, "loss": step.loss, "tokens": step.tokens, "seconds": step.seconds})
                due = step.n % self.every == 0 or step.n == self.updates
                found = self._validate(step) if due else {}
                progress.update(step.n, loss=step.loss, tokens_per_second=step.tokens / step.seconds, **found)
                if stop and not due:
                    self.standing.save(self, step)
                stop.heed(step.n)
                if due and self.standing.stale >= self.settings.patience:
                    break
        return finish(self, step, stop, encoder=encoder, with_baselines=with_baselines)

    def steps(self, start: Start) -> Iterator[Step]:
        """The updates from `start` on, each as it is made."""
        return train(
            self.objective,
            self.batches(start.step),
            self.optimizer,
            lr=self.rate,
            accelerator=self.accelerator,
            clip=self.optim.clip,
            start=start,
        )

    def batches(self, start: int) -> Iterator[Batch]:
        """Those of the updates from `start` on; a model that learns to stop early is told the share that is over."""
        settings = self.settings
        found = self.rows.training(start, settings.batch_size, seed=settings.seed, device=self.device)
        return found if settings.halting is None else with_progress(found, start, self.updates)

    def rate(self, now: Start) -> float | None:
        """The learning rate of the update that starts now; None: all are made."""
        return None if now.step >= self.updates else rate(self.optim, (now.step + 0.5) / self.updates)

    def identity(self) -> Any:
        """What must not change between a checkpoint and its continuation."""
        model, settings = dump(self.objective.model.config), dump(self.settings)
        about = {"settings": settings, "data": self.task.sha256, "model": model, "encoder": self.weights}
        return json.loads(json.dumps(about))

    def _validate(self, step: Step) -> dict[str, float]:
        """What validation says, for the progress line; checkpoints."""
        outputs, loss = self.outputs("validation")
        metric, split, features = self.task.metric, self.task.validation, self.rows.features["validation"]
        value = self.settled(outputs).score(split, features, outputs)[metric]
        found = {"val_loss": loss, metric: value}
        self.folder.append({"step": step.n, **found, "tokens": step.tokens, "seconds": step.seconds})
        self.standing.validated(self, step, value=value, loss=loss)
        return found

    def outputs(self, split: str) -> tuple[list[Any], float]:
        """(what the model says of each unit of a split, the mean loss)."""
        objective, features = self.objective.eval(), self.rows.features[split]
        where: Any = {"pad_id": self.rows.pad, "device": self.device, "windows": self.kind.description.merge}
        return outputs(objective.model, features, objective.judge, **where, autocast=self.accelerator.autocast())

    def settled(self, outputs: Outputs) -> Kind:
        """The kind of task with what validation decides."""
        found = self.kind.settled(self.task.validation, self.rows.features["validation"], outputs)
        return kind_of(self.tokenizer, found, self.task.labels)

    def _say(self, *messages: str) -> None:
        if not self.quiet:
            progress = Progress(None)
            for message in messages:
                progress.note(message)
