"""Fine-tuning as one job: labelled texts and an encoder in, a run folder that classifies out.

Rows are sorted by length into batches and padded to the longest of each; validation stops and selects; the test rows
are looked at once. Only the token rows that occur are trained (the others get no gradient), which on small data spares
most of the optimiser's work without changing the result.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ..config import dump, load, override
from ..data.metrics import score
from ..data.sampler import length_buckets
from ..data.tasks import Task, load_task
from ..data.tokenizer import TextTokenizer
from ..errors import InputError, Interrupted
from ..model import Model, save_model
from ..model.transform import put_tokens_back, with_tokens
from ..train import checkpoints
from ..train.engine import choose_core, device_of, engine
from ..train.loop import Start, Step, restore, snapshot, train
from ..train.objectives import Batch, Classify
from ..train.optim import OptimConfig, adamw, rate
from ..train.progress import Progress
from ..train.run import RunFolder
from ..train.signals import Stop, stop_on_signal
from .baselines import baselines
from .card import write_card
from .classifier import Settings, classifier, default_lr
from .labelled import Labelled
from .predict import classify
from .source import open_encoder


class Finetuned(NamedTuple):
    """What a fine-tuning run came to; `test` is None where the data left no rows for it."""

    run: str
    kind: str
    labels: tuple[str, ...]
    updates: int
    seconds: float
    validation: dict[str, float]
    test: dict[str, float] | None
    baselines: dict[str, Any]
    cut_share: float
    notes: tuple[str, ...]


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
    device: str | None = None,
    quiet: bool = False,
    explain: bool = True,
    with_baselines: bool = True,
) -> Finetuned:
    """Train a classifier of texts or pairs on top of `encoder`; `out` is the run folder.

    `kind` is what the data must turn out to be (classification or pair), where it is given. `settings` are `name=value`
    changes of `Settings`; `explain`: say what was chosen and why, before the progress. Raises InputError on what does
    not fit, RunError at a loss that is not finite, Interrupted after a signal with a checkpoint written.
    """
    chosen = load(Settings, override({} if seed is None else {"seed": seed}, list(settings), "--set"), "--set")
    chosen.check()
    task = (
        data
        if isinstance(data, Task)
        else load_task(data, text_columns=text_columns, label_column=label_column, seed=chosen.seed)
    )
    if kind not in (None, task.kind):
        problem = f"the data looks like {task.kind}: text in {', '.join(task.text_columns)}"
        raise InputError(f"--task {kind}", problem, "name the text columns with --text-column")
    model, tokenizer, converted = open_encoder(encoder, prefer="pooler")
    if Path(out).exists() and any(Path(out).iterdir()) and not resume:
        raise InputError(out, "not empty", "go on with --resume, or choose another --out")
    device_of(device)  # a wrong name leaves nothing behind
    with RunFolder(out) as folder, stop_on_signal() as stop:
        run = _Run(model, tokenizer, task, chosen, folder, device=device, quiet=quiet)
        run.notes = (*converted, *task.notes, *run.notes)
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
        self.max_len = min(settings.max_len, model.config.encoder.embedding.max_len)
        self.device = device_of(device)
        self.notes: tuple[str, ...] = ()
        self.rows = Labelled(task, tokenizer, self.max_len)
        self.whole = classifier(model, task.labels, settings)
        self.accelerator = engine(device=device, precision=settings.precision)
        if self.accelerator.num_processes > 1:
            raise InputError("finetune", f"{self.accelerator.num_processes} processes", "start it in one")
        small = with_tokens(self.whole, self.rows.used)
        choose_core(small, settings.core, device=self.device, length=self.max_len)
        self.objective = Classify(small).to(self.accelerator.device)
        count = len(task.train)
        self.per_epoch = math.ceil(count / settings.batch_size)
        self.updates = max(settings.epochs * self.per_epoch, settings.min_updates)
        self.every = max(1, self.updates // settings.evaluations)
        lr = settings.lr or default_lr(model.config.encoder.dim)
        self.optim = OptimConfig(
            lr=lr, betas=(0.9, 0.999), weight_decay=settings.weight_decay, course="linear", warmup=settings.warmup
        )
        self.optimizer = adamw(self.objective, self.optim)
        self.best = (-1.0, -math.inf)  # validation accuracy, minus its loss
        self.stale = 0

    def go(self, stop: Stop, *, encoder: str, resume: bool, explain: bool, with_baselines: bool) -> Finetuned:
        if explain:
            self._say(*self.notes, self._truncation())
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
        step, lengths = start, self.rows.splits["train"].lengths()
        while True:
            epoch, place = divmod(step, self.per_epoch)
            buckets = length_buckets(lengths, self.settings.batch_size, seed=self.settings.seed, epoch=epoch)
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
                {"settings": dump(self.settings), "data": self.task.sha256, "model": dump(self.objective.model.config)}
            )
        )

    def _validate(self, step: Step, progress: Progress) -> None:
        logits, labels = self._answers("validation")
        loss = float(functional.cross_entropy(logits, torch.from_numpy(labels)))
        right = float((logits.argmax(dim=1).numpy() == labels).mean())
        progress.update(step.n, val_loss=loss, accuracy=right)
        row = {"step": step.n, "val_loss": loss, "accuracy": right, "tokens": step.tokens, "seconds": step.seconds}
        self.folder.append(row)
        better = (right, -loss) > self.best
        self.best = (right, -loss) if better else self.best
        self.stale = 0 if better else self.stale + 1
        self._checkpoint(step, best=better)

    def _checkpoint(self, step: Step, *, best: bool) -> None:
        state = {"tokens": step.tokens, "seconds": step.seconds, "score": list(self.best), "stale": self.stale}
        state["identity"] = self._identity()
        tensors = snapshot(self.objective, self.optimizer)
        self.folder.sync()
        checkpoints.save(self.folder.checkpoints, step.n, tensors=tensors, state=state, keep=1, best=best)

    @torch.inference_mode()
    def _answers(self, split: str) -> tuple[torch.Tensor, Any]:
        rows = self.rows.splits[split]
        self.objective.eval()
        out = torch.empty(len(rows.ids), len(self.task.labels))
        order = np.argsort(rows.lengths(), kind="stable")
        for first in range(0, len(order), 64):
            index = order[first : first + 64]
            batch = self.rows.batch(split, index, self.device)
            with self.accelerator.autocast():
                out[torch.from_numpy(index)] = classify(self.objective.model, batch).float().cpu()
        return out, rows.labels

    def _finish(self, step: Step, *, encoder: str, with_baselines: bool) -> Finetuned:
        found = checkpoints.best(self.folder.checkpoints)
        if found is not None:
            restore(self.objective, self.optimizer, found.tensors)
        classes = len(self.task.labels)
        scores = {}
        for name in ("validation", "test"):
            if name in self.rows.splits:
                logits, labels = self._answers(name)
                scores[name] = score(labels, logits.argmax(dim=1).numpy(), classes=classes)
        others = {one.name: one.score for one in baselines(self.task)} if with_baselines else {}
        result = Finetuned(
            str(self.folder.path),
            self.task.kind,
            self.task.labels,
            step.n,
            step.seconds,
            scores["validation"],
            scores.get("test"),
            others,
            self.rows.cut_share,
            self.notes,
        )
        self._write(result, encoder=encoder)
        return result

    def _write(self, result: Finetuned, *, encoder: str) -> None:
        whole = put_tokens_back(self.objective.model, self.whole, self.rows.used)
        description = {
            "kind": self.task.kind,
            "text_columns": list(self.task.text_columns),
            "label_column": self.task.label_column,
            "max_len": self.max_len,
        }
        save_model(whole, self.folder.path, extra={"task": description})
        self.tokenizer.save(self.folder.path)
        self.folder.plot()
        self.folder.write_json("result.json", result._asdict())
        rows = {name: len(split.ids) for name, split in self.rows.splits.items()}
        recipe = {"model": dump(whole.config), "encoder": encoder, "rows": rows}
        write_card(self.folder.path, result._asdict(), recipe=recipe)

    def _truncation(self) -> str:
        return f"{self.rows.cut_share:.1%} of the training texts are longer than {self.max_len} tokens and were cut"

    def _say(self, *messages: str) -> None:
        if not self.quiet:
            progress = Progress(None)
            for message in messages:
                progress.note(message)
