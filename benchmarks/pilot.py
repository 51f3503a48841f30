"""Which rate, which tau, which narrowing: small runs on QNLI, judged on validation alone, before the long records.

    SLIMBERT_DATA=DIR python benchmarks/pilot.py [rates] [taus] [combined] --work DIR [--rows 5000] [--seeds 1]
    [--name pilot]

rates: dense, ticket and random ticket of benchmarks/tickets.py at 5e-5 and 1e-4. taus: DACT of benchmarks/depth.py with
three tau, at the rate that stands there. combined: the narrowed encoder with a ticket, narrowed behind layer 2 and
behind layer 3, each with a budget that leaves it about as many multiply-adds. No row of a test is looked at. What is
chosen is written into `LR`, `TAU`, `NARROW_AT` and `TICKET` of the scripts by hand, before their records begin.

Other work may run beside it. A run that gets SIGTERM (`timeout 20m python ...`) writes a checkpoint, and the next start
goes on there. About 105 minutes at 1,200 tokens/s: 60 for rates, 30 for taus, 15 for combined.
"""

import dataclasses
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import tickets
from arms import ALL_UPDATES, corpus, listed, measured, minilm, ours, own_runs, parser, smaller, stop, table
from depth import BATCH, LENGTH, WARMUP, named
from depth_arms import ADAPTIVE, ARMS, LR, TRIED_TAUS, counted, dact
from depth_points import scores_of
from records import describe, done, everything, said_of_code, same_machine, same_settings
from ticket_runs import earlybird

from slimbert.data.tasks import Task, load_task
from slimbert.errors import InputError, Interrupted
from slimbert.jobs.source import open_encoder
from slimbert.model import save_model
from slimbert.model.narrowing import Place, narrow

RATES, COMPARED = (5e-5, 1e-4), ("dense", "ticket", "random")
VALIDATION, EPOCHS = 4000, 2  # rows; of what stands in benchmarks/depth.py
PLACES = {2: "0.75", 3: "0.55"}  # behind which layer, and the share of the multiply-adds that its ticket keeps


class Bench(NamedTuple):
    """What all parts share."""

    name: str
    encoder: Path
    runs: Path
    rows: int
    seeds: int

    def task(self) -> Task:
        """Without a test."""
        most = {"train": self.rows, "validation": min(VALIDATION, self.rows), "test": 1}
        return dataclasses.replace(smaller(load_task(corpus("qnli"), kind="qnli"), **most), test=None)

    def once(
        self, key: str, settings: Sequence[str], *, first: Path | None = None, ticket: bool = False, also: Any = None
    ) -> None:
        """Every seed into the record: its score on validation, and what `also` says of its folder."""
        early = earlybird("earlybird") if ticket else None

        def run(out: Path, seed: int) -> Mapping[str, Any]:
            task = self.task()
            made = ours(first or self.encoder, task, seed=seed, settings=settings, out=out, ticket=early)
            found = {"validation": made[task.metric], "updates": made["updates"]}
            return found if also is None else found | also(out, task)

        for seed in range(self.seeds):
            out = self.runs / f"{key} {seed}"
            measured(self.name, out.name, partial(run, out, seed))
            shutil.rmtree(out, ignore_errors=True)


def rates(bench: Bench) -> None:
    """By the settings of benchmarks/tickets.py."""
    of_tickets = tickets.Bench(bench.name, bench.encoder, bench.runs, bench.rows, 1, 1.0, "cpu")
    for rate in RATES:
        for arm in COMPARED:
            settings = of_tickets.settings(arm, length=LENGTH, lr=rate)
            bench.once(f"rate {rate:g} {arm}", settings, ticket=tickets.ARMS[arm] is not None)


def plain() -> list[str]:
    """The settings of benchmarks/depth.py."""
    made = [f"epochs={EPOCHS}", f"lr={LR}", f"warmup={WARMUP}", f"batch_size={BATCH}", *ALL_UPDATES]
    return [*made, f"max_len={LENGTH}", "windows=cut"]


def taus(bench: Bench) -> None:
    words = ARMS[ADAPTIVE].words

    def depths(out: Path, task: Task) -> dict[str, Any]:
        return {"depths": scores_of(out, task.validation, words)}

    for tau in TRIED_TAUS:
        bench.once(f"tau {tau:g} rate {LR:g}", [*plain(), *dact(tau)], also=depths)


def combined(bench: Bench) -> None:
    for place, budget in PLACES.items():
        rule = (f"ticket.draw.budget={budget}", "ticket.draw.keep=1", f"ticket.draw.length={50}")
        few = tickets.TRIED if bench.rows < tickets.ENOUGH else ()
        first = bench.runs / f"encoder narrow {place}"
        if not (first / "config.json").exists():
            model, tokenizer, _ = open_encoder(bench.encoder, prefer="pooler")
            tokenizer.save(first)
            save_model(narrow(model, Place(place)), first)
        count = counted(bench.encoder, place, rule)
        fewer = count["dense"][-1] / count["narrow + ticket"][-1]
        settings = [*plain(), "hidden=tanh", *rule, *few]

        def known(out: Path, task: Task, fewer: float = fewer) -> dict[str, Any]:
            return {"times_fewer": fewer}

        bench.once(f"narrow {place} budget {budget} rate {LR:g}", settings, first=first, ticket=True, also=known)


PARTS: dict[str, Callable[[Bench], None]] = {"rates": rates, "taus": taus, "combined": combined}


def text(name: str) -> str:
    """All that is there, and which rate is best for all arms together."""
    found = {key: one for key, one in everything(name).items() if isinstance(one, dict) and "validation" in one}
    lines = said_of_code(found)
    each = {
        rate: [one["validation"] for key, one in found.items() if key.startswith(f"rate {rate:g} ")] for rate in RATES
    }
    counts = {len(some) for some in each.values()}
    if len(counts) == 1 and min(counts) >= len(COMPARED):
        means = {rate: statistics.mean(some) for rate, some in each.items()}
        said = ", ".join(f"{rate:g} {100 * score:.2f}" for rate, score in means.items())
        best = max(means, key=lambda rate: means[rate])
        lines.append(f"Mean over {', '.join(COMPARED)} on validation, %: {said}: {best:g} is the better rate.")
    rows = [[key, f"{100 * one['validation']:.2f}", more(one)] for key, one in found.items()]
    parts = [f"Settings: {done(name, 'settings')}", listed(lines), table(["", "validation, %", ""], rows)]
    depths = [
        [f"{key}, {point['depth']}", f"{100 * point['score']:.2f}", f"{share:.1%}"]
        for key, one in found.items()
        for point in one.get("depths", ())
        for share in (point["macs_per_text"] / one["depths"][0]["macs_per_text"],)
    ]
    parts.append(table(["", "validation, %", "multiply-adds of full depth"], depths) if depths else "")
    return "\n\n".join(part for part in parts if part)


def more(one: Mapping[str, Any]) -> str:
    return f"{one['times_fewer']:.2f} times fewer multiply-adds than dense" if "times_fewer" in one else ""


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="pilot", rows=5000, seeds=1)
    options.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them where none is named")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="the runs stand in DIR/NAME")
    asked = options.parse_args(argv)
    if unknown := set(asked.parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: no such part")
    same_machine(asked.name)
    encoder, runs = asked.encoder or minilm(), asked.work / asked.name
    own_runs(asked.name, runs)
    same_settings(asked.name, {"rows": asked.rows, "validation": VALIDATION, "encoder": named(encoder)})
    bench = Bench(asked.name, encoder, runs, asked.rows, asked.seeds)
    try:
        for part in asked.parts or PARTS:
            PARTS[part](bench)
    except Interrupted as error:
        print(f"{error}: start the same command again", file=sys.stderr)
    except InputError as error:
        stop(str(error))
    describe(asked.name, text(asked.name))
    print(text(asked.name))


if __name__ == "__main__":
    main()
