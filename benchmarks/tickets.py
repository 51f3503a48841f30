"""Early-bird tickets: the time of a step, and fine-tuning and pretraining beside dense models and controls.

    SLIMBERT_DATA=DIR python benchmarks/tickets.py [steps] [qnli] [others] [pretraining] --work DIR [--rows 20000]
    [--seeds 3] [--minutes 30] [--device cpu] [--name tickets]

steps: an update and an inference of [8, 128] at the sizes of BERT-base and MiniLM-L6, dense, with coefficients, and as
the default ticket (a third of the heads of every layer and 40% of the neurons gone). They take turns in one process.
With --device cuda on a GPU; the other parts always run on the processor.

qnli: MiniLM-L6 on QNLI (rebuilt train) with its official validation as the test, which is looked at once; every arm has
the same rows, rate, batches and warm-up. Dense for 3 epochs; tickets by rewind and by continue, for 3 epochs; at
random, equal layers at random, by magnitude (first seed only): they need no search; both for 2 epochs at twice the
rate, as the published scripts train; a stronger ticket. First all arms of one seed, then those of the next. MiniLM has
seen SQuAD, so only differences between arms mean anything.

others: SQuAD (tested on 1,000 questions) and CoNLL-2003, dense and ticket, one seed. pretraining: 6 layers of width 192
on wiki_en, vocabulary 8,192, dense, ticket and random ticket for the same wall-clock time, one seed; then SST-2 and
QNLI, at the rate that `slimbert finetune` takes for that width.

`update_seconds` are those to the end of the last update, the search, the draw and the smaller model included; the one
validation comes behind it, scores 200 rows and decides nothing.

Every run is kept when it is done, and the README is written anew: killed and started again, it goes on with the next
one. A fine-tuning that was interrupted begins anew, a pretraining goes on; its runs stand in the work folder, below the
name of the record. Nothing else may run on the machine. `--rows 64 --seeds 1 --minutes 1 --name trial` tries it all.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from arms import ALL_UPDATES, corpus, in_turn, measured, minilm, parser, smaller
from pretrain_wiki import data as wiki
from records import describe, done, keep, same_machine, same_settings
from ticket_steps import step_times
from ticket_text import Text, Wanted, text

from slimbert.data.tasks import Task, load_task
from slimbert.errors import Interrupted
from slimbert.jobs.finetune import finetune
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.source import open_encoder
from slimbert.jobs.tickets.file import read_ticket
from slimbert.model import EncoderConfig, presets
from slimbert.model.folder import digest
from slimbert.train.environment import best_dtype
from slimbert.train.recipe import recipes
from slimbert.train.run import TICKET

PARTS = ("steps", "qnli", "others", "pretraining")
ROUNDS, ARTICLES = 15, 14618
LR, EPOCHS, WARMUP, BATCH, LENGTH = 5e-5, 3, 0.05, 32, 128
VALIDATION, TESTED = 200, 6000  # rows at most
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
ONCE = ("magnitude",)  # with the first seed only
OTHERS = {"squad": (6000, 1000, 384), "conll2003": (14041, TESTED, LENGTH)}  # rows of train and test at most, tokens
COMPARED, PRETRAINED, TUNED = ("dense", "ticket"), ("dense", "ticket", "random"), ("sst2", "qnli")
# a trial has too few updates to detect a ticket, below these rows and minutes
ENOUGH, LONG, TRIED = 2000, 15.0, ("ticket.detector.fixed=0.5", "ticket.detector.least=1")


class Bench(NamedTuple):
    """What all parts share. encoder: None: MiniLM-L6."""

    name: str
    encoder: Path | None
    work: Path
    rows: int
    seeds: int
    minutes: float
    device: str

    @property
    def first(self) -> Path:
        """The encoder that is fine-tuned."""
        return self.encoder or minilm()

    def task(self, kind: str, train: int, test: int = TESTED) -> Task:
        """At most so many rows; a trial of few rows has no more in any split."""
        sizes = {"train": train, "validation": VALIDATION, "test": test}
        most = {split: min(size, self.rows) for split, size in sizes.items()}
        return smaller(load_task(corpus(kind), kind=kind), **most)

    def wanted(self) -> Wanted:
        """What the whole record has."""
        kinds = dict.fromkeys(("float32", best_dtype(self.device)))
        seeded = [(arm, seed) for seed in range(self.seeds) for arm in ARMS if seed == 0 or arm not in ONCE]
        pretrained = [f"pretraining {arm}{of}" for arm in PRETRAINED for of in ("", *(f", {kind}" for kind in TUNED))]
        keys = {
            "steps": [step_key(size, kind, self.device) for size in SIZES for kind in kinds],
            "qnli": [f"qnli {arm} {seed}" for arm, seed in seeded],
            "others": [f"{kind} {arm} 0" for kind in OTHERS for arm in COMPARED],
            "pretraining": pretrained,
        }
        return Wanted(self.seeds, EPOCHS, tuple(ARMS), tuple(OTHERS), PRETRAINED, TUNED, keys)

    def measured(self, key: str, run: Callable[[], Mapping[str, Any]], *, device: str = "cpu") -> None:
        """Into the record where it does not stand there yet, and with all there is into its README."""
        if done(self.name, key) is None:
            measured(self.name, key, run, device=device)
            self.write()

    def write(self) -> Text:
        made = text(self.name, self.wanted())
        keep(self.name, "summary", {"said": made.sentences, "qnli": made.figures})
        describe(self.name, made.markdown)
        return made

    def once(
        self,
        key: str,
        encoder: Path,
        task: Task,
        arm: str,
        *,
        seed: int = 0,
        length: int = LENGTH,
        lr: float | None = LR,
    ) -> None:
        """One arm: its score, seconds of the updates in all and of one, and its search. lr: None: that of its width."""
        early, short = ARMS[arm], arm == "dense, short"
        settings = [f"epochs={2 if short else EPOCHS}", f"warmup={WARMUP}", *ALL_UPDATES, f"batch_size={BATCH}"]
        settings += [f"max_len={length}", "windows=cut", *(early or ())]
        settings += TRIED if early is not None and self.rows < ENOUGH else ()
        settings += [] if lr is None else [f"lr={2 * lr if short else lr}"]
        recipe = None if early is None else earlybird("earlybird")
        self.measured(key, partial(tuned, encoder, task, settings, recipe, seed))


def step_key(size: str, precision: str, device: str) -> str:
    return f"steps {size} {precision}" + ("" if device == "cpu" else f" {device}")


def tuned(encoder: Path, task: Task, settings: Sequence[str], recipe: Path | None, seed: int) -> dict[str, Any]:
    """What one fine-tuning came to."""
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


def earlybird(stem: str) -> Path:
    return next(path for path in recipes() if path.stem == stem)


def steps(bench: Bench) -> None:
    for size, encoder in SIZES.items():
        for precision in dict.fromkeys(("float32", best_dtype(bench.device))):
            key = step_key(size, precision, bench.device)
            run = partial(step_times, encoder(), precision, rounds=ROUNDS, device=bench.device)
            bench.measured(key, run, device=bench.device)


def qnli(bench: Bench) -> None:
    """All arms of a seed before those of the next, so that what is there is a table soon; dense first with seed 0."""
    task = bench.task("qnli", bench.rows)
    for seed in range(bench.seeds):
        for arm in in_turn(ARMS, seed + 1):
            if seed == 0 or arm not in ONCE:
                bench.once(f"qnli {arm} {seed}", bench.first, task, arm, seed=seed)


def others(bench: Bench) -> None:
    for kind, (train, test, length) in OTHERS.items():
        task = bench.task(kind, train, test)
        for arm in COMPARED:
            bench.once(f"{kind} {arm} 0", bench.first, task, arm, length=length)


def pretraining(bench: Bench) -> None:
    shards = wiki(bench.work, ARTICLES)
    tasks = {kind: bench.task(kind, bench.rows) for kind in TUNED}
    for arm in PRETRAINED:
        out = bench.work / bench.name / f"pretrained {arm}, {bench.minutes:g} minutes"
        bench.measured(f"pretraining {arm}", partial(pretrained, shards, out, arm, bench.minutes))
        for kind, task in tasks.items():
            bench.once(f"pretraining {arm}, {kind}", out, task, "dense", lr=None)


def pretrained(shards: Path, out: Path, arm: str, minutes: float) -> dict[str, Any]:
    """The validation losses of one pretraining, [[seconds, loss]], and how its ticket was drawn."""
    early = ARMS[arm]
    recipe = None if early is None else earlybird("earlybird_pretraining")
    times = {"time": f"{minutes}m", "evaluate_every": 100, "checkpoint_every": 500}
    plain = {"model": {"encoder": ENCODER}, "train": times}
    settings = (*(early or ()), *(TRIED if early is not None and minutes < LONG else ()))
    pretrain(plain, data=shards, out=out, settings=settings, ticket=recipe, resume=out.exists(), device="cpu")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found: dict[str, Any] = {"curve": [[line["seconds"], line["val_loss"]] for line in lines if "val_loss" in line]}
    if recipe is not None:
        ticket = read_ticket(out)
        found |= {"why": ticket.why, "search_updates": ticket.updates, "search_seconds": ticket.seconds}
    return found


def settings_of(bench: Bench) -> dict[str, Any]:
    """What must be the same for all that stands in a record; steps depend on none of it."""
    weights = digest(open_encoder(bench.first, prefer="pooler")[0].encoder.state_dict())
    given = {"rows": bench.rows, "minutes": bench.minutes, "lr": LR, "epochs": EPOCHS, "warmup": WARMUP}
    return given | {"precision": best_dtype("cpu"), "encoder": f"weights {weights[:12]}"}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="tickets", rows=20000, seeds=3)
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them where none is named")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="for prepared data and pretraining")
    options.add_argument("--minutes", type=float, default=30.0, metavar="M", help="of each pretraining (30)")
    options.add_argument("--device", default="cpu", help="of the steps: cpu or cuda (cpu)")
    chosen = options.parse_args(argv)
    if unknown := set(chosen.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: no such part")
    same_machine(chosen.name)
    given = chosen.rows, chosen.seeds, chosen.minutes, chosen.device
    bench = Bench(chosen.name, chosen.encoder, chosen.work, *given)
    asked = chosen.parts or PARTS
    if set(asked) != {"steps"}:
        same_settings(chosen.name, settings_of(bench))
    parts: dict[str, Callable[[Bench], None]]
    parts = {"steps": steps, "qnli": qnli, "others": others, "pretraining": pretraining}
    try:
        for part in asked:
            parts[part](bench)
    except Interrupted as error:
        print(f"{error}: start the same command again", file=sys.stderr)
    print(bench.write().markdown)


if __name__ == "__main__":
    main()
