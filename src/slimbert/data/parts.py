"""Parts: the tokens of some megabytes of text, one file each, and the processes that make them.

A part is written aside, synced and renamed, and carries the digest of its text. So a `prepare` that was killed finds
what is done, and makes the rest. Workers are plain child interpreters that run this file: they need no guarded
`__main__`, hold no copy of the parent's threads, and end when the parent does, as their input ends then.
"""

import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..atomic import is_full, write_atomically
from ..errors import InputError, RunError
from .encoding import DocumentEncoder
from .tokenizer import TextTokenizer


@dataclass(frozen=True)
class Chunk:
    """Documents in UTF-8, one behind the other, that become one part."""

    number: int
    text: bytes
    ends: npt.NDArray[np.int32]  # [n] where each document ends

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.text, digest_size=16, key=hashlib.sha256(self.ends.tobytes()).digest()).hexdigest()


@dataclass(frozen=True)
class Part:
    """What is known of a part without reading its tokens."""

    number: int
    documents: int
    tokens: int  # with one [SEP] a document
    unknown: int


def part_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def token_type(vocab_size: int) -> str:
    """The smallest unsigned type, little-endian, that holds every id."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


@contextmanager
def space_errors(folder: Path) -> Iterator[None]:
    """A full disk becomes one clear line; what is written stays."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        remedy = "make room, then the same command goes on where it stopped"
        raise InputError(folder, f"cannot write ({os.strerror(error.errno or 0)})", remedy) from error


def check_space(folder: Path, needed: int) -> None:
    """Raises InputError where the disk has less than `needed` bytes free, and 1 MiB for what goes with them."""
    free = shutil.disk_usage(folder).free
    if free < needed + (1 << 20):
        problem = f"not enough disk space: {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise InputError(folder, problem, "make room, then the same command goes on where it stopped")


class PartMaker:
    """Chunk -> part file in `folder`."""

    def __init__(self, tokenizer: TextTokenizer, folder: Path):
        self.folder, self.sep, self.unk = folder, tokenizer.special.sep, tokenizer.special.unk
        self.dtype = token_type(tokenizer.vocab_size)
        self.encode = DocumentEncoder(tokenizer)

    def __call__(self, chunk: Chunk) -> Part:
        ids, lengths = self.encode(chunk.text, chunk.ends)
        tokens = np.insert(ids, np.cumsum(lengths), self.sep).astype(self.dtype)
        part = Part(chunk.number, len(lengths), len(tokens), int((ids == self.unk).sum()))
        about = {"digest": chunk.digest, **{key: str(value) for key, value in asdict(part).items()}}
        content = save({"tokens": tokens, "lengths": lengths + 1}, metadata=about)
        write_atomically(part_path(self.folder, chunk.number), content)
        return part


def made_before(folder: Path, chunk: Chunk) -> Part | None:
    """The part of this very chunk if a run before this one has made it."""
    try:
        with safe_open(part_path(folder, chunk.number), framework="numpy") as file:
            about = file.metadata() or {}
        fields = {key: int(about[key]) for key in ("number", "documents", "tokens", "unknown")}
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return Part(**fields) if about.get("digest") == chunk.digest else None


class Worker:
    """A child interpreter that makes parts; used by one thread at a time."""

    def __init__(self, tokenizer_folder: Path, folder: Path):
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-m", __name__, str(tokenizer_folder), str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )

    def make(self, chunk: Chunk) -> Part:
        ends = chunk.ends.tobytes()
        header = json.dumps({"number": chunk.number, "ends": len(ends), "text": len(chunk.text)})
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.writelines([header.encode() + b"\n", ends, chunk.text])
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        if "part" in answer:
            return Part(**answer["part"])
        if "error" in answer:
            raise InputError(*answer["error"])
        raise RunError(f"a tokenizing process ended ({self._last_words()}); the same command goes on where it stopped")

    def _last_words(self) -> str:
        code = self.process.wait()
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}: {said[-1] if said else 'no word'}"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Workers:
    """A pool: `make` takes the next idle worker, so call it from as many threads."""

    def __init__(self, count: int, tokenizer_folder: Path, folder: Path):
        self.all = [Worker(tokenizer_folder, folder) for _ in range(count)]
        self.idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.all:
            self.idle.put(worker)

    def make(self, chunk: Chunk) -> Part:
        worker = self.idle.get()
        try:
            return worker.make(chunk)
        finally:
            self.idle.put(worker)

    def close(self) -> None:
        for worker in self.all:
            worker.close()


def main() -> None:
    """The loop of a worker: a header line, the ends and the text come in; a line of JSON goes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    tokenizer, folder = sys.argv[1:]
    make = PartMaker(TextTokenizer.load(tokenizer), Path(folder))
    for line in iter(sys.stdin.buffer.readline, b""):
        header = json.loads(line)
        ends = np.frombuffer(sys.stdin.buffer.read(header["ends"]), np.int32)
        text = sys.stdin.buffer.read(header["text"])
        if len(text) < header["text"]:  # the parent is gone
            return
        answer: dict[str, Any]
        try:
            answer = {"part": asdict(make(Chunk(header["number"], text, ends)))}
        except InputError as error:
            answer = {"error": [error.place, error.problem, error.remedy]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
