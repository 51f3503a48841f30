"""The folder of an index: numpy arrays, JSON and safetensors alone, each file named with its hash in the manifest.

manifest.json       what is here, with the size and SHA-256 of every file; written last
model/              the encoder and its tokenizer: the folder needs nothing outside itself
texts.jsonl         a passage a line: file, number, part, id, text
offsets.npy         int64 [N + 1]: where each line begins, and the end
vectors.npy         float32 [N, dim], each vector of length 1
bm25/               what bm25s saves
graph.hnsw          the graph of hnswlib, where it was asked for
.building/          only while the index is being built
"""

import json
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ...atomic import check_file, file_sha256, sync, write_json
from ...data.files import form
from ...data.shards import manifest_hash
from ...errors import InputError
from .corpus import Document, Passage

FORMAT, VERSION = "slimbert-index", 1
MANIFEST, MODEL, TEXTS, OFFSETS = "manifest.json", "model", "texts.jsonl", "offsets.npy"
VECTORS, WORDS, GRAPH, BUILDING = "vectors.npy", "bm25", "graph.hnsw", ".building"
_AGAIN = "build the index again"


class Stored(NamedTuple):
    """A passage as it stands in the index."""

    file: str
    number: int
    part: int
    id: str
    text: str

    @property
    def place(self) -> str:
        """file:row 3, or file:document 3 of a .txt file; with the passage where the document has several."""
        return f"{self.file}:{_unit(self.file)} {self.number}" + (f", passage {self.part}" if self.part else "")


@lru_cache
def _unit(file: str) -> str:
    return "document" if form(file) == ".txt" else "row"


def write_texts(passages: Iterable[Passage], folder: Path) -> int:
    """texts.jsonl and offsets.npy in `folder`; the number of passages.

    A document without an id gets its number in the whole corpus, from 1. In memory: 8 bytes a passage.
    """
    offsets, ordinal = array("q", [0]), 0
    before: Document | None = None
    with open(folder / TEXTS, "wb") as file:
        for document, part, text in passages:
            ordinal += document is not before
            before = document
            name = document.id if document.id is not None else str(ordinal)
            stored = Stored(document.file, document.number, part, name, text)
            line = json.dumps(stored._asdict(), ensure_ascii=False).encode() + b"\n"
            offsets.append(offsets[-1] + len(line))
            file.write(line)
    np.save(folder / OFFSETS, np.frombuffer(offsets, np.int64), allow_pickle=False)
    sync(folder / TEXTS)
    sync(folder / OFFSETS)
    return len(offsets) - 1


class Texts:
    """The passages of an index by their numbers; reads the lines that are asked for, not the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / TEXTS
        self.offsets = np.asarray(mapped(folder / OFFSETS))
        lines: Any = np.memmap(self.path, np.uint8, mode="r")
        self._lines = memoryview(lines)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> Stored:
        begin, end = self.offsets[number : number + 2].tolist()
        try:
            return Stored(**json.loads(bytes(self._lines[begin:end])))
        except (ValueError, TypeError) as error:
            raise InputError(self.path, f"passage {number} cannot be read ({error})"[:200], _AGAIN) from error

    def __iter__(self) -> Iterator[Stored]:
        return (self[number] for number in range(len(self)))


def mapped(path: Path) -> NDArray[Any]:
    """A numpy file mapped into memory; InputError where it is missing, cut short, or holds objects."""
    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)  # torch asks for arrays that it could write to
    except (OSError, ValueError, EOFError) as error:
        raise InputError(path, f"no sound numpy file ({error})"[:200], _AGAIN) from error


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """manifest.json with `content` and every file of the folder; all of them are on the disk before it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder): path for path in paths}
    shown = {name: path for name, path in names.items() if not any(part.startswith(".") for part in name.parts)}
    listed = {name.as_posix(): path for name, path in shown.items() if name.as_posix() != MANIFEST}
    for path in listed.values():
        sync(path)
    for path in {path.parent for path in listed.values()}:
        sync(path)
    files = {name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for name, path in listed.items()}
    manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION, "slimbert": __version__, **content}
    manifest = json.loads(json.dumps(manifest | {"files": files}))  # so that its hash is that of what is read back
    manifest["sha256"] = manifest_hash(manifest)
    write_json(folder / MANIFEST, manifest, indent=1)


def read_manifest(folder: Path, *, verify: bool) -> dict[str, Any]:
    """manifest.json, checked by its own hash, and the sizes of all files; `verify` also hashes them (about 1 GB/s).

    InputError for no index, an unfinished one, one of another version, and one that is damaged.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(folder, "no such index", "make one: slimbert index MODEL CORPUS --out DIR")
    if not path.is_file():
        begun = (folder / BUILDING).is_dir()
        problem = "`slimbert index` did not finish here" if begun else "no index here (manifest.json is missing)"
        remedy = "start it again, it goes on where it stopped" if begun else "name a folder that `slimbert index` made"
        raise InputError(folder, problem, remedy)
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        known = manifest["format"] == FORMAT and manifest["version"] == VERSION
        sound = not known or manifest["sha256"] == manifest_hash(manifest)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(path, f"damaged ({type(error).__name__}: {error})"[:200], _AGAIN) from error
    if not known:
        made = f"{manifest['format']} version {manifest['version']}"
        problem = f"{made}, made by slimbert {manifest.get('slimbert')}; this one reads {FORMAT} version {VERSION}"
        raise InputError(path, problem, f"{_AGAIN}, or use that slimbert")
    if not sound:
        raise InputError(path, "damaged: its content does not match its own hash", _AGAIN)
    _check(folder, manifest["files"], verify=verify)
    return manifest


def _check(folder: Path, files: dict[str, dict[str, Any]], *, verify: bool) -> None:
    for name, expected in files.items():
        check_file(folder / name, expected["bytes"], expected["sha256"] if verify else None, _AGAIN)
