"""Early-bird tickets: the time of a step, and fine-tuning and pretraining beside dense models and controls.

    SLIMBERT_DATA=DIR python benchmarks/tickets.py [steps] [qnli] [others] [pretraining] --work DIR [--rows 20000]
    [--seeds 3] [--minutes 30] [--name tickets]

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

`update_seconds` are those to the end of the last update, the search, the draw and the smaller model included; the one
validation comes behind it.
Resumes where it stopped; nothing else may run on the machine.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arms import ALL_UPDATES, corpus, in_turn, measured, minilm, parser, smaller
from pretrain_wiki import data as wiki
from records import done, keep, same_machine

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
from slimbert.train.environment import best_dtype
from slimbert.train.loop import train
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.recipe import recipes
from slimbert.train.run import TICKET
from slimbert.train.supervised import Supervised, one_class

PARTS = ("steps", "qnli", "others", "pretraining")
BATCH, LENGTH, ROUNDS = 8, 128, 15
LR, EPOCHS, WARMUP, VALIDATION = 5e-5, 3, 0.05, 1000
SIZES: dict[str, Callable[[], EncoderConfig]] = {
    "bert_base": presets.bert_base,
    "minilm": lambda: presets.from_pattern("6{sf}", dim=384, head_dim=32),
}
ENCODER: dict[str, Any] = {"pattern": "6{sf}", "dim": 192, "head_dim": 32, "max_len": LENGTH}  # that is pretrained
RANDOM, EQUAL, GO_ON = "ticket.draw.by=random", "ticket.draw.neurons.per=layer", "ticket.train.start=continue"
ARMS: dict[str, tuple[str, ...] | None] = {  # settings of the ticket; None: dense
    "dense": None,
    "ticket": (),
    "ticket, continue": (GO_ON,),
    "random": (RANDOM,),
    "equal": (RANDOM, EQUAL),
    "dense, short": None,
    "ticket, short": ("ticket.train.share=0.6667", "ticket.train.lr=2"),
    "strong": (GO_ON, "ticket.draw.heads.cut=0.5", "ticket.draw.neurons.cut=0.6"),
    "magnitude": ("ticket.draw.by=magnitude",),
}


# the time of a step


def steps(name: str) -> None:
    for size, encoder in SIZES.items():
        for precision in dict.fromkeys(("float32", best_dtype("cpu"))):
            measured(name, f"steps {size} {precision}", lambda made=encoder, kind=precision: of_size(made(), kind))


def of_size(encoder: EncoderConfig, precision: Any) -> dict[str, Any]:
    """Median ms of every call, and the ratio of dense to ticket over the rounds, with its 95% interval."""
    small = shrink(encoder, draw(at_random(encoder, 0), encoder, DrawConfig()))
    accelerator = engine(device="cpu", precision=precision)
    calls: dict[str, Callable[[], object]] = {}
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
        found[f"times as fast, {kind}"] = float(np.median(ratios))
        found[f"its interval, {kind}"] = interval(ratios)
    found["search over dense"] = float(np.median(np.array(spent["search update"]) / np.array(spent["dense update"])))
    length = min(LENGTH, encoder.embedding.max_len)
    whole, part = (costs(one, length=length).layers for one in (encoder, small))
    return found | {"multiply-adds of the layers, dense over ticket": whole / part}


def update(encoder: EncoderConfig, accelerator: Any, *, gated: bool) -> Callable[[], object]:
    """One update of the loop that `slimbert finetune` iterates."""
    head = SequenceConfig(labels=("a", "b"), pool="mean", hidden=None)
    model = fresh(ModelConfig(encoder=encoder, head=head), 0)
    choose_core(model, "auto", device="cpu", length=LENGTH)
    objective: Any = Supervised(model, one_class)
    optim = OptimConfig(lr=LR)
    optimizer = adamw(objective, optim)
    if gated:
        objective = Gated(objective)
        optimizer = gated_adamw(objective, optim, SearchConfig())
    loop: Any = train(objective, cycle(fixed(encoder)), optimizer, lr=lambda now: LR, accelerator=accelerator)
    return lambda: next(loop)


def inference(encoder: EncoderConfig, accelerator: Any) -> Callable[[], object]:
    model = fresh(ModelConfig(encoder=encoder), 0).eval()
    choose_core(model, "auto", device="cpu", length=LENGTH)
    ids = fixed(encoder)[0]["input_ids"]

    @torch.inference_mode()
    def call() -> torch.Tensor:
        with accelerator.autocast():
            return model(ids)

    return call


def fixed(encoder: EncoderConfig) -> list[dict[str, torch.Tensor]]:
    """Random tokens: the time does not depend on which they are."""
    made = []
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        shape = (BATCH, min(LENGTH, encoder.embedding.max_len))
        ids = torch.randint(encoder.embedding.vocab, shape, generator=random)
        made.append({"input_ids": ids, "labels": torch.randint(2, (BATCH,), generator=random)})
    return made


def interval(ratios: Any) -> list[float]:
    """95% interval of the median, by the bootstrap."""
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    return [float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))]


# fine-tuning


def qnli(name: str, encoder: Path, *, rows: int, seeds: int) -> None:
    task = held(load_task(corpus("qnli"), kind="qnli"), rows)
    for seed in range(seeds):
        for arm in in_turn(ARMS, seed):
            if arm != "magnitude" or seed == 0:
                once(name, f"qnli {arm} {seed}", encoder, task, arm, seed=seed)
    keep(name, "qnli summary", summary(name, seeds))
    print(json.dumps(done(name, "qnli summary"), indent=1))


def others(name: str, encoder: Path) -> None:
    for kind, rows, length in (("squad", 6000, 384), ("conll2003", 14041, LENGTH)):
        task = held(load_task(corpus(kind), kind=kind), rows)
        for arm in ("dense", "ticket"):
            once(name, f"{kind} {arm} 0", encoder, task, arm, seed=0, length=length)


def held(task: Task, rows: int) -> Task:
    return smaller(task, train=rows, validation=VALIDATION, test=len(task.test or ()))


def once(name: str, key: str, encoder: Path, task: Task, arm: str, *, seed: int, length: int = LENGTH) -> None:
    """One arm: its score, seconds of the updates in all and of one, and its search."""
    early, short = ARMS[arm], arm == "dense, short"
    settings = [f"epochs={2 if short else EPOCHS}", f"lr={2 * LR if short else LR}", f"warmup={WARMUP}", *ALL_UPDATES]
    settings += ["batch_size=32", f"max_len={length}", "windows=cut", *(early or ())]
    recipe = None if early is None else earlybird("earlybird")

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            options: Any = {"device": "cpu", "quiet": True, "with_baselines": False}
            made = finetune(encoder, task, out=out, settings=settings, ticket=recipe, seed=seed, **options)
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            ticket = read_ticket(out) if (out / TICKET).exists() else None
        taught = [line["seconds"] for line in lines if "loss" in line]
        score = (made.test or made.validation)[made.metric]
        found = {"score": score, "metric": made.metric, "updates": len(taught), "update_seconds": max(taught)}
        found["seconds_per_update"] = (taught[-1] - taught[0]) / (len(taught) - 1)
        if ticket is not None:
            found |= {"why": ticket.why, "search_updates": ticket.updates, "search_seconds": ticket.seconds}
        return found

    measured(name, key, run)


def earlybird(stem: str) -> Path:
    return next(path for path in recipes() if path.stem == stem)


def summary(name: str, seeds: int) -> dict[str, Any]:
    """Scores, differences to dense and to the controls by seed, time saved, and what the measured ratio of steps would
    allow."""
    out: dict[str, Any] = {"lr": LR, "epochs": EPOCHS, "warmup": WARMUP, "precision": best_dtype("cpu")}
    dense = [done(name, f"qnli dense {seed}") for seed in range(seeds)]
    for arm, early in ARMS.items():
        runs = [(run, whole) for seed, whole in enumerate(dense) if (run := done(name, f"qnli {arm} {seed}"))]
        ratio = statistics.median(run["seconds_per_update"] / whole["seconds_per_update"] for run, whole in runs)
        out[arm] = {
            "score": statistics.mean(run["score"] for run, _ in runs),
            **over(name, arm, "dense", seeds),
            "time saved": statistics.median(1 - run["update_seconds"] / whole["update_seconds"] for run, whole in runs),
            "r": ratio,
        }
        if early is not None:
            run, whole = runs[0]
            updates = run.get("search_updates", 0) + ratio * run["updates"]
            allowed = 1 - updates / whole["updates"]
            out[arm] |= {"allowed by r": allowed, "at least 90% of that": out[arm]["time saved"] >= 0.9 * allowed}
    for peer in ("random", "equal"):
        if peer in ARMS:
            out["ticket"] |= over(name, "ticket", peer, seeds)
    return out


def over(name: str, arm: str, peer: str, seeds: int) -> dict[str, Any]:
    """The difference of two arms, seed by seed, in points of the score."""
    pairs = [(done(name, f"qnli {one} {seed}") for one in (arm, peer)) for seed in range(seeds)]
    apart = [one["score"] - other["score"] for one, other in map(tuple, pairs) if one and other]
    spread = statistics.stdev(apart) if len(apart) > 1 else None
    return {f"over {peer}": statistics.mean(apart), f"deviation of that over {peer}": spread}


# pretraining


def pretraining(name: str, work: Path, *, minutes: float, rows: int) -> None:
    shards = wiki(work, 14618)
    times = {"time": f"{minutes}m", "evaluate_every": 100, "checkpoint_every": 500}
    tasks = {kind: held(load_task(corpus(kind), kind=kind), rows) for kind in ("sst2", "qnli")}
    for arm in ("dense", "ticket", "random"):
        out, early = work / f"pretrained {arm}", ARMS[arm]

        def run(out: Path = out, early: tuple[str, ...] | None = early) -> dict[str, Any]:
            recipe = None if early is None else earlybird("earlybird_pretraining")
            plain = {"model": {"encoder": ENCODER}, "train": times}
            pretrain(plain, data=shards, out=out, settings=early or (), ticket=recipe, resume=out.exists())
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            return {"curve": [[line["seconds"], line["val_loss"]] for line in lines if "val_loss" in line]}

        measured(name, f"pretraining {arm}", run)
        for kind, task in tasks.items():
            once(name, f"pretraining {arm}, {kind}", out, task, "dense", seed=0)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="tickets", rows=20000, seeds=3)
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them where none is named")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="for prepared data and pretraining")
    options.add_argument("--minutes", type=float, default=30.0, metavar="M", help="of each pretraining (30)")
    chosen = options.parse_args(argv)
    if unknown := set(chosen.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: no such part")
    same_machine(chosen.name)
    encoder = chosen.encoder or minilm()
    run: dict[str, Callable[[], None]] = {
        "steps": lambda: steps(chosen.name),
        "qnli": lambda: qnli(chosen.name, encoder, rows=chosen.rows, seeds=chosen.seeds),
        "others": lambda: others(chosen.name, encoder),
        "pretraining": lambda: pretraining(chosen.name, chosen.work, minutes=chosen.minutes, rows=chosen.rows),
    }
    for part in chosen.parts or PARTS:
        run[part]()


if __name__ == "__main__":
    main()
