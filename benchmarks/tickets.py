"""Early-bird tickets: the time of a step, and fine-tuning and pretraining beside dense models and controls.

    SLIMBERT_DATA=DIR python benchmarks/tickets.py [steps] [times] [qnli] [others] [pretraining] [tuned] --work DIR
    [--rows 20000] [--seeds 3] [--minutes 30] [--device cpu] [--name tickets]

Nothing else may run on the machine during `steps`, `times` and `pretraining`, 120 minutes in all; the other parts are
scores, beside which other work may run.

steps (15 minutes): an update and an inference of [8, 128] at the sizes of BERT-base and MiniLM-L6, dense, with
coefficients, and as the default ticket (a third of the heads of every layer and 40% of the neurons gone), in turn in
one process. With --device cuda on a GPU; the other parts always run on the processor.

times (15 minutes): updates of fine-tuning, dense, in the search, as a ticket and as the stronger one, in turn on the
same batches of QNLI; of SQuAD and CoNLL-2003 without the stronger one. Goals of time are judged by these, with the
updates that the runs made; what the clock said of whole runs stands beside.

qnli (740 minutes, 490 of them for the arms that need every seed, which come first): MiniLM-L6 on QNLI (rebuilt train)
with its official validation as the test, which is looked at once; every arm has the same rows, rate, batches and
warm-up. Dense for 3 epochs; tickets by rewind and by continue, for 3 epochs; at random, and equal layers at random,
which need no search. Behind these: both for 2 epochs at twice the rate, as the published scripts train; a stronger
ticket; by magnitude (first seed only). MiniLM has seen SQuAD, so only differences between arms mean anything.

others (120 minutes): SQuAD (tested on 1,000 questions) and CoNLL-2003, dense and ticket, one seed. pretraining (90
minutes): 6 layers of width 192 on wiki_en, vocabulary 8,192, dense, ticket and random ticket for the same wall-clock
time, one seed. tuned (25 minutes): these, fine-tuned on 5,000 rows of SST-2 and QNLI, at the rate that `slimbert
finetune` takes for that width.

The record keeps what every row of the test was answered, the units and the search of every ticket. Runs stand in a
folder below the work folder, named as the record, until they are kept. A run that gets SIGTERM (`timeout 20m python
...`) writes a checkpoint, and the next start goes on there. `--rows 64 --seeds 1 --minutes 1 --name trial` tries
it all.
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from arms import ALL_UPDATES, corpus, measured, minilm, own_runs, parser, smaller, stop
from pretrain_wiki import data as wiki
from quality_arms import unigram_entropy
from records import describe, done, keep, same_machine, same_settings
from ticket_runs import earlybird, pretrained, tuned
from ticket_steps import step_times
from ticket_text import ENTROPY, Text, Wanted, text
from ticket_times import times_of

from slimbert.data.tasks import Task, load_task
from slimbert.errors import InputError, Interrupted
from slimbert.jobs.source import open_encoder
from slimbert.model import EncoderConfig, presets
from slimbert.model.folder import digest
from slimbert.train.environment import best_dtype

ROUNDS, ARTICLES = 15, 14618
LR, EPOCHS, WARMUP, BATCH, LENGTH = 5e-5, 3, 0.05, 32, 128  # `pilot.py rates` says whether 1e-4 is the better rate
VALIDATION, TESTED = 200, 6000  # rows at most
SIZES: dict[str, Callable[[], EncoderConfig]] = {
    "bert_base": presets.bert_base,
    "minilm": lambda: presets.from_pattern("6{sf}", dim=384, head_dim=32),
}
ENCODER: dict[str, Any] = {"pattern": "6{sf}", "dim": 192, "head_dim": 32, "max_len": LENGTH}  # that is pretrained
RANDOM, EQUAL, GO_ON = "ticket.draw.by=random", "ticket.draw.neurons.per=layer", "ticket.train.start=continue"
STRONG = ("ticket.draw.heads.cut=0.5", "ticket.draw.neurons.cut=0.6")
ARMS: dict[str, tuple[str, ...] | None] = {  # settings of the ticket; None: dense
    "dense": None,
    "ticket": (),
    "ticket, continue": (GO_ON,),
    "random": (RANDOM,),
    "equal": (RANDOM, EQUAL),
    "dense, short": None,
    "ticket, short": ("ticket.train.share=0.6667", "ticket.train.lr=2"),
    "strong": (GO_ON, *STRONG),
    "magnitude": ("ticket.draw.by=magnitude",),
}
CORE, ONCE = ("dense", "ticket", "ticket, continue", "random", "equal"), ("magnitude",)  # every seed first; one seed
COMPARED, PRETRAINED, TUNED, TUNED_ROWS = ("dense", "ticket"), ("dense", "ticket", "random"), ("sst2", "qnli"), 5000
# a trial has too few updates to detect a ticket, below these rows and minutes
ENOUGH, LONG, TRIED = 2000, 15.0, ("ticket.detector.fixed=0.5", "ticket.detector.least=1")


class Other(NamedTuple):
    """Rows of train and of the test at most, tokens of a row, settings of the ticket."""

    train: int
    test: int
    length: int
    ticket: tuple[str, ...] = ()


OTHERS = {
    # an epoch of SQuAD has 188 updates, of which the detector would take 100: a fixed fifth, as the published scripts
    "squad": Other(6000, 1000, 384, ("ticket.detector.fixed=0.2", "ticket.detector.least=1")),
    "conll2003": Other(14041, TESTED, LENGTH),
}
TIMED = {"qnli": 150, "squad": 20, "conll2003": 60}  # rounds


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

    @property
    def runs(self) -> Path:
        """Where runs stand until they are kept."""
        return self.work / self.name

    def task(self, kind: str, train: int, test: int = TESTED) -> Task:
        """At most so many rows; a trial of few rows has no more in any split."""
        sizes = {"train": train, "validation": VALIDATION, "test": test}
        most = {split: min(size, self.rows) for split, size in sizes.items()}
        return smaller(load_task(corpus(kind), kind=kind), **most)

    def plan(self) -> list[tuple[str, int]]:
        """Arms and seeds on QNLI, in the order in which they are made: what is needed of every seed comes first, dense
        before all else of its seed."""
        core, rest = [arm for arm in ARMS if arm in CORE], [arm for arm in ARMS if arm not in CORE]
        each = [(arm, seed) for some in (core, rest) for seed in range(self.seeds) for arm in some]
        return [(arm, seed) for arm, seed in each if seed == 0 or arm not in ONCE]

    def wanted(self) -> Wanted:
        """What the whole record has."""
        kinds = dict.fromkeys(("float32", best_dtype(self.device)))
        keys = {
            "steps": [step_key(size, kind, self.device) for size in SIZES for kind in kinds],
            "times": [f"times {kind}" for kind in TIMED],
            "qnli": [f"qnli {arm} {seed}" for arm, seed in self.plan()],
            "others": [f"{kind} {arm} 0" for kind in OTHERS for arm in COMPARED],
            "pretraining": [f"pretraining {arm}" for arm in PRETRAINED],
            "tuned": [f"pretraining {arm}, {kind}" for arm in PRETRAINED for kind in TUNED],
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

    def settings(self, arm: str, *, length: int, lr: float | None = LR, also: Sequence[str] = ()) -> list[str]:
        """Of a fine-tuning. lr: None: that of its width; also: of the ticket, where there is one."""
        early, short = ARMS[arm], arm == "dense, short"
        made = [f"epochs={2 if short else EPOCHS}", f"warmup={WARMUP}", *ALL_UPDATES, f"batch_size={BATCH}"]
        made += [f"max_len={length}", "windows=cut"]
        made += [] if lr is None else [f"lr={2 * lr if short else lr}"]
        return made if early is None else [*made, *early, *also, *(TRIED if self.rows < ENOUGH else ())]

    def once(self, key: str, encoder: Path, task: Task, arm: str, settings: Sequence[str], *, seed: int = 0) -> None:
        """One fine-tuning; its folder goes when all that is wanted of it stands in the record."""
        out, recipe = self.runs / key, None if ARMS[arm] is None else earlybird("earlybird")
        self.measured(key, partial(tuned, encoder, task, settings, out=out, seed=seed, recipe=recipe))
        shutil.rmtree(out, ignore_errors=True)


def step_key(size: str, precision: str, device: str) -> str:
    return f"steps {size} {precision}" + ("" if device == "cpu" else f" {device}")


def steps(bench: Bench) -> None:
    for size, encoder in SIZES.items():
        for precision in dict.fromkeys(("float32", best_dtype(bench.device))):
            key = step_key(size, precision, bench.device)
            run = partial(step_times, encoder(), precision, rounds=ROUNDS, device=bench.device)
            bench.measured(key, run, device=bench.device)


def times(bench: Bench) -> None:
    for kind, rounds in TIMED.items():
        other = OTHERS.get(kind, Other(bench.rows, TESTED, LENGTH))
        task = bench.task(kind, other.train, other.test)
        settings = bench.settings("ticket", length=other.length, also=other.ticket)
        tickets = {"ticket": (), **({"strong": STRONG} if kind == "qnli" else {})}
        known: Any = {"tickets": tickets, "recipe": earlybird("earlybird"), "rounds": rounds}
        bench.measured(f"times {kind}", partial(times_of, bench.first, task, settings, **known))


def qnli(bench: Bench) -> None:
    task = bench.task("qnli", bench.rows)
    for arm, seed in bench.plan():
        settings = bench.settings(arm, length=LENGTH)
        bench.once(f"qnli {arm} {seed}", bench.first, task, arm, settings, seed=seed)


def others(bench: Bench) -> None:
    for kind, other in OTHERS.items():
        task = bench.task(kind, other.train, other.test)
        for arm in COMPARED:
            settings = bench.settings(arm, length=other.length, also=other.ticket)
            bench.once(f"{kind} {arm} 0", bench.first, task, arm, settings)


def pretraining(bench: Bench) -> None:
    if done(bench.name, ENTROPY) is None:
        keep(bench.name, ENTROPY, unigram_entropy(wiki(bench.work, ARTICLES)))
    for arm in PRETRAINED:
        bench.measured(f"pretraining {arm}", partial(pretraining_of, bench, arm))


def pretraining_of(bench: Bench, arm: str) -> dict[str, Any]:
    """One pretraining, or the rest of it."""
    early = ARMS[arm]
    recipe = None if early is None else earlybird("earlybird_pretraining")
    settings = (*(early or ()), *(TRIED if early is not None and bench.minutes < LONG else ()))
    shards, out = wiki(bench.work, ARTICLES), folder_of(bench, arm)
    return pretrained(shards, out, bench.minutes, settings, encoder=ENCODER, recipe=recipe)


def folder_of(bench: Bench, arm: str) -> Path:
    return bench.runs / f"pretrained {arm}, {bench.minutes:g} minutes"


def tuned_behind(bench: Bench) -> None:
    """What was pretrained, fine-tuned. Where its folder is gone, it is pretrained again, which must be quiet, too."""
    for arm in PRETRAINED:
        out = folder_of(bench, arm)
        left = [kind for kind in TUNED if done(bench.name, f"pretraining {arm}, {kind}") is None]
        if left and not (out / "model.safetensors").exists():
            pretraining_of(bench, arm)
        for kind in left:
            settings = bench.settings("dense", length=LENGTH, lr=None)
            task = bench.task(kind, min(TUNED_ROWS, bench.rows))
            bench.once(f"pretraining {arm}, {kind}", out, task, "dense", settings)


PARTS: dict[str, Callable[[Bench], None]] = {
    "steps": steps,
    "times": times,
    "qnli": qnli,
    "others": others,
    "pretraining": pretraining,
    "tuned": tuned_behind,
}


def settings_of(bench: Bench) -> dict[str, Any]:
    """What must be the same for all that stands in a record; steps depend on none of it."""
    weights = digest(open_encoder(bench.first, prefer="pooler")[0].encoder.state_dict())
    given = {"rows": bench.rows, "minutes": bench.minutes, "lr": LR, "epochs": EPOCHS, "warmup": WARMUP}
    return given | {"precision": best_dtype("cpu"), "encoder": f"weights {weights[:12]}"}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="tickets", rows=20000, seeds=3)
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them where none is named")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="the runs stand in DIR/NAME")
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
        own_runs(bench.name, bench.runs)
        same_settings(chosen.name, settings_of(bench))
    try:
        for part in asked:
            PARTS[part](bench)
    except Interrupted as error:
        print(f"{error}: start the same command again", file=sys.stderr)
    except InputError as error:
        stop(str(error))
    print(bench.write().markdown)


if __name__ == "__main__":
    main()
