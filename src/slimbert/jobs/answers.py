"""Texts in, answers out, in order and in small portions, so that input of any length streams through.

Texts come from a list, from a file, or from standard input (one a line). From a pipe an answer follows as soon as its
line has arrived.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..data.files import form, lines
from ..data.readers import text_column_of
from ..data.tasks import DataFile, load_texts
from ..errors import InputError
from .depth import AskedDepth
from .predict import Predictor, load

Text = str | tuple[str, str]
PORTION = 256  # texts that are answered together, sorted by length


class Vector(NamedTuple):
    """One text's vector, [dim] numbers."""

    text: Text
    vector: list[float]


def predictions(
    run: str | Path,
    texts: Sequence[str] = (),
    *,
    file: str | Path | None = None,
    text_columns: Sequence[str] | None = None,
    device: str | None = None,
    depth: AskedDepth | str | None = None,
) -> Iterator[list[Any]]:
    """The answers to texts, of a file, or (given neither) of standard input, portion by portion.

    depth: as in `load`; the answers of a run that can stop early say how deep they went.
    """
    source = _checked(texts, file)
    predictor = load(run, device=device, depth=depth)
    _ = predictor.kind  # a model that was not fine-tuned says so before any text is read
    for portion in _portions(predictor, texts, source, text_columns, kind=predictor.task.kind):
        yield predictor.predict(portion) if predictor.depth is None else predictor.predict_to_depth(portion)


def vectors(
    run: str | Path,
    texts: Sequence[str] = (),
    *,
    file: str | Path | None = None,
    text_columns: Sequence[str] | None = None,
    normalise: bool = False,
    device: str | None = None,
) -> Iterator[list[Vector]]:
    """The vectors of texts, of a file, or (given neither) of standard input, portion by portion.

    A model that was trained for vectors reads each text by itself, a model of pairs both as one.
    """
    source = _checked(texts, file)
    predictor = load(run, device=device)
    alone = predictor.task.kind == "embedding"
    if alone and text_columns and len(text_columns) > 1:
        raise InputError("--text-column", f"{len(text_columns)} given, a vector is of one text", "give one")
    for portion in _portions(predictor, texts, source, text_columns, alone=alone):
        found = predictor.embed(portion, normalise=normalise)
        yield [Vector(text, row) for text, row in zip(portion, found.tolist(), strict=True)]


def arriving(stream: BinaryIO, place: str = "standard input") -> Iterator[list[str]]:
    """The lines that have arrived on `stream`, whenever some have, at most PORTION at once.

    Raises InputError with the number of a line that is not UTF-8.
    """
    rest, number = b"", 0
    read = getattr(stream, "read1", stream.read)
    while block := read(1 << 16):
        if not number and not rest:
            block = block.removeprefix(b"\xef\xbb\xbf")
        *whole, rest = (rest + block).split(b"\n")
        for portion in _portioned(whole):
            yield [_decoded(line, f"{place}:{number + i}") for i, line in enumerate(portion, 1)]
            number += len(portion)
    if rest:
        yield [_decoded(rest, f"{place}:{number + 1}")]


def _checked(texts: Sequence[str], file: str | Path | None) -> Path | None:
    """The file, if there is one. Raises InputError where the texts come from two places, or from a terminal."""
    if texts and file is not None:
        raise InputError("--file", "texts are given as well", "give either texts or --file")
    if not texts and file is None and sys.stdin.isatty():
        raise InputError("texts", "there are none", "give texts, --file, or a pipe with one text a line")
    if file is not None and not Path(file).is_file():
        raise InputError(file, "no such file", "check the path")
    return None if file is None else Path(file)


def _portions(
    predictor: Predictor,
    texts: Sequence[str],
    file: Path | None,
    columns: Sequence[str] | None,
    *,
    kind: str = "classification",
    alone: bool = False,
) -> Iterator[list[Any]]:
    """kind: of the task that reads the texts; some read what is no text, see `load_texts`. alone: a text, also where
    the run was trained on pairs."""
    reads = 1 if alone else len(predictor.task.text_columns)
    if texts and reads == 2:
        if len(texts) != 2:
            raise InputError(
                "texts", f"{len(texts)} given, this model reads pairs", "give two texts, or --file with columns"
            )
        return iter([[(texts[0], texts[1])]])
    if texts:
        return _portioned(texts)
    if file is not None and form(file) == ".txt" and reads == 1:
        return _portioned(text for _, text in lines(str(file)))
    if file is not None:
        return _portioned(load_texts(file, text_columns=columns or _columns(predictor, file, alone), kind=kind))
    if reads == 2:
        raise InputError("standard input", "this model reads pairs, a line is one text", "give --file with two columns")
    return arriving(sys.stdin.buffer)


def _columns(predictor: Predictor, file: Path, alone: bool) -> Sequence[str]:
    """Those of the run's task, or the usual name of a text column."""
    if predictor.described and not alone:
        return predictor.task.text_columns
    return [text_column_of(DataFile(file).columns.column_names, None, str(file))]


def _portioned(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while portion := list(itertools.islice(iterator, PORTION)):
        yield portion


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise InputError(place, f"byte {error.start + 1} of the line is not UTF-8", "send UTF-8 text") from None
