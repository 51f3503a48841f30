"""Parts -> rows: every row is [CLS] and seq_len - 1 tokens of the stream of documents, whatever document they are of.

A part of the documents may go to validation: in every part a run of whole documents at a random place, so that no
document stands in both splits. Where the documents are too few or too long for that, the last rows of the stream.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from .parts import Part, part_path
from .tokenizer import Special

SPLITS = ("train", "validation")
SHARD_BYTES = 1 << 28  # of tokens
Tokens = npt.NDArray[np.unsignedinteger[Any]]
Starts = npt.NDArray[np.int64]
Cut = tuple[int, int]  # documents [first, last) of a part that go to validation
_TOLERANCE = 0.5  # whole documents must meet the asked share of validation to within this share of it


class RowWriter:
    """Writes one split: `train-00000.bin`, `train-00000.docs.bin`, ..."""

    def __init__(self, folder: Path, split: str, *, seq_len: int, special: Special, dtype: str):
        self.folder, self.split, self.seq_len, self.special = folder, split, seq_len, special
        self.dtype = np.dtype(dtype)
        self.rows_per_shard = max(1, SHARD_BYTES // (seq_len * self.dtype.itemsize))
        self.shards: list[dict[str, Any]] = []
        self.rows = self.tokens = self.documents = 0
        self._carry: Tokens = np.zeros(0, self.dtype)
        self._starts: list[Starts] = []  # of documents, in places of rows, not yet written
        self._files: tuple[_Hashed, _Hashed] | None = None

    def add(self, tokens: Tokens, starts: Starts) -> None:
        """tokens: [n], the next of the stream; starts: which of them begin a document."""
        width = self.seq_len - 1
        places = starts + self.tokens
        self._starts.append(places // width * self.seq_len + 1 + places % width)
        self.tokens += len(tokens)
        self.documents += len(starts)
        stream = np.concatenate([self._carry, tokens])
        whole = len(stream) // width
        self._carry = stream[whole * width :]
        self._emit(stream[: whole * width].reshape(whole, width))

    def close(self) -> dict[str, Any]:
        """Fill up the last row, sync, and tell what was written."""
        if len(self._carry):
            last = np.full((1, self.seq_len - 1), self.special.pad, self.dtype)
            last[0, : len(self._carry)] = self._carry
            self._emit(last)
        self._finish_shard()
        return {"rows": self.rows, "tokens": self.tokens, "documents": self.documents, "shards": self.shards}

    def abandon(self) -> None:
        """Close what is open, without a word; for use when writing has failed."""
        for file in self._files or ():
            with contextlib.suppress(OSError):
                file.file.close()

    def _emit(self, rows: Tokens) -> None:
        while len(rows):
            if self._files is None:
                names = (f"{self.split}-{len(self.shards):05d}{end}" for end in (".bin", ".docs.bin"))
                self._files = (_Hashed(self.folder / next(names)), _Hashed(self.folder / next(names)))
            room = self.rows_per_shard - self.rows % self.rows_per_shard
            block = np.empty((min(room, len(rows)), self.seq_len), self.dtype)
            block[:, 0] = self.special.cls
            block[:, 1:] = rows[:room]
            self._files[0].write(block.tobytes())
            self.rows += len(block)
            if len(block) == room:
                self._finish_shard()
            rows = rows[room:]

    def _finish_shard(self) -> None:
        if self._files is None:
            return
        first = len(self.shards) * self.rows_per_shard
        starts = np.concatenate([np.zeros(0, np.int64), *self._starts])
        here = starts < self.rows * self.seq_len
        self._starts = [starts[~here]]
        self._files[1].write((starts[here] - first * self.seq_len).astype("<i8").tobytes())
        self.shards.append({"rows": self.rows - first, "files": [file.close() for file in self._files]})
        self._files = None


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path):
        self.path, self.bytes, self.hash = path, 0, hashlib.sha256()
        self.file: IO[bytes] = open(path, "wb")  # noqa: SIM115

    def write(self, content: bytes) -> None:
        self.file.write(content)
        self.hash.update(content)
        self.bytes += len(content)

    def close(self) -> dict[str, Any]:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return {"name": self.path.name, "bytes": self.bytes, "sha256": self.hash.hexdigest()}


def pack(
    folder: Path,
    parts_folder: Path,
    parts: Sequence[Part],
    *,
    seq_len: int,
    special: Special,
    dtype: str,
    validation: float,
    seed: int,
) -> tuple[dict[str, Any], list[str]]:
    """Write all rows; returns what each split holds, and notes for the person who asked."""
    total = sum(part.tokens for part in parts)
    cuts = [(0, 0)] * len(parts)
    tail, notes = 0, []
    if validation:
        cuts, taken = choose(parts_folder, parts, validation, seed)
        if taken == total or abs(taken / total - validation) > _TOLERANCE * validation:
            cuts, rows = [(0, 0)] * len(parts), -(-total // (seq_len - 1))
            tail = min(rows - 1, max(1, round(validation * rows)))  # rows of validation; training keeps at least one
            notes.append(_tail_note(tail))
    writers = {name: RowWriter(folder, name, seq_len=seq_len, special=special, dtype=dtype) for name in SPLITS}
    limit = ((-(-total // (seq_len - 1))) - tail) * (seq_len - 1) if tail else total  # tokens before the tail
    passed = 0
    with contextlib.ExitStack() as stack:
        for writer in writers.values():
            stack.callback(writer.abandon)
        for part, cut in zip(parts, cuts):
            tokens, lengths = read_part(parts_folder, part.number)
            for name, some, starts in _pieces(tokens, lengths, cut, limit - passed):
                writers[name].add(some, starts)
            passed += len(tokens)
        splits = {name: writer.close() for name, writer in writers.items()}
    return {name: split for name, split in splits.items() if split["rows"]}, notes


def _tail_note(rows: int) -> str:
    if not rows:
        return "no validation rows: there is only one row, and training needs it"
    return f"validation is the last {rows} rows: the documents are too few or too long to set whole ones aside"


def read_part(folder: Path, number: int) -> tuple[Tokens, npt.NDArray[np.int64]]:
    """(tokens [N], lengths [n] of its documents)."""
    with safe_open(part_path(folder, number), framework="numpy") as file:
        return file.get_tensor("tokens"), file.get_tensor("lengths")


def choose(folder: Path, parts: Sequence[Part], share: float, seed: int) -> tuple[list[Cut], int]:
    """The documents of each part that go to validation, and how many tokens they have."""
    random = np.random.default_rng(seed)
    cuts: list[Cut] = []
    passed, taken = 0, 0
    for part in parts:
        with safe_open(part_path(folder, part.number), framework="numpy") as file:
            ends = np.cumsum(file.get_tensor("lengths"))
        passed += part.tokens
        due = share * passed - taken
        latest = int(np.searchsorted(ends, max(0.0, part.tokens - due), side="right"))  # so that `due` is behind it
        first = int(random.integers(min(latest, part.documents - 1) + 1))
        before = ends[first - 1] if first else 0
        sums = np.concatenate([[0], ends[first:] - before])
        last = first + int(np.abs(sums - due).argmin())
        cuts.append((first, last))
        taken += int(sums[last - first])
    return cuts, taken


def _pieces(
    tokens: Tokens, lengths: npt.NDArray[np.int64], cut: Cut, limit: int
) -> Iterator[tuple[str, Tokens, Starts]]:
    """A part in the order of its stream: what goes to which split; tokens from `limit` on go to validation."""
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    limit = max(0, min(limit, len(tokens)))
    borders = [0, int(ends[cut[0]]), int(ends[cut[1]]), limit, len(tokens)]
    if cut[0] == cut[1]:
        borders[1] = borders[2] = 0
    for name, low, high in zip(("train", "validation", "train", "validation"), borders, borders[1:]):
        if low < high:
            starts = ends[:-1][(ends[:-1] >= low) & (ends[:-1] < high)]
            yield name, tokens[low:high], starts - low
