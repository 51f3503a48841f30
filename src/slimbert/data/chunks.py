"""Documents -> chunks of some megabytes, the same each time; without duplicates if so asked, bad records noted down."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError
from .parts import Chunk
from .readers import documents

CHUNK_BYTES = 1 << 21  # of text; a longer document is a chunk alone
_NAMED = 20  # skipped records that are kept in memory; all of them stand in the file


@dataclass
class Chunks:
    """Iterate it once; the counts are those up to the chunk given last."""

    sources: Sequence[str]
    skip_log: Path  # appears with the first skipped record
    text_column: str | None
    dedup: bool
    skip_bad: bool
    files: int = 0  # begun
    duplicates: int = 0
    skipped: int = 0
    skipped_records: list[str] = field(default_factory=list)  # the first of them
    _log: IO[str] | None = None

    def __iter__(self) -> Iterator[Chunk]:
        held: list[bytes] = []
        size = number = 0
        try:
            for text in self._texts():
                held.append(text)
                size += len(text)
                if size >= CHUNK_BYTES:
                    yield _chunk(number, held)
                    held, size, number = [], 0, number + 1
            if held:
                yield _chunk(number, held)
        finally:
            if self._log:
                self._log.close()

    def _texts(self) -> Iterator[bytes]:
        seen: set[bytes] = set()  # digests of 16 bytes: a collision is less likely than a flipped bit
        for path in self.sources:
            self.files += 1
            for text in documents(path, text_column=self.text_column, skip_bad=self.skip_bad, on_bad=self._note):
                raw = text.encode()
                if self.dedup:
                    digest = hashlib.blake2b(raw, digest_size=16).digest()
                    if digest in seen:
                        self.duplicates += 1
                        continue
                    seen.add(digest)
                yield raw

    def _note(self, error: InputError) -> None:
        if self._log is None:
            self.skip_log.parent.mkdir(exist_ok=True)
            self._log = open(self.skip_log, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self.skipped += 1
        line = f"{error.place}: {error.problem}"
        if len(self.skipped_records) < _NAMED:
            self.skipped_records.append(line)
        self._log.write(line + "\n")


def _chunk(number: int, texts: list[bytes]) -> Chunk:
    return Chunk(number, b"".join(texts), np.cumsum([len(text) for text in texts]).astype(np.int32))
