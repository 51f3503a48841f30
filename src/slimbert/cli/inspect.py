"""Commands that look: show, list, doctor, bench."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from . import output, tables

app = typer.Typer()
bench = typer.Typer(rich_markup_mode=None)
app.add_typer(bench, name="bench", help="Measure on this machine.")


@app.command()
def show(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A preset, pattern, recipe, run, model folder, or transformers folder."),
    ],
    length: o.Length = 128,
    batch: o.Batch = 1,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="K", help="Rows kept where the model narrows, and answered for."),
    ] = None,
    settings: o.Settings = None,
    heads: Annotated[
        Path | None, typer.Option("--heads", metavar="DATA", help="Instead: how far each head looks, on this text.")
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", metavar="RUN", help="With --heads: further encoders to draw.")
    ] = None,
    json: o.Json = False,
) -> None:
    """Print a model part by part, with what each costs.

    Parameters, multiply-adds, and bytes of activations. With --heads, the mean distance of attention of each head
    of a trained encoder, drawn as heads.png in its folder.
    """
    from ..jobs.overview import show as job

    _check(context, heads, beside)
    if heads is not None:
        from ..jobs.distances import head_distances

        with output.results(json) as result:
            picture = Path(model) / "heads.png" if Path(model).is_dir() else None
            found = head_distances([model, *(beside or ())], heads, picture=picture)
            result(found, *tables.looked(found))
        return
    with output.results(json) as result:
        made = job(model, length=length, batch=batch, keep=keep, settings=settings or ())
        result(made, *tables.shown(made))


def _check(context: typer.Context, heads: Path | None, beside: list[Path] | None) -> None:
    """Raises BadParameter where options of a table and of heads are mixed."""
    if heads is None and beside:
        raise typer.BadParameter("--beside goes with --heads")
    sources = [context.get_parameter_source(name) for name in ("length", "batch", "keep", "settings")]
    if heads is not None and any(source is not None and source.name != "DEFAULT" for source in sources):
        raise typer.BadParameter("--length, --batch, --keep and --set do not go with --heads")


@app.command("list")
def list_(json: o.Json = False) -> None:
    """Print presets, kinds of parts, and recipes."""
    from ..jobs.overview import known

    with output.results(json) as result:
        made = known()
        result(made, *tables.known(made))


@app.command()
def doctor(threads: o.Threads = None, json: o.Json = False) -> None:
    """Print what this machine has and can do.

    Measures its matrix products, which takes about ten seconds.
    """
    from ..jobs.overview import doctor as job

    with output.results(json) as result:
        found = job()
        result(found, *tables.machine(found))


@bench.callback()
def _bench() -> None:
    """Measure on this machine."""


@bench.command("pretrain")
def bench_pretrain(
    seconds: Annotated[float, typer.Option("--seconds", min=1, metavar="S", help="Time to spend, about.")] = 540.0,
    batch: o.Batch = 64,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Measure pretraining beside stock transformers, in tokens/s.

    Also beside transformers tuned, and an encoder of the same shape written by hand.
    """
    from importlib.util import find_spec

    from ..errors import InputError

    if find_spec("transformers") is None:
        raise InputError("bench", "it needs an extra that is not installed", 'pip install "slimbert[bench]"')
    from ..bench.pretrain import pretrain_benchmark

    with output.results(json) as result:
        found = pretrain_benchmark(seconds=seconds, batch_size=batch, tell=output.remark)
        result(found, *tables.benchmark(found))
