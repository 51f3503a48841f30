"""Adaptive depth: score against multiply-adds and milliseconds, beside truncated encoders, entropy and patience exits.

    SLIMBERT_DATA=DIR python benchmarks/depth.py [qnli] [others] [combined] [clock] --work DIR [--rows 20000]
    [--seeds 3] [--epochs 2] [--only WORD ...] [--name depth]

qnli: MiniLM-L6 on QNLI (rebuilt train), its official validation as the test, looked at once. Every arm has the same
rows, rate, batches, warm-up and epochs. Units learn at five times that rate in every arm that has some: DACT's default;
the published recipes of entropy and patience exits have one rate for all, and that of patience five epochs. DACT in one
stage from the pretrained encoder, its depth varied by kappa, one tau for all seeds (two others once); encoders cut to
their first 2, 3, 4 layers; patience exit; entropy exit in two stages, the first of which is the dense arm. All arms of
a seed come before those of the next. MiniLM has seen SQuAD, so only differences between arms mean anything.

others: SST-2, IMDB, CoNLL-2003, dense and DACT, one seed. SQuAD has no adaptive form: the answer is a pair of places,
for which no rule here is safe. combined: narrow, with a ticket, with adaptive depth, on QNLI. clock, in batches of 32
in float32: time of the adaptive run beside what its executed multiply-adds promise, on the DACT runs of QNLI and IMDB;
the combination, at the depth that validation chose, and the dense model take turns.

Runs stand in a folder below the work folder, named as the record. Every arm is kept when it is done; a run that gets
SIGTERM (`timeout 20m python ...`) writes a checkpoint, and the next start goes on there. --only: arms whose key, such
as `qnli DACT 0`, has a WORD in it. Nothing else may run on the machine. `--rows 64 --seeds 1 --name trial` tries it
all: no split then has more.

About 770 minutes at 1,200 tokens/s: 575 for qnli with 3 seeds, 240 of them for the first, which has the other two tau,
too; 100 for others, 80 for combined, 15 for clock.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from arms import ALL_UPDATES, corpus, measured, minilm, ours, parser, sample, smaller, stop
from depth_points import beside, promises, run_points, scores_of
from depth_text import ADAPTIVE, COMBINED, LOSS, text
from depth_verdicts import chosen
from records import describe, done, keep, same_machine, same_settings
from tickets import earlybird

from slimbert.data.tasks import Split, Task, load_task
from slimbert.errors import InputError, Interrupted
from slimbert.jobs.depth.curve import HALTING
from slimbert.jobs.source import open_encoder
from slimbert.model import extract, save_model
from slimbert.model.folder import digest
from slimbert.model.narrowing import Place, narrow
from slimbert.subnet import Subnet
from slimbert.train.halting import TAUS, UNITS_OF_DACT

PARTS = ("qnli", "others", "combined", "clock")
LR, WARMUP, BATCH, LENGTH, VALIDATION, TESTED = 5e-5, 0.05, 32, 128, 1000, 6000
NARROW_AT = 3  # layers of six that compute every token
CLOCKED = {"qnli": 1000, "imdb": 300}  # texts that are timed
OTHERS = {"sst2": (20000, 872, 128), "imdb": (5000, 2000, 256), "conll2003": (14041, 3250, 128)}  # train, test, tokens
ENTROPIES = ("full", *(f"entropy={value}" for value in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.69)))
PATIENCES = ("full", *(f"patience={count}" for count in range(1, 6)))
PLAIN = ("hidden=tanh",)  # a layer before the classes, as units have
TAU = 5e-3
ENOUGH, TRIED = 2000, ("ticket.detector.fixed=0.5", "ticket.detector.least=1")  # of fewer rows no ticket is detected


class Arm(NamedTuple):
    """How an arm is trained and at which depths it is measured. layers: of the encoder that stay; narrow: with a
    narrowing; after: the arm that its run begins from, which stands before it; once: first seed only; validated: the
    depths are scored on validation, too, where one of them is chosen."""

    settings: tuple[str, ...] = PLAIN
    words: tuple[str, ...] = ("full",)
    layers: int | None = None
    narrow: bool = False
    ticket: bool = False
    after: str | None = None
    once: bool = False
    validated: bool = False


def halting(method: str, *more: str) -> tuple[str, ...]:
    return (f"halting.method={method}", f"halting.unit_lr={UNITS_OF_DACT:g}", *more)


def dact(tau: float) -> tuple[str, ...]:
    return halting("dact", f"halting.tau={tau}")


ARMS = {
    "dense": Arm(),
    ADAPTIVE: Arm(dact(TAU), HALTING, validated=True),
    **{f"truncated {count}": Arm(layers=count) for count in (2, 3, 4)},
    "patience": Arm(halting("patience"), PATIENCES),
    "entropy": Arm(halting("entropy"), ENTROPIES, after="dense"),
    **{f"DACT, tau {tau}": Arm(dact(tau), HALTING, once=True) for tau in (TAUS[1], TAUS[-1])},
}
COMBINATION = {
    "dense": Arm(),
    "narrow": Arm(narrow=True, once=True),
    "narrow + ticket": Arm(narrow=True, ticket=True, once=True),
    COMBINED: Arm(dact(TAU), HALTING, narrow=True, ticket=True, validated=True),
}


class Bench(NamedTuple):
    """What all parts share."""

    name: str
    encoder: Path
    runs: Path
    rows: int
    seeds: int
    epochs: int
    only: tuple[str, ...]

    def arms(self, kind: str, task: Task, arms: dict[str, Arm], *, length: int = LENGTH, seeds: int = 1) -> None:
        """Every arm with every seed, all of a seed before the next, so that a record of one seed is a table."""
        for seed in range(seeds):
            for name, arm in arms.items():
                self.once(kind, name, arm, task, length=length, seed=seed)

    def wants(self, key: str) -> bool:
        return any(word in key for word in self.only)

    def once(self, kind: str, name: str, arm: Arm, task: Task, *, length: int, seed: int) -> None:
        """One arm: how long it trained, and all its depths on the test."""
        key = f"{kind} {name} {seed}"
        if (arm.once and seed) or not self.wants(key):
            return
        settings = [f"epochs={self.epochs}", f"lr={LR}", f"warmup={WARMUP}", f"batch_size={BATCH}", *ALL_UPDATES]
        settings += [f"max_len={length}", "windows=cut", *arm.settings]
        settings += TRIED if arm.ticket and self.rows < ENOUGH else ()
        learnt = dataclasses.replace(task, test=None)  # it is scored behind the training, at all depths

        def run() -> dict[str, Any]:
            assert task.test is not None
            out = self.runs / key
            begin = self.first(arm) if arm.after is None else self.run_of(f"{kind} {arm.after} {seed}")
            early = earlybird("earlybird") if arm.ticket else None
            made = ours(begin, learnt, seed=seed, settings=settings, out=out, ticket=early)
            found = {field: made[field] for field in ("updates", "update_seconds")}
            found |= run_points(out, task.test, arm.words)
            found |= {"validation": scores_of(out, task.validation, arm.words)} if arm.validated else {}
            return found | {"metric": task.metric}

        measured(self.name, key, run)

    def first(self, arm: Arm) -> Path:
        """The encoder that an arm begins from, made once."""
        if arm.layers is None and not arm.narrow:
            return self.encoder
        folder = self.runs / (f"encoder narrow {NARROW_AT}" if arm.narrow else f"encoder {arm.layers}")
        if not (folder / "config.json").exists():
            model, tokenizer, _ = open_encoder(self.encoder, prefer="pooler")
            kept = Subnet.of({}, layers=range(arm.layers or 0))
            made = narrow(model, Place(NARROW_AT)) if arm.narrow else extract(model, kept)
            tokenizer.save(folder)
            save_model(made, folder)
        return folder

    def run_of(self, key: str) -> Path:
        """The folder of a run that is done."""
        folder = self.runs / key
        if not (folder / "model.safetensors").exists():
            stop(f"{folder}: no finished run, make `{key}` first")
        return folder

    def task(self, kind: str) -> Task:
        train, test, _ = OTHERS.get(kind, (self.rows, TESTED, LENGTH))
        sizes = {"train": train, "validation": VALIDATION, "test": test}
        most = {split: min(size, self.rows) for split, size in sizes.items()}
        return smaller(load_task(corpus(kind), kind=kind), **most)

    def timed(self, kind: str) -> Split:
        """The texts of the test that are timed."""
        test = self.task(kind).test
        assert test is not None
        return sample(test, CLOCKED[kind])


def qnli(bench: Bench) -> None:
    bench.arms("qnli", bench.task("qnli"), ARMS, seeds=bench.seeds)


def others(bench: Bench) -> None:
    halts = ARMS[ADAPTIVE]._replace(validated=False)
    for kind, (_, _, length) in OTHERS.items():
        plain = Arm(() if kind == "conll2003" else PLAIN)
        bench.arms(kind, bench.task(kind), {"dense": plain, ADAPTIVE: halts}, length=length)


def combined(bench: Bench) -> None:
    bench.arms("qnli", bench.task("qnli"), COMBINATION, seeds=bench.seeds)


def clock(bench: Bench) -> None:
    """Of the first seed, each as soon as its runs are there."""
    for kind in CLOCKED:
        found = done(bench.name, f"{kind} {ADAPTIVE} 0")
        if found is not None and bench.wants(f"clock {kind}"):
            measured(bench.name, f"clock {kind}", partial(clock_of_depths, bench, kind, found))
    both = [done(bench.name, f"qnli {arm} 0") for arm in ("dense", COMBINED)]
    if None not in both and bench.wants("clock combined"):
        measured(bench.name, "clock combined", partial(clock_of_combination, bench, both[1]))


def clock_of_depths(bench: Bench, kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """At the safe depth, and at that which costs about half."""
    points = [point for point in found["points"] if point["depth"] != "full"]
    half = min(points, key=lambda point: abs(point["macs_share"] - 0.5))["depth"]
    words = tuple(dict.fromkeys(("safe", half)))
    return promises(bench.run_of(f"{kind} {ADAPTIVE} 0"), bench.timed(kind), words)


def clock_of_combination(bench: Bench, found: Mapping[str, Any]) -> dict[str, Any]:
    depth = found["points"][chosen(found["points"], found["validation"], LOSS)]["depth"]
    dense, run = (bench.run_of(f"qnli {arm} 0") for arm in ("dense", COMBINED))
    return beside(dense, run, bench.timed("qnli"), depth)


def named(encoder: Path) -> str:
    """The folder and the weights of an encoder, which are the same wherever it lies."""
    model, _, _ = open_encoder(encoder, prefer="pooler")
    return f"{encoder.name} {digest(model.encoder.state_dict())[:8]}"


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="depth", rows=20000, seeds=3)
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them where none is named")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="the runs stand in DIR/NAME")
    options.add_argument("--epochs", type=int, default=2, metavar="N", help="of every arm (2)")
    options.add_argument("--only", nargs="*", default=[""], metavar="WORD", help="arms whose key has one of these")
    asked = options.parse_args(argv)
    if unknown := set(asked.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: no such part")
    same_machine(asked.name)
    encoder, only, runs = asked.encoder or minilm(), tuple(asked.only), asked.work / asked.name
    if done(asked.name, "settings") is None and runs.exists():
        stop(f"{runs}: runs of a record that is not there: remove them, or give another --name")
    settings = {"rows": asked.rows, "epochs": asked.epochs, "lr": LR, "tau": TAU, "encoder": named(encoder)}
    same_settings(asked.name, settings)
    bench = Bench(asked.name, encoder, runs, asked.rows, asked.seeds, asked.epochs, only)
    parts: dict[str, Callable[[Bench], None]] = {"qnli": qnli, "others": others, "combined": combined, "clock": clock}
    try:
        for part in asked.parts or PARTS:
            parts[part](bench)
    except Interrupted as error:
        print(f"{error}: start the same command again", file=sys.stderr)
    except InputError as error:
        stop(str(error))
    said = text(asked.name, asked.seeds, arms=tuple(ARMS), others=tuple(OTHERS), combined=tuple(COMBINATION))
    keep(asked.name, "summary", said.sentences)
    describe(asked.name, said.markdown)
    print(said.markdown)


if __name__ == "__main__":
    main()
