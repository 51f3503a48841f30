"""Which files a corpus is, and their lines: plain, .gz or .zst, each line with its number.

Text is UTF-8; a byte order mark and CRLF line ends are read without a word. What cannot be read goes to `bad`, a
function that gets the InputError: `stop` raises it, a reader that skips notes it down and goes on.
"""

import difflib
import glob
import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from ..errors import InputError

Bad = Callable[[InputError], None]
SUFFIXES = (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet")
PACKED = (".gz", ".zst")
HUB = "hub:"  # in front of a data set name of the Hugging Face Hub; without it nothing touches the network
BLOCK = 1 << 20  # bytes read at a time
LONGEST_LINE = 1 << 26  # bytes; a bound, so that a file without line ends cannot fill the memory
_BROKEN = (OSError, EOFError, zlib.error, pa.ArrowException)  # what gzip and pyarrow raise for damaged data
FAULTS = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError, MemoryError)  # of pyarrow


def stop(error: InputError) -> None:
    """The `bad` of a reader that does not skip."""
    raise error


def form(path: Path | str) -> str:
    """The suffix that says how a file is read, without .gz or .zst: ".jsonl" of "a.jsonl.gz"; "" if unknown."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else ""


def expand(paths: str | Path | Iterable[str | Path]) -> list[str]:
    """Files, folders (all known files below, sorted), glob patterns and `hub:` names -> file paths, each once.

    InputError names a path that is missing, has an unknown suffix, or a folder or pattern without a known file.
    """
    found: dict[str, None] = {}
    for entry in [paths] if isinstance(paths, str | Path) else paths:
        found.update(dict.fromkeys([str(entry)] if str(entry).startswith(HUB) else _files(Path(entry))))
    if not found:
        raise InputError("corpus", "no path was given", "name at least one file, folder or pattern")
    return list(found)


def _files(path: Path) -> list[str]:
    known = ", ".join(SUFFIXES) + " (also with .gz or .zst behind)"
    try:
        if path.is_file():
            if not form(path):
                raise InputError(path, "unknown kind of file", f"known suffixes: {known}")
            return [str(path)]
        if path.is_dir():
            inside = [child for child in path.rglob("*") if not _hidden(child.relative_to(path))]
        elif glob.has_magic(str(path)):
            inside = [Path(name) for name in glob.glob(str(path), recursive=True)]
        else:
            near = difflib.get_close_matches(path.name, [child.name for child in path.parent.glob("*")], n=1)
            hint = f"did you mean {path.parent / near[0]}?" if near else f"a Hub data set is written {HUB}owner/name"
            raise InputError(path, "no such file, folder or pattern", hint)
        files = sorted(str(child) for child in inside if child.is_file() and form(child))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, InputError):
            raise
        raise InputError(path, f"cannot be read ({error})", "check the path and its permissions") from error
    if not files:
        raise InputError(path, "holds no file that can be read", f"known suffixes: {known}")
    return files


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def stamps(sources: Sequence[str]) -> list[list[Any]]:
    """Path, bytes and time of the last change of every file; of a data set of the Hub its name alone."""
    files = [(path, None if path.startswith(HUB) else os.stat(path)) for path in sources]
    return [[path, stat.st_size, stat.st_mtime_ns] if stat else [path] for path, stat in files]


def opened(path: str) -> IO[bytes]:
    """A binary stream of the unpacked content; damage shows up as one of `_BROKEN` while reading."""
    try:
        if path.lower().endswith(".gz"):
            return cast(IO[bytes], gzip.open(path, "rb"))
        if path.lower().endswith(".zst"):
            return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(path), "zstd"))
        return open(path, "rb")
    except (*_BROKEN, ValueError) as error:
        raise InputError(path, f"cannot be opened ({error})", "check the path and its permissions") from error


def blocks(path: str, bad: Bad, line: Callable[[], int]) -> Iterator[bytes]:
    """Blocks of at most BLOCK bytes; damaged data ends the file after one call of `bad` with the line reached."""
    with opened(path) as stream:
        first = True
        while True:
            try:
                block = stream.read(BLOCK)
            except _BROKEN as error:
                what = "broken compressed data" if path.lower().endswith(PACKED) else "cannot be read on"
                rest = "the rest of this file is lost; make or fetch it again"
                bad(InputError(f"{path}:{line()}", f"{what} ({error})", rest))
                return
            if not block:
                return
            yield block.removeprefix(b"\xef\xbb\xbf") if first else block
            first = False


def lines(path: str, bad: Bad = stop) -> Iterator[tuple[int, str]]:
    """(number from 1, text without its line end) of every line that is UTF-8; the others go to `bad`."""
    number = 1
    for chunk in _whole_lines(path, bad, lambda: number):  # noqa: B023 (the number now is meant)
        try:
            texts: Sequence[str | None] = chunk.decode().split("\n")
        except UnicodeDecodeError:
            texts = [_decoded(raw, f"{path}:{number + i}", bad) for i, raw in enumerate(chunk.split(b"\n"))]
        if chunk.endswith(b"\n"):
            texts = texts[:-1]
        for text in texts:
            if text is not None:
                yield number, text[:-1] if text.endswith("\r") else text
            number += 1


def _whole_lines(path: str, bad: Bad, line: Callable[[], int]) -> Iterator[bytes]:
    """The file cut behind line ends only."""
    carry: list[bytes] = []
    size = 0
    for block in blocks(path, bad, line):
        cut = block.rfind(b"\n") + 1
        if cut:
            whole, rest = b"".join([*carry, block[:cut]]), block[cut:]
            carry, size = [rest], len(rest)
            yield whole
        else:
            carry.append(block)
            size += len(block)
            if size > LONGEST_LINE:
                problem = f"a line longer than {LONGEST_LINE >> 20} MiB"
                raise InputError(f"{path}:{line()}", problem, "break the text into lines")
    if size:
        yield b"".join(carry)


def _decoded(raw: bytes, place: str, bad: Bad) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        remedy = "this looks like UTF-16, save it as UTF-8" if wide else "save the file as UTF-8"
        bad(InputError(place, f"byte {error.start + 1} of the line is not UTF-8 ({error.reason})", remedy))
        return None


def first_line(error: BaseException) -> str:
    """What a library says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def broken(text: str) -> str | None:
    """What is wrong with a text that UTF-8 cannot write; None for all others."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        return f"half a surrogate pair at character {error.start + 1}"
    return None
