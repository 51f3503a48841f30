"""Commands that use a model, or make and convert its folder: predict, embed, init, convert, narrow."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from . import output, tables

app = typer.Typer()


@app.command()
def predict(
    run: o.Run,
    texts: o.Texts = None,
    file: o.File = None,
    text_column: o.TextColumns = None,
    depth: o.Depth = None,
    max_depth: o.MaxDepth = None,
    budget_macs: o.BudgetMacs = None,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.JsonLines = True,
) -> None:
    """Answer texts, one JSON object a line.

    In the order of the texts: a label and its probability, several labels, tags, a number, or an answer, as the run was
    trained. A model of pairs takes two texts as one pair.
    """
    from ..jobs.answers import predictions
    from ..jobs.depth import AskedDepth

    deep = AskedDepth(depth, max_depth, budget_macs)
    with output.json_lines() as write:
        for some in predictions(run, texts or (), file=file, text_columns=text_column, device=device, depth=deep):
            write(some)


@app.command()
def embed(
    run: o.Run,
    texts: o.Texts = None,
    file: o.File = None,
    text_column: o.TextColumns = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Give every vector the length 1.")] = False,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.JsonLines = True,
) -> None:
    """Turn texts into vectors, one JSON object a line.

    With text and vector: the mean of the last states of its tokens, unless the run was trained for another. One that
    was trained for vectors reads each text by itself, one of pairs two texts as one.
    """
    from ..jobs.answers import vectors

    with output.json_lines() as write:
        for some in vectors(run, texts or (), file=file, text_columns=text_column, normalise=normalise, device=device):
            write(some)


@app.command()
def init(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A preset, a pattern such as '12{sf}', or a YAML file of a model.")
    ],
    out: o.Out,
    settings: o.Settings = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="DIR", help="Copied; sets the vocabulary and the special ids.")
    ] = None,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Write a model folder with fresh weights.

    --set takes full paths (encoder.dim=128, head=null); for patterns also dim, head_dim, hidden, vocab, max_len, which
    are set before the pattern is expanded.
    """
    from ..jobs.models import init as job

    with output.results(json) as show:
        made = job(model, out=out, settings=settings or (), tokenizer=tokenizer, seed=seed or 0)
        show(made, tables.folder_made(made), output.following(("show", made.folder)))


@app.command()
def convert(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder or a name on the Hugging Face Hub.")],
    out: o.Out,
    to: Annotated[o.Target, typer.Option("--to", help="What to write.")] = o.Target.slimbert,
    layout: Annotated[
        o.Layout | None,
        typer.Option(
            "--layout", metavar="NAME", help="With --to transformers: bert, roberta, ...; by default one that fits."
        ),
    ] = None,
    encoder_only: Annotated[bool, typer.Option("--encoder-only", help="Leave the head out.")] = False,
    padding: Annotated[
        o.Padding, typer.Option("--padding", help="ConvBERT: read as nothing, or as in the published code.")
    ] = o.Padding.masked,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Read a model of transformers, or write one.

    The layouts are BERT, RoBERTa, DistilBERT, ELECTRA, ConvBERT, GroupBERT, NarrowBERT; the tokenizer comes along.
    """
    from ..jobs.models import convert as job

    with output.results(json) as show:
        made = job(
            model,
            out=out,
            to=to.value,
            layout=layout and layout.value,
            encoder_only=encoder_only,
            padding="published" if padding is o.Padding.published else "masked",
        )
        following = ("finetune", made.folder, "DATA.csv", "--out", "runs/b")
        show(made, *made.notes, tables.folder_made(made), *[output.following(following)] * (to is o.Target.slimbert))


@app.command()
def narrow(
    model: o.Model,
    out: o.Out,
    at: Annotated[
        int | None, typer.Option("--at", min=0, metavar="K", help="Layers that still compute every row.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Narrow as early as no answer changes: in the last layer.")
    ] = False,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Write a model that computes only the rows that matter.

    After K layers, all others compute the wanted rows only, and read the rest as it was then. --exact changes no
    answer; any earlier place is a warm start, to be trained on.
    """
    from ..jobs.models import narrow as job

    with output.results(json) as show:
        made = job(model, out=out, at=at, exact=exact)
        show(made, *made.notes, tables.folder_made(made), output.following(("show", made.folder, "--keep", 1)))
