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
from ..model import Model
from ..model.folder import digest
from ..model.transform import put_tokens_back, with_tokens
from ..train import checkpoints
from ..train.engine import choose_core, device_of, engine
from ..train.halting import Halting, with_progress
from ..train.loop import Start, Step, restore, snapshot, train
from ..train.optim import OptimConfig, adamw, rate
from ..train.progress import Progress
from ..train.run import RunFolder, check_free
from ..train.signals import Stop, stop_on_signal
from ..train.supervised import Supervised
from .baselines import missing
from .beside import Known, Scores, beside
from .depth import adaptive_head, without_windows
from .few_shot import few
from .finetuned import Finetuned, write_run
from .heading import with_head
from .labelled import Labelled, outputs
from .report import report
from .settings import Settings, default_lr, every
from .source import open_encoder
from .tasks import Kind, about_length, kind_for, kind_of
from .tickets.finetuning import with_ticket
from .tickets.recipe import ticket_recipe


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
    chosen = load(Settings, override({} if seed is None else {"seed": seed}, list(settings), "--set"), "--set")
    chosen.check()
    chosen = chosen if chosen.halting is None else without_windows(chosen)
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
        run.notes = (*converted, *task.notes, *(missing(task) if with_baselines else ()))
        run.few_shot, run.known = few_shot is not None, known_baselines
        if early is not None:
            with_ticket(run, early, stop)
        try:
            return run.go(stop, encoder=str(encoder), resume=resume, explain=explain, with_baselines=with_baselines)
        except RunError as error:
            raise RunError(f"{error}; begin again with a lower rate (--set lr=...), in a new --out") from error


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
        if settings.halting is not None:
            head = adaptive_head(head, model.config.encoder.points(), task.train, settings.halting.method)
        whole = with_head(model, head, dropout=settings.dropout, seed=settings.seed)
        self.accelerator = engine(device=device, precision=settings.precision)
        if self.accelerator.num_processes > 1:
            raise InputError("finetune", f"{self.accelerator.num_processes} processes", "start it in one")
        self.rows = Labelled(task, self.kind, tokenizer)
        self.windows: Any = "mean" if self.kind.description.windows == "cut" else self.kind.description.windows
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
        self.best = (-math.inf, -math.inf)  # the metric on validation, minus the loss there
        self.stale = 0

    def take(self, whole: Model) -> None:
        """Train this model, of which the tokens that occur are enough."""
        self.whole, settings = whole, self.settings
        small = with_tokens(whole, self.rows.used)
        choose_core(small, settings.core, device=self.device, length=self.kind.description.max_len)
        judge = self.kind.judge(self.task.train, settings)
        halts, options = settings.halting, {"windows": self.windows, "chunk": settings.chunk}
        objective = Supervised(small, judge, **options) if halts is None else Halting(small, judge, halts)
        self.objective = objective.to(self.accelerator.device)
        self.optimizer = adamw(self.objective, self.optim)

    def go(self, stop: Stop, *, encoder: str, resume: bool, explain: bool, with_baselines: bool) -> Finetuned:
        if explain:
            self._say(*self.notes, about_length(self.kind, self.cut_share))
        start = self._start(resume)
        chosen = {"head": dump(self.whole.config.head), "task": self.kind.description.plain()}
        said = {"encoder": encoder, "finetune": dump(self.settings) | {"lr": self.optim.lr}, **chosen}
        self.folder.write_recipe(json.loads(json.dumps(said)))
        self.folder.write_environment()
        self.folder.write_json("data.json", {"sha256": self.task.sha256, "notes": list(self.notes)})
        if start.step == self.begin.step:
            torch.manual_seed(self.settings.seed)
        step = Step(start.step, math.nan, {}, start.tokens, start.seconds, 0.0, 0.0)
        over = self.stale >= self.settings.patience
        with Progress(self.updates, start=start.step, enabled=not self.quiet) as progress:
            for step in () if over else self._steps(start):
                self.folder.append({"step": step.n, "loss": step.loss, "tokens": step.tokens, "seconds": step.seconds})
                due = step.n % self.every == 0 or step.n == self.updates
                found = self._validate(step) if due else {}
                progress.update(step.n, loss=step.loss, tokens_per_second=step.tokens / step.seconds, **found)
                if stop and not due:
                    self._checkpoint(step, best=False)
                stop.heed(step.n)
                if due and self.stale >= self.settings.patience:
                    break
        return self._finish(step, stop, encoder=encoder, with_baselines=with_baselines)

    def _steps(self, start: Start) -> Iterator[Step]:
        size, seed = self.settings.batch_size, self.settings.seed
        batches = self.rows.training(start.step, size, seed=seed, device=self.device)
        return train(
            self.objective,
            batches if self.settings.halting is None else with_progress(batches, start.step, self.updates),
            self.optimizer,
            lr=self.rate,
            accelerator=self.accelerator,
            clip=self.optim.clip,
            start=start,
        )

    def rate(self, now: Start) -> float | None:
        """The learning rate of the update that starts now; None: all are made."""
        return None if now.step >= self.updates else rate(self.optim, (now.step + 0.5) / self.updates)

    def _start(self, resume: bool) -> Start:
        found = checkpoints.newest(self.folder.checkpoints, tell=self._say) if resume else None
        if resume and found is None:
            self._say(f"no whole checkpoint yet: starting at step {self.begin.step}")
        if found is None:
            self.folder.cut(0)
            return self.begin
        if found.state.get("identity") != self.identity():
            raise InputError(
                found.path, "made with another encoder, data or settings", "resume with those it began with"
            )
        restore(self.objective, self.optimizer, found.tensors)
        self.best, self.stale = tuple(found.state["score"]), found.state["stale"]
        self._say(f"going on from step {found.step} of {found.path}")
        self.folder.cut(found.step)
        checkpoints.drop_after(self.folder.checkpoints, found.step)
        return Start(found.step, found.state["tokens"], found.state["seconds"])

    def identity(self) -> Any:
        """What must not change between a checkpoint and its continuation."""
        model, settings = dump(self.objective.model.config), dump(self.settings)
        about = {"settings": settings, "data": self.task.sha256, "model": model, "encoder": self.weights}
        return json.loads(json.dumps(about))

    def _validate(self, step: Step) -> dict[str, float]:
        """What validation says, for the progress line; checkpoints."""
        outputs, loss = self._outputs("validation")
        metric, split, features = self.task.metric, self.task.validation, self.rows.features["validation"]
        value = self._settled(outputs).score(split, features, outputs)[metric]
        found = {"val_loss": loss, metric: value}
        self.folder.append({"step": step.n, **found, "tokens": step.tokens, "seconds": step.seconds})
        better = (value, -loss) > self.best
        self.best = (value, -loss) if better else self.best
        self.stale = 0 if better else self.stale + 1
        self._checkpoint(step, best=better)
        return found

    def _checkpoint(self, step: Step, *, best: bool) -> None:
        state = {"tokens": step.tokens, "seconds": step.seconds, "score": list(self.best), "stale": self.stale}
        state["identity"] = self.identity()
        tensors = snapshot(self.objective, self.optimizer)
        self.folder.sync()
        checkpoints.save(self.folder.checkpoints, step.n, tensors=tensors, state=state, keep=1, best=best)

    def _outputs(self, split: str) -> tuple[list[Any], float]:
        """(what the model says of each unit of a split, the mean loss)."""
        objective, features = self.objective.eval(), self.rows.features[split]
        where: Any = {"pad_id": self.rows.pad, "device": self.device, "windows": self.windows}
        return outputs(objective.model, features, objective.judge, **where, autocast=self.accelerator.autocast())

    def _settled(self, outputs: list[Any]) -> Kind:
        """The kind of task with what validation decides."""
        found = self.kind.settled(self.task.validation, self.rows.features["validation"], outputs)
        return kind_of(self.tokenizer, found, self.task.labels)

    def _finish(self, step: Step, stop: Stop, *, encoder: str, with_baselines: bool) -> Finetuned:
        found = checkpoints.best(self.folder.checkpoints)
        if found is not None:
            restore(self.objective, self.optimizer, found.tensors)
        outputs = {name: self._outputs(name)[0] for name in ("validation", "test") if name in self.rows.features}
        self.kind = self._settled(outputs["validation"])
        scores = {
            name: self.kind.score(self.rows.splits[name], self.rows.features[name], one)
            for name, one in outputs.items()
        }
        stop.heed(step.n)
        others = self._beside() if with_baselines else {}
        stop.heed(step.n)
        result = Finetuned(
            str(self.folder.path),
            self.task.kind,
            self.task.metric,
            len(self.kind.description.text_columns),
            self.task.labels,
            step.n,
            step.seconds,
            scores["validation"],
            scores.get("test"),
            others,
            self.cut_share,
            self.notes,
        )
        whole = put_tokens_back(self.objective.model, self.whole, self.rows.used)
        description, splits = self.kind.description, self.rows.splits
        write_run(
            self.folder, result, whole, self.tokenizer, description=description, splits=splits, encoder=encoder
        )  # fmt: skip
        part = "test" if "test" in outputs else "validation"
        scores = {"fine-tuned encoder": getattr(result, part)} | result.baselines
        rows, features = splits[part], self.rows.features[part]
        self.folder.write_text("report.md", report(self.kind, rows, features, outputs[part], scores, part=part))
        return result

    def _beside(self) -> Scores:
        options: Any = {"few_shot": self.few_shot, "known": self.known, "device": self.device}
        return beside(self.kind, self.task, self.encoder, self.tokenizer, **options)

    def _say(self, *messages: str) -> None:
        if not self.quiet:
            progress = Progress(None)
            for message in messages:
                progress.note(message)
