"""Commands from text to a trained model: tokenizer train, prepare, pretrain, finetune, evaluate, compare, demo."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from . import options as o
from . import output, tables

app = typer.Typer()
tokenizer = typer.Typer(help="Make a tokenizer.", rich_markup_mode=None)
app.add_typer(tokenizer, name="tokenizer")


@tokenizer.callback()
def _tokenizer() -> None:
    """Make a tokenizer."""


@tokenizer.command("train")
def tokenizer_train(
    corpus: o.Corpus,
    out: o.Out,
    vocab_size: Annotated[int, typer.Option("--vocab-size", min=1, metavar="V", help="Pieces at most.")] = 30522,
    cased: Annotated[bool, typer.Option("--cased", help="Keep capital letters and accents.")] = False,
    min_frequency: Annotated[int, typer.Option(min=1, metavar="N", help="A piece occurs at least so often.")] = 2,
    text_column: o.TextColumn = None,
    skip_bad: o.SkipBad = False,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Train a WordPiece tokenizer; equal text gives an equal one."""
    from ..jobs.corpus import train_tokenizer

    with output.results(json) as show:
        made = train_tokenizer(
            corpus,
            out=out,
            vocab_size=vocab_size,
            lowercase=not cased,
            min_frequency=min_frequency,
            text_column=text_column,
            skip_bad=skip_bad,
        )
        table = {
            "tokenizer": made.tokenizer,
            "pieces": output.count(made.vocab_size),
            "from": f"{made.documents:,} documents",
        }
        command = ("prepare", *corpus, "--tokenizer", out, "--seq-len", 128, "--out", "DATA")
        show(made, output.pairs("", table), output.following(command))


@app.command()
def prepare(
    corpus: o.Corpus,
    tokenizer: Annotated[Path, typer.Option("--tokenizer", metavar="DIR", help="Folder of the tokenizer.")],
    out: o.Out,
    seq_len: Annotated[int, typer.Option("--seq-len", min=8, metavar="S", help="Tokens in a row.")] = 128,
    validation: Annotated[float, typer.Option(min=0, max=0.5, metavar="SHARE", help="Share of rows kept apart.")] = 0.0,
    dedup: Annotated[bool, typer.Option("--dedup", help="Drop documents that occurred before.")] = False,
    text_column: o.TextColumn = None,
    skip_bad: o.SkipBad = False,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Turn text into the token shards that `pretrain` reads.

    On all cores (or --threads of them); started again after an interruption, it goes on where it was.
    """
    from ..jobs.corpus import prepare as job

    with output.results(json) as show:
        made = job(
            corpus,
            tokenizer,
            out=out,
            seq_len=seq_len,
            validation=validation,
            dedup=dedup,
            text_column=text_column,
            skip_bad=skip_bad,
            workers=threads,
            seed=seed or 0,
        )
        command = ("pretrain", "RECIPE.yaml", "--data", out, "--out", "runs/a")
        show(made, tables.prepared(made), output.following(command))


@app.command()
def pretrain(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, e.g. recipes/bert_tiny_mlm.yaml.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that `prepare` wrote.")],
    out: o.Out,
    init_from: o.InitFrom = None,
    ticket: o.Ticket = None,
    settings: o.Settings = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="AMOUNT", help="Instead of the recipe's: 10m, 2h, 500steps, 50Mtokens."),
    ] = None,
    resume: o.Resume = False,
    device: o.Device = None,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Pretrain an encoder by a recipe.

    It says what is learnt from: hidden words, or replaced tokens. After any interruption, the same command with
    --resume goes on.
    """
    from ..jobs.pretrain import pretrain as job

    with output.results(json) as show:
        made = job(
            recipe,
            data=data,
            out=out,
            init_from=init_from,
            ticket=ticket,
            settings=settings or (),
            budget=budget,
            resume=resume,
            seed=seed,
            device=device,
        )
        show(made, tables.pretrained(made), output.following(("finetune", made.run, "DATA.csv", "--out", "runs/b")))


@app.command()
def finetune(
    encoder: o.Encoder,
    data: o.Labelled,
    out: o.Out,
    text_column: o.TextColumns = None,
    label_column: o.LabelColumn = None,
    task: o.TaskKind = None,
    ticket: o.Ticket = None,
    settings: o.Settings = None,
    baselines: o.Baselines = True,
    few_shot: o.FewShot = None,
    seeds: o.Seeds = None,
    resume: o.Resume = False,
    device: o.Device = None,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Fine-tune an encoder on labelled data.

    It finds the columns, splits the rows, trains, and scores the test rows beside what needs no encoder, and it says
    what it chose. --set changes epochs, min_updates, batch_size, lr, max_len, ...
    """
    from ..jobs.finetune import finetune
    from ..jobs.seeds import with_seeds

    job = partial(finetune, str(encoder), data, kind=task, few_shot=few_shot, resume=resume, device=device)
    job = partial(job, text_columns=text_column, label_column=label_column, settings=settings or (), ticket=ticket)
    with output.results(json) as show:
        if seeds is None:
            made = job(out=out, seed=seed, with_baselines=baselines)
            show(made, *tables.finetuned(made))
        else:
            several = with_seeds(job, out=out, seeds=seeds, first=seed or 0, with_baselines=baselines)
            show(several, *tables.seeded(several))


@app.command()
def evaluate(
    run: o.Run,
    data: o.Labelled,
    split: o.Split = "test",
    text_column: o.TextColumns = None,
    label_column: o.LabelColumn = None,
    depth: o.Depth = None,
    max_depth: o.MaxDepth = None,
    budget_macs: o.BudgetMacs = None,
    depth_curve: o.DepthCurve = False,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Score a run on labelled data.

    The scores of its task, with 95% intervals, and each label by itself where there are labels.
    """
    from ..jobs.depth import AskedDepth
    from ..jobs.evaluate import evaluate as job

    with output.results(json) as show:
        job = partial(job, run, data, split=split, text_columns=text_column, label_column=label_column, device=device)
        if depth_curve:
            if (depth, max_depth, budget_macs) != (None, None, None):
                remedy = "leave out --depth, --max-depth and --budget-macs"
                raise InputError("--depth-curve", "it tries depths of its own", remedy)
            from ..jobs.depth.curve import curve_of
            from .depth import curve

            points = curve_of(*job.args, **job.keywords)
            show(points, *curve(points))
            return
        made = job(depth=AskedDepth(depth, max_depth, budget_macs))
        show(made, *tables.evaluated(made))


@app.command()
def compare(
    first: o.Run,
    second: Annotated[Path, typer.Argument(metavar="RUN", help="Another run of the same task.")],
    data: o.Labelled,
    split: o.Split = "test",
    text_column: o.TextColumns = None,
    label_column: o.LabelColumn = None,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Compare two runs on the same rows.

    Both scores, and how sure the difference is (paired bootstrap).
    """
    from ..jobs.compare import compare as job

    with output.results(json) as show:
        made = job(
            first, second, data, split=split, text_columns=text_column, label_column=label_column, device=device
        )  # fmt: skip
        show(made, *tables.compared(made))


@app.command()
def demo(
    out: o.Out = Path("runs/demo"),
    device: o.Device = None,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """The main job on built-in text, in a few minutes.

    From the docstrings of the installed Python packages to a pretrained encoder and a classifier, compared with others.
    """
    from ..jobs.demo.run import demo as job

    with output.results(json) as show:
        made = job(out=out, seed=seed or 0, device=device)
        show(made, *tables.demonstrated(made))
