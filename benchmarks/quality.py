"""Quality for time: encoders of one shape pretrained for the same minutes, their loss against time, then fine-tuned.

    SLIMBERT_DATA=DIR python benchmarks/quality.py [data] [speeds] [pilot] [screening] [long] [replaced] [finetune]
    [seeds] [widths] [questions] --work DIR [--shape quality] [--arms NAME ...] [--minutes 20] [--seeds 1] [--data DIR]
    [--articles N] [--device cpu] [--name quality]

wiki_en, a WordPiece of 8,192, rows of 128; 6 layers of width 192, 6 heads of 32, hidden 768, pre-norm; every arm by one
recipe (masked LM at 15%, one learning rate for all, no dropout), validated every 100 updates on the same masks. The
controls are BERTs with fewer layers, nearest to narrow 1 and 2 by the multiply-adds of a pass; the record says what
each pair does in a second. A run counts once its loss is 0.7 nat below the unigram entropy of the corpus: before, all
encoders are alike.

Minutes are those of a quiet machine of constant speed: `speeds` measures the seconds of an update of every arm, all in
turn, once, with nothing else running. A run of so many minutes makes the updates that they hold, and no clock is read;
validation and checkpoints are in no minute. So everything but `speeds` needs no quiet, may share the machine, and can
be stopped at any time: started again, it goes on run by run and within a run. One command at a time for a record.

data: rows and their tokenizer. speeds: see above. pilot: BERT for the minutes of the screening; where it does not
count, everything stops and says which minutes to give. screening: all arms, one seed (more with --seeds). long: the
combination that came out best and BERT, three times as long. replaced: ConvBERT that detects replaced tokens, for a
quarter of the long time and for that of the screening. finetune: what counts, on five tasks. seeds: two more seeds of
BERT, the better control and the best combination. widths: GroupBERT beside BERT at widths 128, 192 and 256, each at the
best of three rates, tried for a third of the time (and of the next rate, where the best is the highest or the lowest);
BERT for --width-minutes, GroupBERT for as many multiply-adds. questions: BERT and the narrow arms on SQuAD.

All stages but `questions` where none is named, in this order. Minutes stay those of the record until others are given;
runs of others stay in it. --data names prepared rows (`slimbert prepare`, or WORK/wiki_en-N/data of another start with
--articles N), so that the same runs on a machine without the corpora; then --device cuda. --shape small: 12 layers of
width 256, for a GPU. The runs of a record stand in WORK/NAME.

On two cores, 10 quiet minutes of speeds. Without quiet, about 970: 5 of data, 200 of screening (20 of them the pilot),
120 long, 35 replaced, 150 of fine-tuning, 120 of seeds, 340 of widths; questions 35.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import quality_record as record
import quality_report as report
from arms import stop
from quality_arms import BERT, SHAPES, WIDTHS, arms, controls, detecting, known, prepared, sized, unigram_entropy
from quality_speeds import measured, unsteady
from quality_study import Study
from quality_tasks import FIVE, QUESTIONS
from quality_widths import widths
from records import done, keep, same_machine, same_settings

from slimbert.data.shards import Shards
from slimbert.errors import Interrupted, SlimbertError

SEEDS = 3  # of the arms that matter, the first of them from the screening
MINUTES = {"screening": 20.0, "long": 60.0, "widths": {"128": 15.0, "192": 25.0, "256": 45.0}}  # where none are given


def speeds(study: Study) -> None:
    """Once, and on one kind of machine; the runs may be made on another."""
    same_machine(study.name)
    if done(study.name, "speeds") is None:
        found = measured(sized(study.shape, tuple(study.widths)), study.data, device=study.device)
        keep(study.name, "speeds", found)
        report.write(study.name)
        print(report.speed_table(study.name), flush=True)
        if unsteady(found):
            print("Take `speeds` out of result.json and measure again, before anything is trained.", flush=True)


def pilot(study: Study) -> None:
    """Whether the minutes of the screening are enough."""
    run, bar = study.of(BERT, study.minutes), record.bar(study.name)
    if not record.counts(run, bar):
        longer = f"--minutes {2 * study.minutes:g} --long-minutes {2 * study.long:g}"
        stop(
            f"{run.key}: its loss is {run.loss:.3f}, a run counts below {bar:.3f}: before that all encoders are alike; "
            f"give {longer} (the speeds stay), or rows of a smaller vocabulary"
        )


def screening(study: Study) -> None:
    pilot(study)
    for seed in range(study.seeds):
        for label in (one for one in arms(study.shape) if one in study.arms):
            study.of(label, study.minutes, seed)


def long(study: Study) -> None:
    for label in (study.winner(), BERT):
        study.of(label, study.long)


def replaced(study: Study) -> None:
    """A quarter of BERT's time, which runs here if it did not yet; and as long as the screening."""
    study.of(BERT, study.long)
    for label in detecting(study.shape):
        for given in (study.long / 4, study.minutes):
            study.of(label, given)


def finetune(study: Study) -> None:
    """What was pretrained with the first seed and counts, or detects."""
    given, below = {study.minutes, study.long, study.long / 4}, record.bar(study.name)
    for run in record.runs(study.name).values():
        if run.seed == 0 and run.given in given and run.label in study.arms:
            if run.detects or record.counts(run, below):
                study.score(run, study.tasks)
            else:
                print(f"{run.key}: not fine-tuned, its loss is too high to count", flush=True)


def seeds(study: Study) -> None:
    for seed in range(1, max(SEEDS, study.seeds)):
        for label in (BERT, study.control(), study.winner()):
            study.of(label, study.minutes, seed)


def questions(study: Study) -> None:
    """BERT and the narrow arms on answers in a context, where nearly all rows are asked for."""
    for label in (BERT, *controls(study.shape)):
        run = record.runs(study.name).get(record.run_key(study.minutes, label, 0))
        if run is None or not record.counts(run, record.bar(study.name)):
            stop(f"{label} is not screened, or does not count: begin with `screening`")
        study.score(run, (QUESTIONS,))


STAGES: dict[str, Callable[[Study], None]] = {
    stage.__name__: stage for stage in (speeds, pilot, screening, long, replaced, finetune, seeds, widths, questions)
}
DATA, NAMED = "data", ("questions",)  # what every start begins with; what runs only where it is named


def main(argv: Sequence[str] | None = None) -> None:
    chosen = _options().parse_args(argv)
    if unknown := set(chosen.stages) - {DATA, *STAGES}:
        stop(f"{', '.join(sorted(unknown))}: no such stage; there is {', '.join((DATA, *STAGES))}")
    names = known(SHAPES[chosen.shape])
    if unknown := set(chosen.arms or ()) - set(names):
        stop(f"{', '.join(sorted(unknown))}: no such arm; there is {'; '.join(names)}")
    try:
        data = chosen.data or prepared(chosen.work, chosen.articles)
        if chosen.stages != [DATA]:  # alone, it begins no record: the machine is written down when that begins
            study = _study(chosen, data)
            for stage in chosen.stages or (one for one in STAGES if one not in NAMED):
                if stage != DATA:
                    STAGES[stage](study)
            report.write(study.name)
    except SlimbertError as error:
        again = ": start the same command again" if isinstance(error, Interrupted) else ""
        print(f"{error}{again}", file=sys.stderr)
        sys.exit(error.exit_code)


def _study(chosen: argparse.Namespace, data: Path) -> Study:
    """Begins the record or goes on with it."""
    about = {"data": Shards.open(data).sha256, "articles": None if chosen.data else chosen.articles}
    same_settings(chosen.name, about | {"shape": chosen.shape, "device": chosen.device})
    if done(chosen.name, "unigram_entropy") is None:
        keep(chosen.name, "unigram_entropy", unigram_entropy(data))
    minutes, shape = _minutes(chosen), SHAPES[chosen.shape]
    return Study(
        name=chosen.name,
        work=chosen.work,
        data=data,
        device=chosen.device,
        shape=shape,
        arms=tuple(chosen.arms or known(shape)),
        tasks=tuple(chosen.tasks),
        seeds=chosen.seeds,
        minutes=minutes["screening"],
        long=minutes["long"],
        widths={int(dim): given for dim, given in minutes["widths"].items()},
    )


def _minutes(chosen: argparse.Namespace) -> dict[str, Any]:
    """Those given now, else those of the record, else MINUTES; the record then has them."""
    widths = chosen.width_minutes and dict(zip(map(str, WIDTHS), chosen.width_minutes, strict=True))
    given = {"screening": chosen.minutes, "long": chosen.long_minutes, "widths": widths}
    before = done(chosen.name, "minutes")
    found = MINUTES | (before or {}) | {what: one for what, one in given.items() if one is not None}
    if found != before:
        keep(chosen.name, "minutes", found)
    return found


def _options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("stages", nargs="*", help=f"{', '.join((DATA, *STAGES))}; all but the last where none is named")
    made.add_argument("--work", type=Path, required=True, metavar="DIR", help="for prepared data and runs")
    made.add_argument("--data", type=Path, metavar="DIR", help="prepared rows, instead of those of wiki_en")
    made.add_argument("--articles", type=int, default=14618, metavar="N", help="of wiki_en (14,618: all)")
    made.add_argument("--shape", default="quality", choices=list(SHAPES), help="of the encoders (quality)")
    made.add_argument("--arms", nargs="*", metavar="NAME", help="of the screening and of fine-tuning (all)")
    made.add_argument("--tasks", nargs="*", default=FIVE, choices=FIVE, metavar="NAME", help="of fine-tuning (five)")
    made.add_argument("--minutes", type=float, metavar="M", help="of the screening (20)")
    made.add_argument("--long-minutes", type=float, metavar="M", help="of the long runs (60)")
    made.add_argument("--width-minutes", type=float, nargs=len(WIDTHS), metavar="M", help="of BERT there (15 25 45)")
    made.add_argument("--seeds", type=int, default=1, metavar="N", help="of the screening, from 0 on (1)")
    made.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    made.add_argument("--name", default="quality", help="folder below benchmarks/records (quality)")
    return made


if __name__ == "__main__":
    main()
