"""Adaptive depth: score against multiply-adds and milliseconds, beside truncated encoders, entropy and patience exits.

    SLIMBERT_DATA=DIR python benchmarks/depth.py [qnli] [others] [clock] [combined] --work DIR [--rows 20000]
    [--seeds 3] [--epochs 2] [--only WORD ...] [--name depth]

qnli: MiniLM-L6 on QNLI (rebuilt train), its official validation as the test, looked at once. Every arm has the same
rows, rate, batches, warm-up and epochs. DACT in one stage from the pretrained encoder, its depth varied by kappa, one
tau for all seeds (two others once); encoders cut to their first 2, 3, 4 layers; entropy exit in two stages, the first
of which is the dense arm; patience exit. MiniLM has seen SQuAD, so only differences between arms mean anything.

others: SST-2, IMDB, CoNLL-2003, dense and DACT, one seed. SQuAD has no adaptive form: the answer is a pair of places,
for which no rule here is safe. clock: time of the adaptive run in batches of 32 in float32 beside what its executed
multiply-adds promise, on the DACT runs of QNLI and IMDB. combined: narrow, with a ticket, with adaptive depth, on QNLI.

Runs stand in the work folder. Every arm is kept when it is done; a run that gets SIGTERM (`timeout 20m python ...`)
writes a checkpoint, and the next start goes on there. --only: arms whose key, such as `qnli DACT 0`, has a WORD in it.
Nothing else may run on the machine. `--rows 64 --seeds 1 --name trial` tries it all: no split then has more.

About 150 minutes at 1,200 tokens/s for a seed of qnli, 35 for each of the other two tau; 95 for others, 15 for clock;
25 for a seed of combined, and 30 for its two arms that run once.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arms import ALL_UPDATES, corpus, in_turn, measured, minilm, ours, parser, sample, smaller, stop
from depth_points import promises, run_points
from depth_text import text
from records import describe, done, keep, same_machine, same_settings
from tickets import earlybird

from slimbert.data.tasks import Task, load_task
from slimbert.errors import Interrupted
from slimbert.jobs.depth.curve import HALTING
from slimbert.jobs.source import open_encoder
from slimbert.model import extract, save_model
from slimbert.model.narrowing import Place, narrow
from slimbert.subnet import Subnet

PARTS = ("qnli", "others", "clock", "combined")
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
    narrowing; after: the arm that its run begins from; once: first seed only; validated: its depth is chosen."""

    settings: tuple[str, ...] = PLAIN
    words: tuple[str, ...] = ("full",)
    layers: int | None = None
    narrow: bool = False
    ticket: bool = False
    after: str | None = None
    once: bool = False
    validated: bool = False


def dact(tau: float) -> tuple[str, ...]:
    return ("halting.method=dact", f"halting.tau={tau}")


ARMS = {
    "dense": Arm(),
    **{f"truncated {count}": Arm(layers=count) for count in (2, 3, 4)},
    "DACT": Arm(dact(TAU), HALTING),
    "entropy": Arm(("halting.method=entropy",), ENTROPIES, after="dense"),
    "patience": Arm(("halting.method=patience",), PATIENCES),
    **{f"DACT, tau {tau}": Arm(dact(tau), HALTING, once=True) for tau in (0.001, 0.05)},
}
COMBINED = {
    "dense": Arm(),
    "narrow": Arm(narrow=True, once=True),
    "narrow + ticket": Arm(narrow=True, ticket=True, once=True),
    "narrow + ticket + DACT": Arm(dact(TAU), HALTING, narrow=True, ticket=True, validated=True),
}


class Bench(NamedTuple):
    """What all parts share."""

    name: str
    encoder: Path
    work: Path
    rows: int
    seeds: int
    epochs: int
    only: tuple[str, ...]

    def arms(self, kind: str, task: Task, arms: dict[str, Arm], *, length: int = LENGTH, seeds: int = 1) -> None:
        """Every arm with every seed, one after the other; what an arm begins from comes before it."""
        for seed in range(seeds):
            for name in in_turn([name for name in arms if arms[name].after is None], seed):
                self.once(kind, name, arms[name], task, length=length, seed=seed)
            for name in [name for name in arms if arms[name].after is not None]:
                self.once(kind, name, arms[name], task, length=length, seed=seed)

    def once(self, kind: str, name: str, arm: Arm, task: Task, *, length: int, seed: int) -> None:
        """One arm: how long it trained, and all its depths on the test."""
        key = f"{kind} {name} {seed}"
        if (arm.once and seed) or not any(word in key for word in self.only):
            return
        settings = [f"epochs={self.epochs}", f"lr={LR}", f"warmup={WARMUP}", f"batch_size={BATCH}", *ALL_UPDATES]
        settings += [f"max_len={length}", "windows=cut", *arm.settings]
        settings += TRIED if arm.ticket and self.rows < ENOUGH else ()

        def run() -> dict[str, Any]:
            assert task.test is not None
            out = self.work / key
            begin = self.first(arm) if arm.after is None else self.run_of(f"{kind} {arm.after} {seed}")
            early = earlybird("earlybird") if arm.ticket else None
            made = ours(begin, task, seed=seed, settings=settings, out=out, ticket=early)
            found = {field: made[field] for field in ("updates", "update_seconds")}
            found |= run_points(out, task.test, arm.words)
            if arm.validated:
                points = run_points(out, task.validation, arm.words)["points"]
                found["validation"] = [{"depth": point["depth"], "score": point["score"]} for point in points]
            return found | {"metric": task.metric}

        measured(self.name, key, run)

    def first(self, arm: Arm) -> Path:
        """The encoder that an arm begins from, made once."""
        if arm.layers is None and not arm.narrow:
            return self.encoder
        folder = self.work / (f"encoder narrow {NARROW_AT}" if arm.narrow else f"encoder {arm.layers}")
        if not (folder / "config.json").exists():
            model, tokenizer, _ = open_encoder(self.encoder, prefer="pooler")
            kept = Subnet.of({}, layers=range(arm.layers or 0))
            made = narrow(model, Place(NARROW_AT)) if arm.narrow else extract(model, kept)
            tokenizer.save(folder)
            save_model(made, folder)
        return folder

    def run_of(self, key: str) -> Path:
        """The folder of a run that is done."""
        folder = self.work / key
        if not (folder / "model.safetensors").exists():
            stop(f"{folder}: no finished run, make `{key}` first")
        return folder

    def task(self, kind: str) -> Task:
        train, test, _ = OTHERS.get(kind, (self.rows, TESTED, LENGTH))
        sizes = {"train": train, "validation": VALIDATION, "test": test}
        most = {split: min(size, self.rows) for split, size in sizes.items()}
        return smaller(load_task(corpus(kind), kind=kind), **most)


def qnli(bench: Bench) -> None:
    bench.arms("qnli", bench.task("qnli"), ARMS, seeds=bench.seeds)


def others(bench: Bench) -> None:
    for kind, (_, _, length) in OTHERS.items():
        plain = Arm(() if kind == "conll2003" else PLAIN)
        bench.arms(kind, bench.task(kind), {"dense": plain, "DACT": ARMS["DACT"]}, length=length)


def clock(bench: Bench) -> None:
    for kind, count in CLOCKED.items():
        key = f"{kind} DACT 0"
        if any(word in f"clock {kind}" for word in bench.only) and done(bench.name, key) is not None:
            test = bench.task(kind).test
            assert test is not None
            points = [point for point in done(bench.name, key)["points"] if point["depth"] != "full"]
            half = min(points, key=lambda point: abs(point["macs_share"] - 0.5))["depth"]
            run, rows = bench.run_of(key), sample(test, count)
            words = tuple(dict.fromkeys(("safe", half)))
            measured(bench.name, f"clock {kind}", lambda run=run, rows=rows, words=words: promises(run, rows, words))


def combined(bench: Bench) -> None:
    bench.arms("qnli", bench.task("qnli"), COMBINED, seeds=bench.seeds)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="depth", rows=20000, seeds=3)
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them where none is named")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="where the runs stand")
    options.add_argument("--epochs", type=int, default=2, metavar="N", help="of every arm (2)")
    options.add_argument("--only", nargs="*", default=[""], metavar="WORD", help="arms whose key has one of these")
    chosen = options.parse_args(argv)
    if unknown := set(chosen.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: no such part")
    same_machine(chosen.name)
    same_settings(chosen.name, {"rows": chosen.rows, "epochs": chosen.epochs, "lr": LR, "tau": TAU})
    encoder, only = chosen.encoder or minilm(), tuple(chosen.only)
    bench = Bench(chosen.name, encoder, chosen.work, chosen.rows, chosen.seeds, chosen.epochs, only)
    parts: dict[str, Callable[[Bench], None]] = {"qnli": qnli, "others": others, "clock": clock, "combined": combined}
    try:
        for part in chosen.parts or PARTS:
            parts[part](bench)
    except Interrupted as error:
        print(f"{error}: start the same command again", file=sys.stderr)
    said = text(chosen.name, chosen.seeds, arms=tuple(ARMS), others=tuple(OTHERS), combined=tuple(COMBINED))
    keep(chosen.name, "summary", said.sentences)
    describe(chosen.name, said.markdown)
    print(said.markdown)


if __name__ == "__main__":
    main()
