"""A corpus and an encoder -> the folder of an index (see `store` for what is in it), restartable.

Three passes: the texts are written with their places, their words are counted (BM25), their vectors are computed and
appended portion by portion. What is whole stands in the state of the build (`claim`); the manifest is written last.
Killed at any moment, the same call goes on, and on the same machine ends with the same bytes.
"""

import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ...atomic import sync
from ...data.files import HUB, expand, stamps
from ...data.parts import check_space, space_errors
from ...errors import InputError, Interrupted, RunError
from ...train.progress import Progress
from ...train.signals import stop_on_signal
from . import bm25, graph, store
from .claim import claimed, finished, read_state, save_state
from .corpus import Passage, Passages, documents
from .encoder import Encoder, encoder_of

BATCHES = 8  # that are encoded together, sorted by length; a batch of them then holds texts of similar length
EVERY = 2.0  # seconds between two times that vectors are forced to the disk: what a kill loses, and one portion


class Indexed(NamedTuple):
    """What `index` made. long: documents of more than `max_len` tokens, cut there, or split where `windows`."""

    folder: str
    documents: int
    passages: int
    dim: int
    max_len: int
    long: int
    windows: bool
    approximate: bool
    model_bytes: int
    bytes: int  # of everything, the model included
    seconds: float  # of this call


def index(
    model: str | Path,
    corpus: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    text_column: str | None = None,
    batch_size: int = 32,
    windows: bool = False,
    approximate: bool = False,
    device: str | None = None,
    quiet: bool = False,
) -> Indexed:
    """Write the index of all documents of `corpus` into the folder `out`.

    windows: split documents that are longer than the model reads into overlapping passages, instead of cutting them.
    approximate: also build a graph for approximate search; a finished index may get it later, too. Memory: that of the
    model, of one portion, and of BM25's word counts. InputError for what cannot be read, an empty corpus, a model that
    is no encoder, and a folder begun with other arguments; Interrupted after a signal.
    """
    began = time.perf_counter()
    bm25.require()
    if approximate:
        graph.require()
    sources = _outside(expand(corpus), Path(out))
    encoder = encoder_of(model, batch_size=batch_size, device=device)
    asked = {"model": encoder.sha256, "sources": stamps(sources), "text_column": text_column, "windows": windows}
    folder = Path(out)
    with claimed(folder), space_errors(folder):
        if not finished(folder, asked):
            _Building(folder, asked, encoder, quiet).run(sources)
        if approximate:
            _add_graph(folder)
        return _indexed(folder, time.perf_counter() - began)


class _Building:
    """One `index` that has something to do; `state` is what of it is done."""

    def __init__(self, folder: Path, asked: dict[str, Any], encoder: Encoder, quiet: bool) -> None:
        self.folder, self.asked, self.encoder, self.quiet = folder, asked, encoder, quiet
        self.portion = BATCHES * encoder.predictor.batch_size
        self.aside = folder / store.BUILDING
        self.aside.mkdir(exist_ok=True)
        self.state = read_state(folder) or {"asked": asked, "texts": None, "words": False, "vectors": 0}

    def run(self, sources: Sequence[str]) -> None:
        if self.state["texts"] is None:
            self._write_texts(sources)
        self.encoder.save(self.folder / store.MODEL)
        texts = store.Texts(self.folder)
        if not self.state["words"]:
            self._count_words(texts)
        self._encode(texts)
        counts = {"dim": self.encoder.dim, "count": len(texts), "normalise": True, **self.state["texts"]}
        about = {"sha256": self.encoder.sha256, "max_len": self.encoder.predictor.task.max_len}
        store.write_manifest(self.folder, {"model": about, **counts, "approximate": False, "asked": self.asked})
        shutil.rmtree(self.aside)

    def _write_texts(self, sources: Sequence[str]) -> None:
        """Texts and places, written aside and moved when they are whole."""
        predictor = self.encoder.predictor
        found = documents(sources, text_column=self.asked["text_column"])
        passages = Passages(found, predictor.tokenizer, max_len=predictor.task.max_len, windows=self.asked["windows"])
        with Progress(None, unit="passage", enabled=not self.quiet) as progress:

            def told() -> Iterator[Passage]:
                for number, passage in enumerate(passages, 1):
                    yield passage
                    progress.update(number, reading="texts")

            if not store.write_texts(told(), self.aside):
                remedy = "check the files and --text-column"
                raise InputError(", ".join(sources[:3]), "there is no text to index", remedy)
        for name in (store.TEXTS, store.OFFSETS):
            os.replace(self.aside / name, self.folder / name)
        sync(self.folder)
        self._save(texts={"documents": passages.documents, "long": passages.long, "tokens": passages.tokens})

    def _count_words(self, texts: store.Texts) -> None:
        shutil.rmtree(self.folder / store.WORDS, ignore_errors=True)
        (self.folder / store.WORDS).mkdir()
        with Progress(len(texts), unit="passage", enabled=not self.quiet) as progress:

            def told() -> Iterator[str]:
                for number, passage in enumerate(texts, 1):
                    yield passage.text
                    progress.update(number, counting="words")

            bm25.build_bm25(told(), self.folder / store.WORDS)
        self._save(words=True)

    def _encode(self, texts: store.Texts) -> None:
        """Append the vectors that are missing, portion by portion; those count that are on the disk."""
        header, width = _header(len(texts), self.encoder.dim), 4 * self.encoder.dim
        done = self._whole(len(header), width)
        check_space(self.folder, (len(texts) - done) * width)
        with (
            open(self.folder / store.VECTORS, "r+b" if done else "wb") as file,
            Progress(len(texts), unit="passage", start=done, enabled=not self.quiet) as progress,
            stop_on_signal() as stop,
        ):
            file.write(header)
            file.seek(len(header) + done * width)
            file.truncate()
            progress.update(done)
            saved = time.monotonic()
            while done < len(texts):
                last = min(done + self.portion, len(texts))
                file.write(self._vectors([texts[number].text for number in range(done, last)]))
                done = last
                progress.update(done)
                if stop or done == len(texts) or time.monotonic() - saved >= EVERY:
                    file.flush()
                    os.fsync(file.fileno())
                    self._save(vectors=done)
                    saved = time.monotonic()
                if stop and done < len(texts):
                    so_far = f"{done:,} of {len(texts):,} passages are encoded"
                    raise Interrupted(f"{stop.name}: {so_far}; the same command goes on")

    def _whole(self, header: int, width: int) -> int:
        """Rows of vectors.npy that need not be computed again, whole portions only where some are lost."""
        path, done = self.folder / store.VECTORS, int(self.state["vectors"])
        there = (path.stat().st_size - header) // width if path.is_file() else 0
        return done if there >= done else max(0, there) // self.portion * self.portion

    def _vectors(self, portion: list[str]) -> bytes:
        made = self.encoder.predictor.embed(portion, normalise=True)
        if not np.isfinite(made).all():
            raise RunError("the model gives vectors that are not finite; train it again")
        return made.astype("<f4", copy=False).tobytes()

    def _save(self, **changed: Any) -> None:
        self.state |= changed
        save_state(self.folder, self.state)


def _outside(paths: Sequence[str], out: Path) -> list[str]:
    """The files of a corpus that do not stand in `out`, as those of an index begun inside the corpus do."""
    here = out.resolve()
    return [path for path in paths if path.startswith(HUB) or here not in Path(path).resolve().parents]


def _header(count: int, dim: int) -> bytes:
    """What stands before the numbers in vectors.npy."""
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<f4", "fortran_order": False, "shape": (count, dim)})
    return made.getvalue()


def _add_graph(folder: Path) -> None:
    """The graph beside the vectors of a finished index, and a manifest that names it; nothing where there is one."""
    manifest = store.read_manifest(folder, verify=False)
    if manifest["approximate"]:
        return
    aside = folder / f".{store.GRAPH}.writing"
    graph.build_graph(store.mapped(folder / store.VECTORS), aside, threads=torch.get_num_threads())
    os.replace(aside, folder / store.GRAPH)
    store.write_manifest(folder, manifest | {"approximate": True})


def _indexed(folder: Path, seconds: float) -> Indexed:
    manifest = store.read_manifest(folder, verify=False)
    sizes = {name: file["bytes"] for name, file in manifest["files"].items()}
    return Indexed(
        folder=str(folder),
        documents=manifest["documents"],
        passages=manifest["count"],
        dim=manifest["dim"],
        max_len=manifest["model"]["max_len"],
        long=manifest["long"],
        windows=manifest["asked"]["windows"],
        approximate=manifest["approximate"],
        model_bytes=sum(size for name, size in sizes.items() if name.startswith(f"{store.MODEL}/")),
        bytes=sum(sizes.values()),
        seconds=seconds,
    )
