"""Early-bird tickets: the time of a step, and fine-tuning and pretraining beside dense models and controls.

    SLIMBERT_DATA=DIR python benchmarks/tickets.py [steps] [qnli] [others] [pretraining] --work DIR [--seeds 3]
    [--rows 20000] [--minutes 30] [--name tickets]

steps: an update and an inference of [8, 128] at the sizes of BERT-base and MiniLM-L6, dense, with coefficients, and as
the default ticket (a third of the heads of every layer and 40% of the neurons gone; which ones is drawn at random, the
time does not depend on it). They take turns in one process.

qnli: MiniLM-L6 on QNLI (rebuilt train) with its official validation as the test, which is looked at once; every arm has
the same rows, rate, batches and warm-up. Dense for 3 epochs; tickets by rewind and by continue, for 3 epochs; at
random, equal layers at random, by magnitude (first seed only): they need no search; both for 2 epochs at twice the
rate, as the published scripts train; a stronger ticket. MiniLM has seen SQuAD, so only differences between arms mean
anything.

others: SQuAD and CoNLL-2003, dense and ticket, one seed. pretraining: 6 layers of width 192 on wiki_en, vocabulary
8,192, dense, ticket and random ticket for the same wall-clock time, one seed; then SST-2 and QNLI.

Times include the search and one validation. Resumes where it stopped; nothing else may run on the machine.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretrain_wiki import data as wiki
from records import done, keep, same_machine
from sst2 import minilm

from slimbert.data.tasks import Task, load_task
from slimbert.jobs.finetune import finetune
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.tickets.file import read_ticket
from slimbert.methods.gated import Gated, SearchConfig, gated_adamw
from slimbert.methods.importance import at_random
from slimbert.methods.tickets import DrawConfig, draw
from slimbert.methods.units import costs
from slimbert.model import EncoderConfig, ModelConfig, fresh, presets
from slimbert.model.heads import SequenceConfig
from slimbert.subnet import shrink
from slimbert.train.engine import choose_core, engine
from slimbert.train.environment import best_dtype, gemm_tflops
from slimbert.train.loop import train
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.recipe import recipes
from slimbert.train.run import TICKET
from slimbert.train.supervised import Supervised, one_class

BATCH, LENGTH, ROUNDS = 8, 128, 15
LR, EPOCHS, WARMUP = 5e-5, 3, 0.05
SIZES: dict[str, Callable[[], EncoderConfig]] = {
    "bert_base": presets.bert_base,
    "minilm": lambda: presets.from_pattern("6{sf}", dim=384, head_dim=32),
}
RANDOM, EQUAL = "ticket.draw.by=random", "ticket.draw.neurons.per=layer"
STRONG = ("ticket.draw.heads.cut=0.5", "ticket.draw.neurons.cut=0.6")
SHORT = ("ticket.train.share=0.6667", "ticket.train.lr=2")
ARMS: dict[str, tuple[str, ...] | None] = {  # settings of the ticket; None: dense
    "dense": None,
    "ticket": (),
    "ticket, continue": ("ticket.train.start=continue",),
    "random": (RANDOM,),
    "equal": (RANDOM, EQUAL),
    "dense, short": None,
    "ticket, short": SHORT,
    "strong": (*STRONG, "ticket.train.start=continue"),
    "magnitude": ("ticket.draw.by=magnitude",),
}


def earlybird(name: str = "earlybird") -> Path:
    return next(path for path in recipes() if path.stem == name)


# the time of a step


def steps(name: str) -> None:
    for size in SIZES:
        for precision in {"float32", best_dtype("cpu")}:
            key = f"steps {size} {precision}"
            if done(name, key) is None:
                keep(name, key, of_size(SIZES[size](), precision))
                print(key, json.dumps(done(name, key)), flush=True)


def of_size(encoder: EncoderConfig, precision: Any) -> dict[str, Any]:
    """Median ms of every arm, and the ratio of dense to ticket over the rounds."""
    small = shrink(encoder, draw(at_random(encoder, 0), encoder, DrawConfig()))
    calls: dict[str, Callable[[], object]] = {}
    accelerator = engine(device="cpu", precision=precision)
    for arm, config in (("dense", encoder), ("search", encoder), ("ticket", small)):
        calls[f"{arm} update"] = update(config, accelerator, gated=arm == "search")
        if arm != "search":
            calls[f"{arm} inference"] = inference(config, accelerator)
    spent: dict[str, list[float]] = {call: [] for call in calls}
    for turn in range(ROUNDS + 2):  # two to warm up
        for call in sorted(calls, reverse=bool(turn % 2)):
            begin = time.perf_counter()
            calls[call]()
            spent[call] += [time.perf_counter() - begin] * (turn >= 2)
    found: dict[str, Any] = {f"{call} ms": 1e3 * statistics.median(times) for call, times in spent.items()}
    for kind in ("update", "inference"):
        ratios = np.array(spent[f"dense {kind}"]) / np.array(spent[f"ticket {kind}"])
        found[f"times as fast, {kind}"] = [float(np.median(ratios)), *interval(ratios)]
    found["search over dense"] = float(np.median(np.array(spent["search update"]) / np.array(spent["dense update"])))
    whole, part = (costs(one, length=LENGTH).layers for one in (encoder, small))
    return found | {"multiply-adds of the layers": whole / part, "gemm_tflops": gemm_tflops(precision)}


def update(encoder: EncoderConfig, accelerator: Any, *, gated: bool) -> Callable[[], object]:
    model = fresh(ModelConfig(encoder=encoder, head=SequenceConfig(labels=("a", "b"), pool="mean", hidden=None)), 0)
    choose_core(model, "auto", device="cpu", length=LENGTH)
    objective: Any = Supervised(model, one_class)
    optim = OptimConfig(lr=LR)
    optimizer = adamw(objective, optim)
    if gated:
        objective = Gated(objective)
        optimizer = gated_adamw(objective, optim, SearchConfig())
    loop: Any = train(objective, cycle(fixed()), optimizer, lr=lambda now: LR, accelerator=accelerator)
    return lambda: next(loop)


def inference(encoder: EncoderConfig, accelerator: Any) -> Callable[[], object]:
    model = fresh(ModelConfig(encoder=encoder), 0).eval()
    choose_core(model, "auto", device="cpu", length=LENGTH)
    ids = fixed()[0]["input_ids"]

    @torch.inference_mode()
    def call() -> torch.Tensor:
        with accelerator.autocast():
            return model(ids)

    return call


def fixed() -> list[dict[str, torch.Tensor]]:
    """Random tokens: the time does not depend on which they are."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(4)]
    return [
        {
            "input_ids": torch.randint(1000, 30000, (BATCH, LENGTH), generator=one),
            "labels": torch.randint(2, (BATCH,), generator=one),
        }
        for one in draws
    ]


def interval(ratios: Any) -> list[float]:
    """95% interval of the median, by the bootstrap."""
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    return [float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))]


# fine-tuning


def qnli(name: str, *, rows: int, seeds: int) -> None:
    task = subset(load_task(Path(os.environ["SLIMBERT_DATA"]) / "qnli", kind="qnli"), rows)
    for seed in range(seeds):
        arms = list(ARMS)[:: 1 if seed % 2 == 0 else -1]
        for arm in arms:
            if arm != "magnitude" or seed == 0:
                once(name, f"qnli {arm} {seed}", task, ARMS[arm], seed=seed, short=arm.endswith("short"))
    keep(name, "qnli summary", summary(name, seeds))
    print(json.dumps(done(name, "qnli summary"), indent=1))


def others(name: str) -> None:
    folder = Path(os.environ["SLIMBERT_DATA"])
    for kind, rows, length in (("squad", 6000, 384), ("conll2003", 14041, LENGTH)):
        task = subset(load_task(folder / kind, kind=kind), rows)
        for arm in ("dense", "ticket"):
            once(name, f"{kind} {arm} 0", task, ARMS[arm], seed=0, length=length)


def subset(task: Task, rows: int) -> Task:
    few = np.sort(np.random.default_rng(0).permutation(len(task.train))[:rows])
    held = np.arange(min(1000, len(task.validation)))
    return dataclasses.replace(task, train=task.train.take(few), validation=task.validation.take(held))


def once(
    name: str,
    key: str,
    task: Task,
    early: tuple[str, ...] | None,
    *,
    seed: int,
    short: bool = False,
    length: int = LENGTH,
    encoder: Path | None = None,
) -> None:
    """One arm, kept: score, seconds in all and of the updates alone, seconds per update, the search."""
    if done(name, key) is not None:
        return
    dense_short = short and early is None
    settings = [f"epochs={2 if dense_short else EPOCHS}", f"lr={2 * LR if dense_short else LR}", f"warmup={WARMUP}"]
    settings += ["min_updates=1", "batch_size=32", f"max_len={length}", "windows=cut"]
    settings += ["patience=1000000", "evaluations=1"]
    gemm = gemm_tflops(best_dtype("cpu"))  # of this hour: the machine is shared
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        made = finetune(
            encoder or minilm(), task, out=run, settings=[*settings, *(early or ())], seed=seed, quiet=True,
            ticket=None if early is None else earlybird(), with_baselines=False,
        )  # fmt: skip
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        ticket = read_ticket(run) if (run / TICKET).exists() else None
    taught = [row["seconds"] for row in rows if "loss" in row]
    start = 0.0 if ticket is None else ticket.seconds
    assert made.test is not None
    found: dict[str, Any] = {"score": made.test[made.metric], "seconds": made.seconds, "update_seconds": max(taught)}
    found["seconds_per_update"] = (max(taught) - start) / len(taught)
    if ticket is not None:
        found |= {"why": ticket.why, "search_updates": ticket.updates, "search_seconds": ticket.seconds}
    keep(name, key, found | {"gemm_tflops": gemm})
    print(key, done(name, key), flush=True)


def summary(name: str, seeds: int) -> dict[str, Any]:
    """Scores, differences to dense by seed, time saved, and what the measured ratio of steps would allow."""
    out: dict[str, Any] = {"lr": LR, "epochs": EPOCHS, "warmup": WARMUP, "precision": best_dtype("cpu")}
    dense = [done(name, f"qnli dense {seed}") for seed in range(seeds)]
    for arm in ARMS:
        runs = [(run, whole) for s, whole in enumerate(dense) if (run := done(name, f"qnli {arm} {s}"))]
        differences = [run["score"] - whole["score"] for run, whole in runs]
        saved = [1 - run["update_seconds"] / whole["update_seconds"] for run, whole in runs]
        out[arm] = {
            "score": statistics.mean(run["score"] for run, _ in runs),
            "over dense": statistics.mean(differences),
            "deviation of it": statistics.stdev(differences) if len(runs) > 1 else None,
            "time saved": statistics.median(saved),
            "r": statistics.median(run["seconds_per_update"] / whole["seconds_per_update"] for run, whole in runs),
        }
        if runs[0][0].get("search_updates"):
            updates = round(runs[0][1]["update_seconds"] / runs[0][1]["seconds_per_update"])  # of the dense run
            search = EPOCHS * runs[0][0]["search_updates"] / updates  # epochs
            left = EPOCHS - search if "ticket.train.start=continue" in (ARMS[arm] or ()) else EPOCHS
            left *= 2 / 3 if arm.endswith("short") else 1
            out[arm]["allowed by r"] = 1 - (search + left * out[arm]["r"]) / EPOCHS
    return out


# pretraining


def pretraining(name: str, work: Path, *, minutes: float, rows: int) -> None:
    shards = wiki(work, 14618)
    sizes = {"dim": 192, "head_dim": 32, "max_len": LENGTH}
    plain = {
        "model": {"encoder": {"pattern": "6{sf}", **sizes}},
        "train": {"time": f"{minutes}m", "evaluate_every": 100, "checkpoint_every": 500},
    }
    arms: dict[str, tuple[str, ...] | None] = {"dense": None, "ticket": (), "random": (RANDOM,)}
    folder = Path(os.environ["SLIMBERT_DATA"])
    tasks = {kind: subset(load_task(folder / kind, kind=kind), rows) for kind in ("sst2", "qnli")}
    for arm, early in arms.items():
        out = work / f"pretrained {arm}"
        if done(name, f"pretraining {arm}") is None:
            pretrain(
                plain, data=shards, out=out, settings=early or (), resume=out.exists(),
                ticket=None if early is None else earlybird("earlybird_pretraining"),
            )  # fmt: skip
            read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            keep(name, f"pretraining {arm}", [[row["seconds"], row["val_loss"]] for row in read if "val_loss" in row])
        for kind, task in tasks.items():
            once(name, f"pretraining {arm}, {kind}", task, None, seed=0, encoder=out)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", help="steps, qnli, others, pretraining; all of them where none is named")
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--rows", type=int, default=20000)
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--name", default="tickets")
    chosen = options.parse_args()
    same_machine(chosen.name)
    known: dict[str, Callable[[], None]] = {
        "steps": lambda: steps(chosen.name),
        "qnli": lambda: qnli(chosen.name, rows=chosen.rows, seeds=chosen.seeds),
        "others": lambda: others(chosen.name),
        "pretraining": lambda: pretraining(chosen.name, chosen.work, minutes=chosen.minutes, rows=chosen.rows),
    }
    for part in chosen.parts or known:
        known[part]()


if __name__ == "__main__":
    main()
