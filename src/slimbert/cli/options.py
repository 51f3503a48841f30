"""The arguments and options that several commands share: each is named and explained once, here."""

import enum
import os
import sys
from pathlib import Path
from typing import Annotated

import typer


class Target(enum.StrEnum):
    """What `convert` writes."""

    slimbert = "slimbert"
    transformers = "transformers"


class Layout(enum.StrEnum):
    """The layouts that are read and written: transformers' own, GroupBERT's, and NarrowBERT's two."""

    bert = "bert"
    roberta = "roberta"
    distilbert = "distilbert"
    electra = "electra"
    convbert = "convbert"
    groupbert = "groupbert"
    narrow_bert = "narrow_bert"
    narrowbert = "narrowbert"


class Padding(enum.StrEnum):
    """What a converted convolution reads where there is padding."""

    masked = "masked"
    published = "published"


def use_threads(count: int | None) -> int | None:
    """Set the number of threads: in the environment for what is imported later, and in torch if it is there already."""
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(count)  # torch and numpy; tokenizers
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(count)
    return count


Corpus = Annotated[
    list[Path],
    typer.Argument(
        metavar="CORPUS",
        help="Files, folders or quoted patterns: .txt .jsonl .json .csv .tsv .parquet, also .gz or .zst; "
        "or hub:owner/name.",
        show_default=False,
    ),
]
_MODEL = "A run, a transformers folder, or a name on the Hugging Face Hub."
Encoder = Annotated[Path, typer.Argument(metavar="ENCODER", help=_MODEL)]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help=_MODEL)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run or any model folder.")]
Labelled = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Labelled .csv .tsv .jsonl .json .parquet, or a folder with train, validation, test files."
    ),
]
Split = Annotated[
    str, typer.Option("--split", metavar="NAME", help="Of a folder: train, validation, test, or the name of a file.")
]
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; without any and without --file: standard input, one a line."),
]

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")]
File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help=".txt with one text a line, or .csv .tsv .jsonl .json .parquet."),
]
TextColumn = Annotated[
    str | None, typer.Option("--text-column", metavar="NAME", help="Column of the text, when guessing fails.")
]
TextColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--text-column", metavar="NAME", help="Column of the text, when guessing fails; give it twice for pairs."
    ),
]
LabelColumn = Annotated[
    str | None, typer.Option("--label-column", metavar="NAME", help="Column of the label, when guessing fails.")
]
TaskKind = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="KIND",
        help="classification, pair, multilabel, regression, ner, qa, embedding, or a benchmark (sst2, cola, ...); "
        "else guessed.",
    ),
]
Baselines = Annotated[bool, typer.Option(help="Also score what needs no encoder.")]
InitFrom = Annotated[
    Path | None,
    typer.Option("--init-from", metavar="MODEL", help="Continue from this encoder instead of from nothing."),
]
Ticket = Annotated[
    Path | None,
    typer.Option("--ticket", metavar="RECIPE", help="First draw an early-bird ticket: recipes/earlybird.yaml."),
]
FewShot = Annotated[
    int | None, typer.Option("--few-shot", min=1, metavar="N", help="Train on N rows of each class only.")
]
Seeds = Annotated[
    int | None, typer.Option("--seeds", min=2, metavar="N", help="Train N times and say how sure the score is.")
]
Depth = Annotated[
    str | None,
    typer.Option("--depth", metavar="RULE", help="Of a run that can stop early: safe, full, kappa=0.5..."),
]
MaxDepth = Annotated[int | None, typer.Option("--max-depth", min=1, metavar="K", help="Units that may run at most.")]
BudgetMacs = Annotated[
    int | None, typer.Option("--budget-macs", min=1, metavar="N", help="Multiply-adds that a text may cost.")
]
DepthCurve = Annotated[bool, typer.Option("--depth-curve", help="Instead: score against cost at several depths.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; may be given many times."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest whole checkpoint in --out, or begin if there is none.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out records that cannot be read, and say which.")]
Length = Annotated[int, typer.Option("--length", min=1, metavar="S", help="Tokens in a row.")]
Batch = Annotated[int, typer.Option("--batch", min=1, metavar="B", help="Rows in a batch.")]

Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="cpu, cuda or cuda:N; by default the GPU where there is one."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Seed of everything drawn at random.")]
Threads = Annotated[  # acts while the command line is parsed, before torch is imported; commands need not pass it on
    int | None,
    typer.Option("--threads", min=1, metavar="N", callback=use_threads, is_eager=True, help="Threads on the CPU."),
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Said by habit: JSON Lines are printed anyway.", show_default=False)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document; all else goes to standard error.")
]
