"""Text files -> token shards (see `shards` for the format), on all cores, in bounded memory, restartable.

The parent reads documents and cuts them into chunks; workers turn each chunk into a part on disk; when all parts are
there they are packed into rows, the manifest is written last, and the parts are deleted. Started again, `prepare` reads
the text anew, which is cheap, and makes only the parts that are missing.
"""

import itertools
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_json
from ..errors import InputError
from ..machine import cores
from .chunks import Chunks
from .files import HUB, expand, stamps
from .held import held
from .packing import pack
from .parts import Part, PartMaker, Workers, check_space, made_before, space_errors, token_type
from .shards import FORMAT, VERSION, check_files, manifest_hash, read_manifest
from .tokenizer import TextTokenizer

_OTHER = "choose another --out or delete this folder"


@dataclass(frozen=True)
class Tally:
    """How far `prepare` is."""

    documents: int
    tokens: int
    files: int  # begun
    of_files: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """What `prepare` made. tokens: with one [SEP] a document, without the [CLS] of the rows."""

    documents: int
    tokens: int
    rows: int  # of training
    validation_rows: int
    seconds: float  # of this run
    tokens_per_second: float  # of the tokens made in this run
    unknown_share: float
    duplicates: int
    skipped: int
    skipped_records: tuple[str, ...]  # the first of them, each with its place; all are in skipped.txt
    notes: tuple[str, ...]


def prepare(
    paths: str | Path | Iterable[str | Path],
    tokenizer: TextTokenizer | str | Path,
    *,
    seq_len: int,
    out: str | Path,
    validation: float = 0.0,
    dedup: bool = False,
    skip_bad: bool = False,
    text_column: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: Callable[[Tally], None] | None = None,
) -> Report:
    """Write the shards of all documents into the folder `out`.

    validation: the share of rows to hold out. dedup: drop exact repetitions of a document. skip_bad: leave out records
    that cannot be read. workers: processes, one a core if not given; the result does not depend on it. Memory: a few
    chunks of 2 MiB a worker, the longest document, and with dedup about 100 bytes a document. Disk: twice the result.
    Killed at any moment, the same call goes on; with other arguments (but skip_bad) it is an InputError.
    """
    pieces = tokenizer if isinstance(tokenizer, TextTokenizer) else TextTokenizer.load(tokenizer)
    if seq_len < 4:
        raise InputError("seq_len", f"{seq_len} is too short", "commonly 128 or 512")
    if not 0 <= validation < 1:
        raise InputError("validation", f"{validation} is no share of the rows", "choose from 0 to below 1, as 0.01")
    sources = [path if path.startswith(HUB) else os.path.abspath(path) for path in expand(paths)]
    asked = {
        "sources": sources,
        "tokenizer": pieces.sha256,
        "seq_len": seq_len,
        "validation": validation,
        "dedup": dedup,
        "text_column": text_column,
        "seed": seed,
    }
    folder = Path(out)
    with _held(folder), space_errors(folder):
        done = _finished(folder, asked, skip_bad)
        if done:
            return done
        log = folder / ".parts" / "skipped.txt"
        chunks = Chunks(sources, log, text_column=text_column, dedup=dedup, skip_bad=skip_bad)
        job = _Job(folder, asked, pieces, chunks)
        job.tokenize(workers or cores(), progress)
        return job.finish()


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder, made if need be, is ours alone; what is left of a run without a single part vanishes."""
    with held(out, busy="another prepare is at work here"):
        try:
            yield
        finally:
            parts = out / ".parts"
            if parts.is_dir() and not any(parts.glob("*.safetensors")):
                shutil.rmtree(parts)
                if not (out / "manifest.json").is_file():
                    shutil.rmtree(out / "tokenizer", ignore_errors=True)


def _finished(out: Path, asked: dict[str, Any], skip_bad: bool) -> Report | None:
    """The report of an earlier run that made just this; None if there is something to do; InputError if it is other."""
    parts = out / ".parts"
    if (out / "manifest.json").is_file():
        manifest = read_manifest(out)
        _compare(out, manifest["asked"], asked)
        if manifest["sources"] != stamps(asked["sources"]):
            raise InputError(out, "was prepared from these files, but they have changed since", _OTHER)
        if manifest["report"]["skipped"] and not skip_bad:
            problem = f"was prepared without {manifest['report']['skipped']} bad records"
            raise InputError(out, problem, f"pass --skip-bad, {_OTHER}")
        check_files(out, manifest, list(manifest["splits"]), verify=False)
        shutil.rmtree(parts, ignore_errors=True)  # an earlier run was killed between the manifest and this
        report = manifest["report"]
        return Report(**report | {key: tuple(report[key]) for key in ("skipped_records", "notes")})
    if (parts / "asked.json").is_file():
        try:
            before = dict(json.loads((parts / "asked.json").read_bytes()))
        except (ValueError, TypeError) as error:
            raise InputError(parts / "asked.json", f"damaged ({error})", _OTHER) from error
        _compare(out, before, asked)
    elif not parts.is_dir() and any(out.iterdir()):
        raise InputError(out, "is not empty and no prepared corpus", "choose a new folder for --out")
    return None


def _compare(out: Path, before: dict[str, Any], asked: dict[str, Any]) -> None:
    other = [key for key in asked if before.get(key) != asked[key]]
    if other:
        said = ", ".join(f"{key} {_short(before.get(key))}, now {_short(asked[key])}" for key in other)
        remedy = "choose another --out, delete this folder, or repeat the old arguments"
        raise InputError(out, f"was begun with other arguments ({said})", remedy)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Job:
    """One `prepare` that has something to do."""

    def __init__(self, out: Path, asked: dict[str, Any], tokenizer: TextTokenizer, chunks: Chunks):
        self.out, self.asked, self.tokenizer, self.chunks = out, asked, tokenizer, chunks
        self.folder = out / ".parts"
        self.stamps = stamps(asked["sources"])
        self.parts: list[Part] = []
        self.documents = self.tokens = self.fresh_tokens = 0
        self.began = time.perf_counter()

    def tokenize(self, workers: int, progress: Callable[[Tally], None] | None) -> None:
        """Make the parts that are missing: a single one here, several in worker processes."""
        pending: deque[Part | Future[Part]] = deque()
        chunks = iter(self.chunks)
        first = list(itertools.islice(chunks, 2))
        if not first:
            named = ", ".join(self.asked["sources"][:3])
            raise InputError(named, "there is no text to prepare", "check the files and --text-column")
        self._begin()
        pool = Workers(workers, self.out / "tokenizer", self.folder) if len(first) > 1 else None
        make = pool.make if pool else PartMaker(self.tokenizer, self.folder)
        with ThreadPoolExecutor(workers) as threads:
            try:
                for chunk in itertools.chain(first, chunks):
                    pending.append(made_before(self.folder, chunk) or threads.submit(make, chunk))
                    if len(pending) > 2 * workers:
                        self._settle(pending.popleft(), progress)
                while pending:
                    self._settle(pending.popleft(), progress)
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                if pool:
                    pool.close()

    def _begin(self) -> None:
        """Everything that a later start needs to know is written before the first part."""
        self.folder.mkdir(exist_ok=True)
        self.tokenizer.save(self.out / "tokenizer")
        write_json(self.folder / "asked.json", self.asked, indent=None)

    def _settle(self, one: Part | Future[Part], progress: Callable[[Tally], None] | None) -> None:
        part = one if isinstance(one, Part) else one.result()
        self.parts.append(part)
        self.documents += part.documents
        self.tokens += part.tokens
        self.fresh_tokens += 0 if isinstance(one, Part) else part.tokens
        if progress:
            seconds = time.perf_counter() - self.began
            progress(Tally(self.documents, self.tokens, self.chunks.files, len(self.chunks.sources), seconds))

    def finish(self) -> Report:
        """Pack the parts, then the manifest, then the parts go."""
        dtype = token_type(self.tokenizer.vocab_size)
        check_space(self.out, self.tokens * int(dtype[-1]))
        for old in self.out.glob("*.bin"):  # of a run that was killed while packing
            old.unlink()
        splits, notes = pack(
            self.out,
            self.folder,
            self.parts,
            seq_len=self.asked["seq_len"],
            special=self.tokenizer.special,
            dtype=dtype,
            validation=self.asked["validation"],
            seed=self.asked["seed"],
        )
        seconds = time.perf_counter() - self.began
        report = Report(
            documents=self.documents,
            tokens=self.tokens,
            rows=splits["train"]["rows"],
            validation_rows=splits.get("validation", {"rows": 0})["rows"],
            seconds=seconds,
            tokens_per_second=self.fresh_tokens / seconds,
            unknown_share=sum(part.unknown for part in self.parts) / self.tokens,
            duplicates=self.chunks.duplicates,
            skipped=self.chunks.skipped,
            skipped_records=tuple(self.chunks.skipped_records),
            notes=tuple(notes),
        )
        self._seal(splits, report, dtype)
        return report

    def _seal(self, splits: dict[str, Any], report: Report, dtype: str) -> None:
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "seq_len": self.asked["seq_len"],
            "vocab_size": self.tokenizer.vocab_size,
            "dtype": dtype,
            "special": self.tokenizer.special._asdict(),
            "tokenizer_sha256": self.tokenizer.sha256,
            "pieces_sha256": self.tokenizer.pieces_sha256,
            "splits": splits,
            "asked": self.asked,
            "sources": self.stamps,
            "report": asdict(report),
        }
        manifest = json.loads(json.dumps(manifest))  # so that its hash is that of what is read back
        manifest["sha256"] = manifest_hash(manifest)
        if report.skipped:
            os.replace(self.folder / "skipped.txt", self.out / "skipped.txt")
        write_json(self.out / "manifest.json", manifest, indent=1)
        shutil.rmtree(self.folder)
