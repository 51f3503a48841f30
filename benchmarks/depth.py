"""Adaptive depth: score against multiply-adds and milliseconds, beside truncated encoders, entropy and patience exits.

    SLIMBERT_DATA=DIR python benchmarks/depth.py [qnli] [combined] [others] [clock] --work DIR [--rows 20000]
    [--seeds 3] [--epochs 2] [--only WORD ...] [--name depth]

Only `clock` needs a machine on which nothing else runs, 20 minutes; the other parts are scores and multiply-adds,
beside which other work may run.

qnli: MiniLM-L6 on QNLI (rebuilt train), its official validation as the test, looked at once. Every arm has the same
rows, rate, batches, warm-up and epochs. Units learn at five times that rate in every arm that has some: DACT's default;
the published recipes of entropy and patience exits have one rate for all, and that of patience five epochs. Entropy
exit in two stages, the first of which is the dense arm; DACT in one stage from the pretrained encoder, its depth varied
by kappa, one tau for all seeds (two others once); encoders cut to their first 2, 3, 4 layers; patience exit. Once, with
the first token's state in the place of the mean (`cls`, where the last layer computes one row): dense, truncated, DACT.
All arms of a seed come before those of the next. MiniLM has seen SQuAD, so only differences between arms mean anything.

combined: narrow, with a ticket, with adaptive depth, on QNLI; what it costs is counted first. others: SST-2, IMDB,
CoNLL-2003, dense and DACT, one seed. SQuAD has no adaptive form: the answer is a pair of places, for which no rule here
is safe. clock, of the first seed, in float32: time of the adaptive run in batches of 32 beside what its executed
multiply-adds promise, on the DACT runs of QNLI and IMDB; then every depth of every arm and of the combination in turn,
in batches of 32 and one by one.

Runs stand in a folder below the work folder, named as the record. Every arm is kept when it is done; a run that gets
SIGTERM (`timeout 20m python ...`) writes a checkpoint, and the next start goes on there. A run whose folder is gone,
but which another arm or the clock needs, is trained again; the clock does so before it measures anything. --only: arms
whose key, such as `qnli DACT 0`, has a WORD in it. `--rows 64 --seeds 1 --name trial` tries it all: no split then has
more.

About 870 minutes at 1,200 tokens/s: 650 for qnli with 3 seeds, 330 of them for the first; 105 for combined, 95 for
others, 20 for clock.
"""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from arms import ALL_UPDATES, corpus, measured, minilm, ours, own_runs, parser, sample, smaller, stop
from depth_arms import ADAPTIVE, ARMS, COMBINATION, COMBINED, LR, NARROW_AT, PLAIN, TAU, TICKET, Arm, counted
from depth_points import chart, promises, run_points, scores_of
from depth_text import text
from records import describe, done, keep, same_machine, same_settings
from ticket_runs import earlybird

from slimbert.data.tasks import Split, Task, load_task
from slimbert.errors import InputError, Interrupted
from slimbert.jobs.source import open_encoder
from slimbert.model import extract, save_model
from slimbert.model.folder import digest
from slimbert.model.narrowing import Place, narrow
from slimbert.subnet import Subnet

WARMUP, BATCH, LENGTH, VALIDATION, TESTED = 0.05, 32, 128, 1000, 6000
CLOCKED = {"qnli": 1000, "imdb": 150}  # texts that are timed
CHARTED = {32: 300, 1: 60}  # texts of the chart, by the size of a batch
OTHERS = {"sst2": (20000, 872, 128), "imdb": (5000, 1000, 256), "conll2003": (14041, 3250, 128)}  # train, test, tokens
ENOUGH, TRIED = 2000, ("ticket.detector.fixed=0.5", "ticket.detector.least=1")  # of fewer rows no ticket is detected
FINISHED, CHECKPOINTS = "result.json", "checkpoints"  # of a run


class Bench(NamedTuple):
    """What all parts share."""

    name: str
    encoder: Path
    runs: Path
    rows: int
    seeds: int
    epochs: int
    only: tuple[str, ...]

    def arms(self, kind: str, arms: Mapping[str, Arm], *, seeds: int = 1) -> None:
        """Every arm with every seed, all of a seed before the next, so that a record of one seed is a table."""
        task = self.task(kind)
        for seed in range(seeds):
            for name, arm in arms.items():
                key = f"{kind} {name} {seed}"
                if self.wants(key) and not (arm.once and seed):
                    measured(self.name, key, partial(self.once, kind, name, seed, task))
                    shutil.rmtree(self.runs / key / CHECKPOINTS, ignore_errors=True)

    def wants(self, key: str) -> bool:
        return any(word in key for word in self.only)

    def once(self, kind: str, name: str, seed: int, task: Task) -> dict[str, Any]:
        """One arm: how long it trained, and all its depths on the test."""
        assert task.test is not None
        arm, made, out = arms_of(kind)[name], self.trained(kind, name, seed), self.runs / f"{kind} {name} {seed}"
        found = {field: made[field] for field in ("updates", "update_seconds")}
        found |= run_points(out, task.test, arm.words)
        found |= {"validation": scores_of(out, task.validation, arm.words)} if arm.validated else {}
        return found | {"metric": task.metric}

    def trained(self, kind: str, name: str, seed: int) -> dict[str, Any]:
        """What the training of an arm, or the rest of it, came to."""
        arm = arms_of(kind)[name]
        length = OTHERS[kind][2] if kind in OTHERS else LENGTH
        settings = [f"epochs={self.epochs}", f"lr={LR}", f"warmup={WARMUP}", f"batch_size={BATCH}", *ALL_UPDATES]
        settings += [f"max_len={length}", "windows=cut", *arm.settings, *(arm.ticket or ())]
        settings += TRIED if arm.ticket is not None and self.rows < ENOUGH else ()
        learnt = dataclasses.replace(self.task(kind), test=None)  # it is scored behind the training, at all depths
        begin = self.first(arm) if arm.after is None else self.run_of(kind, arm.after, seed)
        early = None if arm.ticket is None else earlybird("earlybird")
        return ours(begin, learnt, seed=seed, settings=settings, out=self.runs / f"{kind} {name} {seed}", ticket=early)

    def run_of(self, kind: str, name: str, seed: int) -> Path:
        """The folder of a run that is done; where it is gone, the run is made again."""
        folder = self.runs / f"{kind} {name} {seed}"
        if not (folder / FINISHED).exists():
            print(f"{folder.name}: no finished run in the work folder, it is trained now", file=sys.stderr)
            self.trained(kind, name, seed)
        return folder

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

    def task(self, kind: str) -> Task:
        train, test, _ = OTHERS.get(kind, (self.rows, TESTED, LENGTH))
        sizes = {"train": train, "validation": VALIDATION, "test": test}
        most = {split: min(size, self.rows) for split, size in sizes.items()}
        return smaller(load_task(corpus(kind), kind=kind), **most)

    def timed(self, kind: str, rows: int) -> Split:
        """So many texts of the test."""
        test = self.task(kind).test
        assert test is not None
        return sample(test, rows)


def arms_of(kind: str) -> dict[str, Arm]:
    """All arms of a task."""
    if kind == "qnli":
        return {**ARMS, **COMBINATION}
    return {"dense": Arm(() if kind == "conll2003" else PLAIN), ADAPTIVE: ARMS[ADAPTIVE]._replace(validated=False)}


def qnli(bench: Bench) -> None:
    bench.arms("qnli", ARMS, seeds=bench.seeds)


def combined(bench: Bench) -> None:
    measured(bench.name, "counted", partial(counted, bench.encoder, NARROW_AT, TICKET))
    bench.arms("qnli", COMBINATION, seeds=bench.seeds)


def others(bench: Bench) -> None:
    for kind in OTHERS:
        bench.arms(kind, arms_of(kind))


def clock(bench: Bench) -> None:
    """What is needed of each, first; then one after the other, nothing between."""
    clocks: dict[str, Callable[[], dict[str, Any]]] = {}
    for kind in CLOCKED:
        found = done(bench.name, f"{kind} {ADAPTIVE} 0")
        if found is not None:
            clocks[f"clock {kind}"] = partial(clock_of_depths, bench, kind, found)
    there = {arm: made for arm, made in arms_of("qnli").items() if done(bench.name, f"qnli {arm} 0") is not None}
    if COMBINED in there and "dense" in there:
        clocks["clock chart"] = partial(clock_of_all, bench, there)
    left = [key for key in clocks if bench.wants(key) and done(bench.name, key) is None]
    for kind in CLOCKED:
        if f"clock {kind}" in left:
            bench.run_of(kind, ADAPTIVE, 0)
    for arm in there if "clock chart" in left else ():
        bench.run_of("qnli", arm, 0)
    for key in left:
        measured(bench.name, key, clocks[key])


def clock_of_depths(bench: Bench, kind: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """At the safe depth, and at that which costs about half."""
    points = [point for point in found["points"] if point["depth"] != "full"]
    half = min(points, key=lambda point: abs(point["macs_share"] - 0.5))["depth"]
    words = tuple(dict.fromkeys(("safe", half)))
    return promises(bench.run_of(kind, ADAPTIVE, 0), bench.timed(kind, CLOCKED[kind]), words)


def clock_of_all(bench: Bench, arms: Mapping[str, Arm]) -> dict[str, Any]:
    runs = {name: (bench.run_of("qnli", name, 0), arm.words) for name, arm in arms.items()}
    samples = {size: bench.timed("qnli", rows) for size, rows in CHARTED.items()}
    return {"rows": {str(size): len(rows) for size, rows in samples.items()}, **chart(runs, samples)}


def named(encoder: Path) -> str:
    """The folder and the weights of an encoder, which are the same wherever it lies."""
    model, _, _ = open_encoder(encoder, prefer="pooler")
    return f"{encoder.name} {digest(model.encoder.state_dict())[:8]}"


PARTS: dict[str, Callable[[Bench], None]] = {"qnli": qnli, "combined": combined, "others": others, "clock": clock}


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
    own_runs(asked.name, runs)
    settings = {"rows": asked.rows, "epochs": asked.epochs, "lr": LR, "tau": TAU, "encoder": named(encoder)}
    same_settings(asked.name, settings | {"narrow": NARROW_AT, "ticket": TICKET})
    bench = Bench(asked.name, encoder, runs, asked.rows, asked.seeds, asked.epochs, only)
    try:
        for part in asked.parts or PARTS:
            PARTS[part](bench)
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
