"""Pretraining as one job: a recipe, prepared data, a run folder; resumable at every moment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..config import dump
from ..data.shards import Shards
from ..data.tokenizer import TextTokenizer
from ..errors import InputError, Interrupted
from ..model import Model, SpecialTokens, fresh, load_model, save_model
from ..model.heads import MaskedLmConfig
from ..train import checkpoints
from ..train.engine import check_compile, choose_core, device_of, engine
from ..train.evaluate import masked_lm_loss
from ..train.loop import Start, Step, restore, snapshot, train
from ..train.objectives import MaskedLm
from ..train.optim import adamw, rate
from ..train.progress import Progress
from ..train.recipe import Recipe, load_recipe, read_recipe, seconds, with_settings
from ..train.run import RunFolder
from ..train.signals import Stop, stop_on_signal
from .card import write_card
from .feed import Feed

EMBEDDING = ("model", "encoder", "embedding")


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
    settings: Sequence[str] = (),
    budget: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> Pretrained:
    """Train a masked language model on a folder that `prepare` wrote; the model stands in `out` at the end.

    `settings` are `dotted.name=value` changes of the recipe; `init_from` continues from a model folder (its encoder
    stands, the recipe's is not used). Raises InputError on what does not fit, RunError at a loss that is not finite,
    Interrupted after a signal, with a checkpoint written.
    """
    plain = dict(recipe) if isinstance(recipe, Mapping) else read_recipe(recipe)
    if seed is not None:
        settings = [*settings, f"train.seed={seed}"]
    shards = Shards.open(data, split="train")
    chosen = resolve(plain, shards, settings=settings, budget=budget, init_from=init_from)
    occupied = Path(out).exists() and any(Path(out).iterdir())
    if occupied and not resume:
        raise InputError(out, "not empty", "go on with --resume, or choose another --out")
    device_of(device)  # a wrong name leaves nothing behind
    with RunFolder(out) as folder, stop_on_signal() as stop:
        return _Run(chosen, shards, folder, device=device, init_from=init_from, quiet=quiet).go(stop, resume=resume)


def resolve(
    plain: Mapping[str, Any],
    shards: Shards,
    *,
    settings: Sequence[str] = (),
    budget: str | None = None,
    init_from: str | Path | None = None,
) -> Recipe:
    """The recipe with what the data (and the model to continue from) decide; an explicit other value is an
    InputError."""
    data = with_settings(plain, settings, budget=budget)
    explicit = {a.partition("=")[0] for a in settings}
    if init_from is not None:
        encoder: Any = dump(load_model(init_from, verify=False).config.encoder)
        data["model"] = {**(data.get("model") or {}), "encoder": encoder}
    model = dict(data.get("model") or {})
    model.setdefault("head", dump(MaskedLmConfig()))
    data["model"] = model
    written = _at(plain, *EMBEDDING, "vocab") is not None or ".".join((*EMBEDDING, "vocab")) in explicit
    recipe = load_recipe(data)
    vocab, length = recipe.model.encoder.embedding.vocab, recipe.data.seq_len
    if vocab != shards.vocab_size and (written or init_from is not None):
        problem = f"{vocab} tokens, the prepared data has {shards.vocab_size}"
        raise InputError(
            "recipe.model.encoder.embedding.vocab",
            problem,
            "leave it out, or prepare the data with the right tokenizer",
        )
    if length not in (None, shards.seq_len):
        problem = f"{length}, the prepared data has rows of {shards.seq_len}"
        raise InputError("recipe.data.seq_len", problem, "leave it out, or prepare the data with --seq-len")
    if shards.seq_len > recipe.model.encoder.embedding.max_len:
        problem = f"{recipe.model.encoder.embedding.max_len}, the prepared data has rows of {shards.seq_len}"
        raise InputError("recipe.model.encoder.embedding.max_len", problem, "raise it, or prepare shorter rows")
    embedding = replace(recipe.model.encoder.embedding, vocab=shards.vocab_size)
    special = TextTokenizer.load(shards.tokenizer_folder).special
    config = replace(
        recipe.model,
        encoder=replace(recipe.model.encoder, embedding=embedding),
        special=SpecialTokens(**special._asdict()),
    )
    return replace(recipe, model=config, data=replace(recipe.data, seq_len=shards.seq_len))


class _Run:
    """One pretraining run: its parts are made once, then the loop is iterated."""

    def __init__(
        self,
        recipe: Recipe,
        shards: Shards,
        folder: RunFolder,
        *,
        device: str | None,
        init_from: str | Path | None,
        quiet: bool,
    ) -> None:
        settings = recipe.train
        self.recipe, self.shards, self.folder, self.quiet = recipe, shards, folder, quiet
        self.accelerator = engine(device=device, precision=settings.precision, accumulate=settings.accumulate)
        if settings.compile:
            check_compile(self.accelerator.device.type)
        model = fresh(recipe.model, settings.seed)
        if init_from is not None:
            _continue(model, load_model(init_from))
        choose_core(model, settings.core, device=device_of(device), length=shards.seq_len)
        self.objective = MaskedLm(model)
        self.objective.to(self.accelerator.device)
        self.optimizer = adamw(self.objective, recipe.optim)
        self.feed = Feed(recipe, shards, self.accelerator)
        there = "validation" in shards.manifest["splits"]
        self.validation = Shards.open(shards.folder, split="validation") if there else None
        self.main = self.accelerator.is_main_process
        self.limit = seconds(settings.time, "recipe.train.time") if settings.time else None
        per_step = settings.batch_size * shards.seq_len
        self.steps = settings.steps or (-(-settings.tokens // per_step) if settings.tokens else None)
        self.val_loss: float | None = None
        self.lowest: float | None = None

    def go(self, stop: Stop, *, resume: bool) -> Pretrained:
        start = self._start(resume)
        torch.manual_seed(self.recipe.train.seed) if start.step == 0 else None
        last = self._losses(start.step)
        step = Step(start.step, last, {}, start.tokens, start.seconds, 0.0, 0.0)
        progress = Progress(self.steps, start=start.step, budget=self.limit, enabled=self.main and not self.quiet)
        with progress:
            for step in train(
                self.objective,
                self.feed.training(start.step),
                self.optimizer,
                lr=self._rate,
                accelerator=self.accelerator,
                clip=self.recipe.optim.clip,
                compiled=self.recipe.train.compile,
                start=start,
            ):
                self._after(step, start, progress)
                if stop:
                    self._checkpoint(step)
                    raise Interrupted(f"{stop.name}: stopped after step {step.n}; go on with --resume")
        return self._finish(step)

    def _start(self, resume: bool) -> Start:
        """Step 0 of a new run, or where the newest whole checkpoint stands."""
        found = checkpoints.newest(self.folder.checkpoints, tell=self._say) if resume else None
        if resume and found is None:
            self._say("no whole checkpoint yet: starting at step 0")
        if found is not None:
            if found.state.get("recipe") != json.loads(json.dumps(self._identity())):
                raise InputError(found.path, "made by another recipe or other data", "resume with those it began with")
            restore(self.objective, self.optimizer, found.tensors)
            self.lowest = found.state.get("lowest")
            self._say(f"going on from step {found.step} of {found.path}")
        start = Start(found.step, found.state["tokens"], found.state["seconds"]) if found else Start()
        if self.main:
            self.folder.cut(start.step)
            checkpoints.drop_after(self.folder.checkpoints, start.step)
            self._write_head()
        return start

    def _identity(self) -> dict[str, Any]:
        """What must not change between a checkpoint and its continuation; the budget may be moved."""
        recipe = dump(self.recipe)
        recipe["train"] = {k: v for k, v in recipe["train"].items() if k in ("batch_size", "accumulate", "seed")}
        return {**recipe, "data": {"sha256": self.shards.sha256, **recipe["data"]}}

    def _write_head(self) -> None:
        self.folder.write_recipe(dump(self.recipe))
        self.folder.write_environment()
        self.folder.write_json("data.json", {"folder": self.shards.folder.name, "sha256": self.shards.sha256})
        TextTokenizer.load(self.shards.tokenizer_folder).save(self.folder.path)

    def _rate(self, now: Start) -> float | None:
        if self.limit is not None:
            share = now.seconds / self.limit
        else:
            share = now.step / (self.steps or 1)
        if self.accelerator.num_processes > 1 and self.limit is not None:
            shared = torch.tensor([share], device=self.accelerator.device)
            share = float(self.accelerator.reduce(shared, reduction="mean"))
        return None if share >= 1 else rate(self.recipe.optim, share + 1e-9 if now.step else self._first_share())

    def _first_share(self) -> float:
        return 1 / self.steps if self.steps else 1e-3

    def _after(self, step: Step, start: Start, progress: Progress) -> None:
        row = {"step": step.n, "loss": step.loss, "tokens": step.tokens, "seconds": step.seconds, "lr": step.lr}
        if self.main:
            self.folder.append({**row, "norm": step.norm})
            speed = (step.tokens - start.tokens) / max(step.seconds - start.seconds, 1e-9)
            progress.update(step.n, loss=step.loss, tokens_per_second=speed)
        settings = self.recipe.train
        last = self.steps is not None and step.n >= self.steps
        if self.validation is not None and (step.n % settings.evaluate_every == 0 or last):
            self._validate(step)
        if step.n % settings.checkpoint_every == 0 or last:
            self._checkpoint(step)

    def _validate(self, step: Step) -> None:
        assert self.validation is not None
        batches = self.feed.validation(self.validation)
        self.val_loss = masked_lm_loss(self.objective, batches, autocast=self.accelerator.autocast())
        if self.main:
            self.folder.append(
                {"step": step.n, "val_loss": self.val_loss, "tokens": step.tokens, "seconds": step.seconds}
            )

    def _checkpoint(self, step: Step) -> None:
        best = self.val_loss is not None and (self.lowest is None or self.val_loss < self.lowest)
        self.lowest = self.val_loss if best else self.lowest
        if self.main:
            self.folder.sync()
            state = {"tokens": step.tokens, "seconds": step.seconds, "lowest": self.lowest, "recipe": self._identity()}
            tensors = snapshot(self.objective, self.optimizer)
            checkpoints.save(
                self.folder.checkpoints, step.n, tensors=tensors, state=state, keep=self.recipe.train.keep, best=best
            )
        self.accelerator.wait_for_everyone()

    def _finish(self, step: Step) -> Pretrained:
        if self.validation is not None and self.limit is not None:
            self._validate(step)
        result = Pretrained(str(self.folder.path), step.n, step.tokens, step.seconds, step.loss, self.val_loss)
        if self.main:
            if self.limit is not None:
                self._checkpoint(step)
            save_model(self.objective.model, self.folder.path)
            self.folder.plot()
            self.folder.write_json("result.json", result._asdict())
            write_card(self.folder.path, result._asdict(), recipe=dump(self.recipe))
        self.accelerator.wait_for_everyone()
        return result

    def _losses(self, step: int) -> float:
        """The loss of an update that was made before this process began; nan at step 0."""
        rows = [row for row in self.folder.rows() if row.get("step") == step]
        for row in rows:
            self.val_loss = row.get("val_loss", self.val_loss)
        return next((row["loss"] for row in rows if "loss" in row), float("nan"))

    def _say(self, message: str) -> None:
        if self.main and not self.quiet:
            Progress(None).note(message)


def _continue(model: Model, source: Model) -> None:
    """Take over the encoder, and the head where it is the same."""
    model.encoder.load_state_dict(source.encoder.state_dict())
    if model.config.head == source.config.head and model.head is not None and source.head is not None:
        model.head.load_state_dict(source.head.state_dict())


def _at(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
