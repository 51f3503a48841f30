"""Pretraining as one job: a recipe, prepared data, a run folder; resumable at every moment."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..config import dump
from ..data.shards import Shards
from ..data.tokenizer import TextTokenizer
from ..errors import InputError, Interrupted, RunError
from ..model import Model
from ..train import checkpoints
from ..train.engine import anywhere, check_compile, choose_core, device_of, engine, is_first_process
from ..train.evaluate import validate
from ..train.loop import Start, Step, restore, seed_dropout, snapshot, train
from ..train.optim import adamw, rate
from ..train.progress import Progress
from ..train.recipe import Recipe, read_recipe, seconds
from ..train.run import RunFolder, check_free
from ..train.signals import Stop, stop_on_signal
from .card import write_card
from .feed import Feed
from .objective import leave, objective_of
from .resolve import begun, resolve
from .source import Source, open_source
from .tickets.pretraining import with_ticket
from .tickets.recipe import ticket_recipe

FIRST_SHARE = 1e-3  # of a budget in time: what the rate of the first update is taken at


class Pretrained(NamedTuple):
    """What a pretraining run came to."""

    run: str
    steps: int
    tokens: int
    seconds: float
    loss: float
    val_loss: float | None


def pretrain(
    recipe: str | Path | Mapping[str, Any],
    *,
    data: str | Path,
    out: str | Path,
    init_from: str | Path | None = None,
    ticket: str | Path | Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    budget: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> Pretrained:
    """Train a model by the recipe's objective on a folder that `prepare` wrote; it stands in `out` at the end.

    `settings` are `dotted.name=value` changes of the recipe; `init_from` continues from an encoder: it, and its head if
    the objective trains one of that kind, stand instead of the recipe's. `ticket`: a recipe by which a ticket is drawn
    first, and trained instead. Raises InputError on what does not fit, RunError at a loss that is not finite,
    Interrupted after a signal, with a checkpoint written.
    """
    plain = dict(recipe) if isinstance(recipe, Mapping) else read_recipe(recipe)
    early, settings = ticket_recipe(ticket, settings, out)
    if seed is not None:
        settings = [*settings, f"train.seed={seed}"]
    shards = Shards.open(data, split="train")
    source = None if init_from is None else open_source(init_from)
    chosen = resolve(plain, shards, settings=settings, budget=budget, source=source)
    device_of(device)  # a wrong name leaves nothing behind
    if is_first_process():
        check_free(out, resume=resume)
    with RunFolder(out) as folder, stop_on_signal() as stop:
        run = Run(chosen, shards, folder, device=device, source=source, quiet=quiet)
        if early is not None:
            with_ticket(run, early, stop)
        return run.go(stop, resume=resume)


class Run:
    """One pretraining run: its parts are made once, then the loop is iterated."""

    def __init__(
        self,
        recipe: Recipe,
        shards: Shards,
        folder: RunFolder,
        *,
        device: str | None,
        source: Source | None,
        quiet: bool,
    ) -> None:
        settings = recipe.train
        self.recipe, self.shards, self.folder, self.quiet = recipe, shards, folder, quiet
        self.source, self.device = source, device_of(device)
        self.accelerator = engine(device=device, precision=settings.precision, accumulate=settings.accumulate)
        self.main = self.accelerator.is_main_process
        if settings.compile:
            check_compile(self.accelerator.device.type)
        self.take(begun(recipe, source))
        self.begin, self.ticket = Start(), ""  # where a new run starts; the hash of its ticket
        self.feed = Feed(recipe, shards, self.accelerator)
        there = "validation" in shards.manifest["splits"]
        self.validation = Shards.open(shards.folder, split="validation") if there else None
        self.limit = seconds(settings.time, "recipe.train.time") if settings.time else None
        per_step = settings.batch_size * shards.seq_len
        self.steps = settings.steps or (-(-settings.tokens // per_step) if settings.tokens else None)
        self.ahead = 0.0  # seconds of the first update, which compiles: the schedule of a budget in time begins behind
        self.val_loss: float | None = None
        self.lowest: float | None = None
        self.saved = self.validated = -1  # the steps at which that was done last

    def take(self, model: Model) -> None:
        """Train this model."""
        made = objective_of(self.recipe, model, continued=self.source is not None)
        choose_core(made, self.recipe.train.core, device=self.device)
        self.objective = made.to(self.accelerator.device)
        self.optimizer = adamw(self.objective, self.recipe.optim)

    def go(self, stop: Stop, *, resume: bool) -> Pretrained:
        start = self._start(resume)
        for note in self.feed.notes:
            self._say(note)
        step = Step(start.step, self._losses(start.step), {}, start.tokens, start.seconds, 0.0, 0.0)
        left = None if self.limit is None else max(0.0, self.limit - start.seconds)
        progress = Progress(self.steps, start=start.step, budget=left, enabled=self.main and not self.quiet)
        with progress, self._told():
            for step in train(
                self.objective,
                self.feed.training(start.step),
                self.optimizer,
                lr=self.rate,
                accelerator=self.accelerator,
                clip=self.recipe.optim.clip,
                compiled=self.recipe.train.compile,
                start=start,
            ):
                self._after(step, start, progress)
                self._heed(stop, step)
        return self._finish(step, stop)

    def _heed(self, stop: Stop, step: Step) -> None:
        """Where a signal came, checkpoint and leave."""
        if anywhere(self.accelerator, bool(stop)):
            if self.saved != step.n:
                self._checkpoint(step)
            raise Interrupted(f"{stop.name or 'stopped'}: at step {step.n}; go on with --resume")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A run that fails says where it stands."""
        try:
            yield
        except RunError as error:
            remedy = "start again with a lower optim.lr, in a new --out: nothing was checkpointed yet"
            if self.saved >= 0:
                remedy = f"the checkpoint of step {self.saved} stands: go on with --resume --set optim.lr=..."
            raise RunError(f"{error}; {remedy}") from error

    def _start(self, resume: bool) -> Start:
        """Step 0 of a new run, or where the newest whole checkpoint stands."""
        found = checkpoints.newest(self.folder.checkpoints, tell=self._say) if resume else None
        if resume and found is None:
            self._say(f"no whole checkpoint yet: starting at step {self.begin.step}")
        start, rank = self.begin, self.accelerator.process_index
        if found is not None:
            if found.state.get("run") != json.loads(json.dumps(self.identity())):
                raise InputError(found.path, "made by another recipe or other data", "resume with those it began with")
            restore(self.objective, self.optimizer, found.tensors)
            start = Start(found.step, found.state["tokens"], found.state["seconds"])
            self.lowest, self.ahead, self.saved = found.state["lowest"], found.state["ahead"], found.step
            self._say(f"going on from step {found.step} of {found.path}")
        if found is None or rank:  # dropout: the checkpoint holds the state of the first process
            seed_dropout(self.recipe.train.seed, step=start.step, rank=rank)
        if self.main:
            self.folder.cut(start.step)
            checkpoints.drop_after(self.folder.checkpoints, start.step)
            self._write_head()
        return start

    def identity(self) -> dict[str, Any]:
        """What must not change between a checkpoint and its continuation; budget and optimiser's settings may."""
        recipe = dump(self.recipe)
        train = {name: recipe["train"][name] for name in ("batch_size", "accumulate", "seed")}
        data = {"sha256": self.shards.sha256, **recipe["data"]}
        found = {"model": recipe["model"], "masking": recipe["masking"], "train": train, "data": data}
        found |= {"ticket": self.ticket} if self.ticket else {}
        plain = recipe["objective"] == {"kind": "masked_lm"}  # what checkpoints without this entry are of
        return found if plain else found | {"objective": recipe["objective"]}

    def _write_head(self) -> None:
        self.folder.write_environment()
        self.folder.write_recipe(dump(self.recipe))
        self.folder.write_json("data.json", {"folder": self.shards.folder.name, "sha256": self.shards.sha256})
        TextTokenizer.load(self.shards.tokenizer_folder).save(self.folder.path)

    def rate(self, now: Start) -> float | None:
        """The learning rate of the update that starts now, at the middle of its share; None: the budget is spent."""
        if self.limit is None:
            assert self.steps is not None
            return None if now.step >= self.steps else rate(self.recipe.optim, (now.step + 0.5) / self.steps)
        clock = torch.tensor([now.seconds, self.ahead], device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            clock = self.accelerator.reduce(clock, reduction="mean")
        elapsed, ahead = clock.tolist()
        if elapsed >= self.limit:
            return None
        return rate(self.recipe.optim, max((elapsed - ahead) / (self.limit - ahead), FIRST_SHARE))

    def _after(self, step: Step, start: Start, progress: Progress) -> None:
        if step.n == 1:
            self.ahead = step.seconds
        if self.main:
            losses = {"loss": step.loss, **(step.parts if len(step.parts) > 1 else {})}
            row = {"step": step.n, **losses, "tokens": step.tokens, "seconds": step.seconds}
            self.folder.append({**row, "lr": step.lr, "norm": step.norm})
            speed = (step.tokens - start.tokens) / max(step.seconds - start.seconds, 1e-9)
            progress.update(step.n, **losses, tokens_per_second=speed)
        settings = self.recipe.train
        better = step.n % settings.evaluate_every == 0 and self._validate(step)
        if better or step.n % settings.checkpoint_every == 0:
            self._checkpoint(step, best=better)

    def _validate(self, step: Step) -> bool:
        """Whether the validation loss is the lowest so far; False where there is no validation."""
        if self.validation is None:
            return False
        batches = self.feed.validation(self.validation)
        scores = validate(self.objective, batches, autocast=self.accelerator.autocast())
        self.val_loss = scores["val_loss"]
        self.validated = step.n
        if self.main:
            self.folder.append({"step": step.n, **scores, "tokens": step.tokens, "seconds": step.seconds})
        better = math.isfinite(self.val_loss) and (self.lowest is None or self.val_loss < self.lowest)
        self.lowest = self.val_loss if better else self.lowest
        return better

    def _checkpoint(self, step: Step, *, best: bool = False) -> None:
        self.saved = step.n
        if self.main:
            self.folder.sync()
            state = {"tokens": step.tokens, "seconds": step.seconds, "lowest": self.lowest, "ahead": self.ahead}
            checkpoints.save(
                self.folder.checkpoints,
                step.n,
                tensors=snapshot(self.objective, self.optimizer),
                state=state | {"run": self.identity()},
                keep=self.recipe.train.keep,
                best=best,
            )
        self.accelerator.wait_for_everyone()

    def _finish(self, step: Step, stop: Stop) -> Pretrained:
        better = self.validated != step.n and self._validate(step)
        if better or self.saved != step.n:
            self._checkpoint(step, best=better)
        self._heed(stop, step)
        result = Pretrained(str(self.folder.path), step.n, step.tokens, step.seconds, step.loss, self.val_loss)
        if self.main:
            leave(self.objective, self.folder.path, TextTokenizer.load(self.shards.tokenizer_folder))
            self.folder.plot()
            self.folder.write_json("result.json", result._asdict())
            write_card(self.folder.path, result._asdict(), recipe=dump(self.recipe))
        self.accelerator.wait_for_everyone()
        return result

    def _losses(self, step: int) -> float:
        """The loss of an update that was made before this process began; nan at step 0."""
        loss = math.nan
        for row in self.folder.rows():
            if row["step"] == step and "val_loss" in row:
                self.val_loss, self.validated = row["val_loss"], step
            elif row["step"] == step:
                loss = row["loss"]
        return loss

    def _say(self, message: str) -> None:
        if self.main and not self.quiet:
            Progress(None).note(message)
