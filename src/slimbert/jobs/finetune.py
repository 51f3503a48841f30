"""Fine-tuning as one job: labelled texts and an encoder in, a run folder that classifies out.

Rows are sorted by length into batches and padded to the longest of each; validation stops and selects; the test rows
are looked at once. Only the token rows that occur are trained (the others get no gradient), which on small data spares
most of the optimiser's work without changing the result.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import dump, load, override
from ..data.tasks import Task, load_task
from ..data.tokenizer import TextTokenizer
from ..errors import InputError, Interrupted
from ..model import Model
from ..model.folder import digest
from ..model.transform import put_tokens_back, with_tokens
from ..train import checkpoints
from ..train.engine import choose_core, device_of, engine
from ..train.loop import Start, Step, restore, snapshot, train
from ..train.objectives import Batch
from ..train.optim import OptimConfig, adamw, rate
from ..train.progress import Progress
from ..train.run import RunFolder
from ..train.signals import Stop, stop_on_signal
from ..train.supervised import Supervised
from .baselines import Baseline
from .few_shot import few, frozen
from .finetuned import Finetuned, write_run
from .heading import with_head
from .labelled import Labelled, answered
from .report import report
from .settings import Settings, default_lr, every
from .source import open_encoder
from .tasks import Kind, about_length, kind_for, kind_of


def finetune(
    encoder: str | Path,
    data: str | Path | Task,
    *,
    out: str | Path,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    kind: str | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    seed: int | None = None,
    split_seed: int | None = None,
    few_shot: int | None = None,
    device: str | None = None,
    quiet: bool = False,
    explain: bool = True,
    with_baselines: bool = True,
) -> Finetuned:
    """Train what answers the labels of `data` on top of `encoder`; `out` is the run folder.

    `kind`: the kind of task, or a benchmark's name (data.tasks.KINDS, NAMED); None: guessed from the columns.
    `settings` are `name=value` changes of `Settings`; `explain`: say what was chosen and why, before the progress.
    `split_seed`: of the split of one file, if it is another than `seed`. `few_shot`: train on so many rows of each
    class only. Raises InputError on what does not fit, RunError at a loss
    that is not finite, Interrupted after a signal with a checkpoint written.
    """
    chosen = load(Settings, override({} if seed is None else {"seed": seed}, list(settings), "--set"), "--set")
    chosen.check()
    split = chosen.seed if split_seed is None else split_seed
    task = (
        data
        if isinstance(data, Task)
        else load_task(data, kind=kind, text_columns=text_columns, label_column=label_column, seed=split)
    )
    task = task if few_shot is None else few(task, few_shot, seed=chosen.seed)
    model, tokenizer, converted = open_encoder(encoder, prefer="pooler")
    if Path(out).exists() and any(Path(out).iterdir()) and not resume:
        raise InputError(out, "not empty", "go on with --resume, or choose another --out")
    device_of(device)  # a wrong name leaves nothing behind
    with RunFolder(out) as folder, stop_on_signal() as stop:
        run = _Run(model, tokenizer, task, chosen, folder, device=device, quiet=quiet)
        run.notes, run.few_shot = (*converted, *task.notes), few_shot is not None
        return run.go(stop, encoder=str(encoder), resume=resume, explain=explain, with_baselines=with_baselines)


class _Run:
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
        max_len = min(settings.max_len, model.config.encoder.embedding.max_len)
        self.kind, self.cut_share = kind_for(task, tokenizer, settings, max_len=max_len)
        head = self.kind.head(task.train, settings, old=model.config.head, narrows=model.encoder.narrows)
        self.whole = with_head(model, head, dropout=settings.dropout, seed=settings.seed)
        self.accelerator = engine(device=device, precision=settings.precision)
        if self.accelerator.num_processes > 1:
            raise InputError("finetune", f"{self.accelerator.num_processes} processes", "start it in one")
        self.rows = Labelled(task, self.kind, tokenizer)
        small = with_tokens(self.whole, self.rows.used)
        choose_core(small, settings.core, device=self.device, length=self.kind.description.max_len)
        self.windows: Any = "mean" if self.kind.description.windows == "cut" else self.kind.description.windows
        judge = self.kind.judge(task.train, settings)
        self.objective = Supervised(small, judge, windows=self.windows, chunk=settings.chunk).to(
            self.accelerator.device
        )
        self.per_epoch = math.ceil(len(self.rows.features["train"]) / settings.batch_size)
        self.updates = max(settings.epochs * self.per_epoch, settings.min_updates)
        self.every = every(settings, updates=self.updates, validation=len(self.rows.features["validation"]))
        lr = settings.lr or default_lr(model.config.encoder.dim)
        self.optim = OptimConfig(
            lr=lr, betas=(0.9, 0.999), weight_decay=settings.weight_decay, layer_decay=settings.layer_decay,
            course="linear", warmup=settings.warmup,
        )  # fmt: skip
        self.optimizer = adamw(self.objective, self.optim)
        self.best = (-math.inf, -math.inf)  # the metric on validation, minus the loss there
        self.stale = 0

    def go(self, stop: Stop, *, encoder: str, resume: bool, explain: bool, with_baselines: bool) -> Finetuned:
        if explain:
            self._say(*self.notes, about_length(self.kind, self.cut_share))
        start = self._start(resume)
        self.folder.write_recipe({"encoder": encoder, "finetune": dump(self.settings)})
        self.folder.write_environment()
        self.folder.write_json("data.json", {"sha256": self.task.sha256, "notes": list(self.notes)})
        if start.step == 0:
            torch.manual_seed(self.settings.seed)
        step = Step(start.step, math.nan, {}, start.tokens, start.seconds, 0.0, 0.0)
        over = self.stale >= self.settings.patience
        with Progress(self.updates, start=start.step, enabled=not self.quiet) as progress:
            for step in () if over else self._steps(start):
                self.folder.append({"step": step.n, "loss": step.loss, "tokens": step.tokens, "seconds": step.seconds})
                progress.update(step.n, loss=step.loss, tokens_per_second=step.tokens / step.seconds)
                due = step.n % self.every == 0 or step.n == self.updates
                if due:
                    self._validate(step, progress)
                if stop:
                    if not due:
                        self._checkpoint(step, best=False)
                    raise Interrupted(f"{stop.name}: stopped after step {step.n}; go on with --resume")
                if due and self.stale >= self.settings.patience:
                    break
        return self._finish(step, encoder=encoder, with_baselines=with_baselines)

    def _steps(self, start: Start) -> Iterator[Step]:
        return train(
            self.objective,
            self._batches(start.step),
            self.optimizer,
            lr=lambda now: None if now.step >= self.updates else rate(self.optim, (now.step + 0.5) / self.updates),
            accelerator=self.accelerator,
            clip=self.optim.clip,
            start=start,
        )

    def _batches(self, start: int) -> Iterator[Batch]:
        """Batches of rows of similar length; which ones follows from the seed and the number of the update."""
        step = start
        while True:
            epoch, place = divmod(step, self.per_epoch)
            buckets = self.rows.buckets(self.settings.batch_size, seed=self.settings.seed, epoch=epoch)
            for index in buckets[place:]:
                yield self.rows.batch("train", index, self.device)
                step += 1

    def _start(self, resume: bool) -> Start:
        found = checkpoints.newest(self.folder.checkpoints, tell=self._say) if resume else None
        if resume and found is None:
            self._say("no whole checkpoint yet: starting at step 0")
        if found is None:
            self.folder.cut(0)
            return Start()
        if found.state.get("identity") != self._identity():
            raise InputError(
                found.path, "made with another encoder, data or settings", "resume with those it began with"
            )
        restore(self.objective, self.optimizer, found.tensors)
        self.best, self.stale = tuple(found.state["score"]), found.state["stale"]
        self._say(f"going on from step {found.step} of {found.path}")
        self.folder.cut(found.step)
        checkpoints.drop_after(self.folder.checkpoints, found.step)
        return Start(found.step, found.state["tokens"], found.state["seconds"])

    def _identity(self) -> Any:
        return json.loads(
            json.dumps(
                {
                    "settings": dump(self.settings),
                    "data": self.task.sha256,
                    "model": dump(self.objective.model.config),
                    "encoder": self.weights,
                }
            )
        )

    def _validate(self, step: Step, progress: Progress) -> None:
        outputs, loss = self._outputs("validation")
        metric, split, features = self.task.metric, self.task.validation, self.rows.features["validation"]
        value = self._settled(outputs).score(split, features, outputs)[metric]
        progress.update(step.n, **{"val_loss": loss, metric: value})
        row = {"step": step.n, "val_loss": loss, metric: value, "tokens": step.tokens, "seconds": step.seconds}
        self.folder.append(row)
        better = (value, -loss) > self.best
        self.best = (value, -loss) if better else self.best
        self.stale = 0 if better else self.stale + 1
        self._checkpoint(step, best=better)

    def _checkpoint(self, step: Step, *, best: bool) -> None:
        state = {"tokens": step.tokens, "seconds": step.seconds, "score": list(self.best), "stale": self.stale}
        state["identity"] = self._identity()
        tensors = snapshot(self.objective, self.optimizer)
        self.folder.sync()
        checkpoints.save(self.folder.checkpoints, step.n, tensors=tensors, state=state, keep=1, best=best)

    def _outputs(self, split: str) -> tuple[list[Any], float]:
        """(what the model says of each unit of a split, the mean loss)."""
        features = self.rows.features[split]
        self.objective.eval()
        out: list[Any] = [None] * len(features)
        total = 0.0
        for index, batch, answers in answered(
            self.objective.model,
            features,
            pad_id=self.rows.pad,
            device=self.device,
            windows=self.windows,
            autocast=self.accelerator.autocast(),
        ):
            total += float(self.objective.judge(answers, batch)) * len(index)
            for unit, one in zip(index, answers.cpu().numpy(), strict=True):
                out[unit] = one
        return out, total / len(features)

    def _settled(self, outputs: list[Any]) -> Kind:
        """The kind of task with what validation decides."""
        found = self.kind.settled(self.task.validation, self.rows.features["validation"], outputs)
        return kind_of(self.tokenizer, found, self.task.labels)

    def _finish(self, step: Step, *, encoder: str, with_baselines: bool) -> Finetuned:
        found = checkpoints.best(self.folder.checkpoints)
        if found is not None:
            restore(self.objective, self.optimizer, found.tensors)
        outputs = {name: self._outputs(name)[0] for name in ("validation", "test") if name in self.rows.features}
        self.kind = self._settled(outputs["validation"])
        scores = {
            name: self.kind.score(self.rows.splits[name], self.rows.features[name], one)
            for name, one in outputs.items()
        }
        others = {one.name: one.score for one in self._baselines()} if with_baselines else {}
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

    def _baselines(self) -> list[Baseline]:
        found = self.kind.baselines(self.task)
        if not self.few_shot:
            return found
        max_len = self.kind.description.max_len
        return [*found, frozen(self.encoder, self.tokenizer, self.task, max_len=max_len, device=self.device)]

    def _say(self, *messages: str) -> None:
        if not self.quiet:
            progress = Progress(None)
            for message in messages:
                progress.note(message)
