"""Quality for time: encoders of one shape pretrained for the same minutes, their loss against time, then fine-tuned.

    SLIMBERT_DATA=DIR python benchmarks/quality.py [screening] [long] [replaced] [widths] [finetune] [seeds] --work DIR
    [--shape quality] [--arms NAME ...] [--minutes 20] [--seeds 1] [--data DIR] [--articles N] [--device cpu]
    [--name quality]

wiki_en, a WordPiece of 8,192, rows of 128; 6 layers of width 192, 6 heads of 32, hidden 768; every arm by one recipe
(masked LM at 15%, one learning rate for all, no dropout), validated every 100 updates on the same masks; the time of
that counts. The controls are BERTs with fewer layers: 3 beside narrow 1, 4 beside narrow 2, by the multiply-adds of a
pass, which stand in the record. A run counts once its loss is 0.7 nat below the unigram entropy of the corpus: before,
all encoders are alike.

screening: all arms, one seed (more with --seeds). long: the arm that came out best and BERT, three times as long.
replaced: ConvBERT that detects replaced tokens, for a quarter of the long time and for that of the screening. widths:
GroupBERT beside a pre-norm BERT at widths 128, 192 and 256, each at the best of three rates, BERT for --width-minutes
and GroupBERT for as many multiply-adds. finetune: what was pretrained, on five tasks. seeds: two more seeds of BERT,
the better control, and the best arm.

All stages where none is named, in this order. Every stage resumes, run by run and within a run; nothing else may run.
--data names prepared rows (`slimbert prepare`, or WORK/wiki_en-N/data of another start with --articles N), so that the
same runs on a machine without the corpora; then --device cuda. --shape small: 12 layers of width 256, for a GPU. The
runs of a record stand in WORK/NAME.

About 690 minutes on two cores: 200 of screening, 120 long, 35 replaced, 95 of widths, 120 of fine-tuning, 120 of seeds.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import quality_report as report
from arms import stop
from quality_arms import (
    BERT,
    FEWER,
    SHAPES,
    Arm,
    Shape,
    arms,
    detecting,
    families,
    prepared,
    pretrained,
    spent,
    unigram_entropy,
)
from quality_tasks import TASKS, finetuned
from records import done, keep, same_machine, same_settings

from slimbert.data.shards import Shards
from slimbert.train.environment import best_dtype, gemm_tflops

WIDTHS, RATES = (128, 192, 256), (5e-4, 1e-3, 2e-3)
SEEDS = 3  # of the arms that matter, the first of them from the screening


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the stages share; minutes of the runs of each kind."""

    name: str
    work: Path
    data: Path
    device: str
    shape: Shape
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: int
    minutes: float
    long: float
    width: float
    tune: float

    def run(self, key: str, arm: Arm, budget: str, *, dim: int | None = None, **options: Any) -> dict[str, Any]:
        """A pretraining run under its key; what the record has is not run again. dim: another width."""
        shape = replace(self.shape, dim=dim or self.shape.dim)
        out = self.work / self.name / key.replace(", ", "-").replace(" ", "-")
        begin = partial(pretrained, arm, shape, self.data, out, budget=budget, device=self.device, **options)
        return self.once(key, lambda: begin() | {"key": key})

    def once(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What stands in the record; where nothing does, it is measured now, a matrix product of this minute beside."""
        found: dict[str, Any] | None = done(self.name, key)
        if found is None:
            rate = {"gemm_tflops": gemm_tflops(best_dtype(self.device), device=self.device)}
            found = measure() | rate
            keep(self.name, key, found)
            report.write(self.name)
            brief = {field: found[field] for field in ("val_loss", "score", "tokens") if found.get(field) is not None}
            print(f"{key}: {brief}", flush=True)
        return found

    def of(self, label: str, minutes: float, seed: int = 0) -> dict[str, Any]:
        """An arm for so many minutes."""
        arm = (arms(self.shape) | detecting(self.shape))[label]
        return self.run(run_key(minutes, label, seed), arm, f"{minutes:g}m", seed=seed)

    def best(self, labels: Sequence[str]) -> str:
        """The arm of the lowest loss in the screening, of those that were screened."""
        found = {one: done(self.name, run_key(self.minutes, one, 0)) for one in labels}
        losses = {one: run["val_loss"] for one, run in found.items() if run is not None}
        return min(losses, key=losses.__getitem__) if losses else stop("nothing is screened: begin with screening")

    def winner(self) -> str:
        return self.best([one for one in arms(self.shape) if not one.startswith(BERT)])

    def control(self) -> str:
        return self.best([one for one in arms(self.shape) if one.startswith(FEWER)])


def run_key(minutes: float, label: str, seed: int) -> str:
    return f"{minutes:g} min, {label} {seed}"


def screening(study: Study) -> None:
    for seed in range(study.seeds):
        for label in (one for one in arms(study.shape) if one in study.arms):
            study.of(label, study.minutes, seed)


def seeds(study: Study) -> None:
    for seed in range(1, max(SEEDS, study.seeds)):
        for label in (BERT, study.control(), study.winner()):
            study.of(label, study.minutes, seed)


def long(study: Study) -> None:
    for label in (BERT, study.winner()):
        study.of(label, study.long)


def replaced(study: Study) -> None:
    """A quarter of BERT's time, which runs here if it did not yet; and as long as the screening."""
    study.of(BERT, study.long)
    for label in detecting(study.shape):
        for minutes in (study.long / 4, study.minutes):
            study.of(label, minutes)


def widths(study: Study) -> None:
    """Equal multiply-adds, each family at its own best rate."""
    for dim in WIDTHS:
        runs: dict[str, dict[str, Any]] = {}
        for family, arm in families(study.shape).items():
            tried = {}
            for lr in RATES:
                key = f"width {dim}, {family}, rate {lr:g}"
                tried[lr] = study.run(key, arm, f"{study.tune:g}m", lr=lr, dim=dim)["val_loss"]
            lr = min(tried, key=tried.__getitem__)
            budget = f"{study.width:g}m"
            if runs:  # as many multiply-adds as BERT took
                shards = Shards.open(study.data, verify=False)
                shape = replace(study.shape, dim=dim)
                macs = 1e6 * arm.multiply_adds(shape, vocab=shards.vocab_size, length=shards.seq_len)
                texts = 1e12 * spent(next(iter(runs.values()))) / (3 * macs)
                budget = f"{round(texts * shards.seq_len)}tokens"
            runs[family] = study.run(f"width {dim}, {family}", arm, budget, lr=lr, dim=dim)


def finetune(study: Study) -> None:
    """What was pretrained with the first seed, but for the trials of `widths`."""
    for run in report.runs(study.name).values():
        if run["key"].endswith(" 0") and report.label(run) in study.arms:
            for task in study.tasks:
                measure = partial(finetuned, study.work / study.name / run["folder"], task, device=study.device)
                study.once(f"{task}: {run['key']}", measure)


STAGES: dict[str, Callable[[Study], None]] = {
    stage.__name__: stage for stage in (screening, long, replaced, widths, finetune, seeds)
}


def main(argv: Sequence[str] | None = None) -> None:
    chosen = _options().parse_args(argv)
    if unknown := set(chosen.stages) - set(STAGES):
        stop(f"{', '.join(sorted(unknown))}: no such stage; there is {', '.join(STAGES)}")
    shape = SHAPES[chosen.shape]
    known = [*arms(shape), *detecting(shape)]
    if unknown := set(chosen.arms or ()) - set(known):
        stop(f"{', '.join(sorted(unknown))}: no such arm; there is {'; '.join(known)}")
    same_machine(chosen.name)
    data = chosen.data or prepared(chosen.work, chosen.articles)
    sha256 = Shards.open(data).sha256
    minutes = {"minutes": chosen.minutes, "long": chosen.long_minutes, "width_minutes": chosen.width_minutes}
    about = {"data": sha256, "articles": None if chosen.data else chosen.articles, "shape": chosen.shape}
    about |= {"device": chosen.device, "tune_minutes": chosen.tune_minutes}
    same_settings(chosen.name, about | minutes)
    if done(chosen.name, "unigram_entropy") is None:
        keep(chosen.name, "unigram_entropy", unigram_entropy(data))
    study = Study(
        name=chosen.name,
        work=chosen.work,
        data=data,
        device=chosen.device,
        shape=shape,
        arms=tuple(chosen.arms or known),
        tasks=tuple(chosen.tasks),
        seeds=chosen.seeds,
        minutes=chosen.minutes,
        long=chosen.long_minutes,
        width=chosen.width_minutes,
        tune=chosen.tune_minutes,
    )
    for stage in chosen.stages or STAGES:
        STAGES[stage](study)
    report.write(chosen.name)


def _options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("stages", nargs="*", help=f"{', '.join(STAGES)}; all of them where none is named")
    made.add_argument("--work", type=Path, required=True, metavar="DIR", help="for prepared data and runs")
    made.add_argument("--data", type=Path, metavar="DIR", help="prepared rows, instead of those of wiki_en")
    made.add_argument("--articles", type=int, default=14618, metavar="N", help="of wiki_en (14,618: all)")
    made.add_argument("--shape", default="quality", choices=list(SHAPES), help="of the encoders (quality)")
    made.add_argument("--arms", nargs="*", metavar="NAME", help="of the screening and of fine-tuning (all)")
    made.add_argument("--tasks", nargs="*", default=list(TASKS)[:-1], choices=list(TASKS), metavar="NAME")
    made.add_argument("--minutes", type=float, default=20.0, metavar="M", help="of the screening (20)")
    made.add_argument("--long-minutes", type=float, default=60.0, metavar="M", help="of the long runs (60)")
    made.add_argument("--width-minutes", type=float, default=10.0, metavar="M", help="of BERT at each width (10)")
    made.add_argument("--tune-minutes", type=float, default=2.0, metavar="M", help="of each rate that is tried (2)")
    made.add_argument("--seeds", type=int, default=1, metavar="N", help="of the screening, from 0 on (1)")
    made.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    made.add_argument("--name", default="quality", help="folder below benchmarks/records (quality)")
    return made


if __name__ == "__main__":
    main()
