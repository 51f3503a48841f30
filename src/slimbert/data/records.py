"""Records of .json, .jsonl, .csv and .tsv files, one by one, each with its file:line."""

import codecs
import csv
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import InputError
from .files import Bad, blocks, form, lines, stop

LONGEST_RECORD = 1 << 28  # characters; a bound, so that a value that never closes cannot fill the memory
_BETWEEN = re.compile(r"[\s,]*")
_SPACE = re.compile(r"\s*")


def json_records(path: str, bad: Bad = stop) -> Iterator[tuple[str, Any]]:
    """(file:line, value) of every JSON record: one a line in .jsonl; in .json an array, or values one after another."""
    if form(path) == ".json":
        yield from _Values(path, bad)
        return
    for number, line in lines(path, bad):
        if line and not line.isspace():
            place = f"{path}:{number}"
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:  # ValueError also: a number of 5,000 digits
                bad(InputError(place, f"broken JSON ({_reason(error)})", "every line must be one JSON object"))
                continue
            yield place, value


def _reason(error: Exception) -> str:
    """What is wrong with the JSON, without the decoder's own line number, which counts from the record."""
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


class _Values:
    """The values of a .json file, decoded from a window of text that moves on, so that an array may have any length."""

    def __init__(self, path: str, bad: Bad):
        self.path, self.bad = path, bad
        self.window, self.at, self.line, self.ended = "", 0, 1, False
        self.texts = self._texts()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._pass(_SPACE)
        array = self.window.startswith("[", self.at)
        self.at += array
        while True:
            self._pass(_BETWEEN if array else _SPACE)
            if array and self.window.startswith("]", self.at):
                self.at += 1
                self._pass(_SPACE)
                if self.at < len(self.window):
                    self._fail("something stands behind the array", "a .json file is one array of records")
                return
            if self.ended and self.at == len(self.window) and not array:
                return
            place = f"{self.path}:{self.line}"
            found = self._value()
            if found is None:
                return
            yield place, found[0]

    def _value(self) -> tuple[Any] | None:
        """The next value, reading on (twice as much each time) while it is incomplete; None after one call of `bad`."""
        more = 1
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self.window, self.at)
                if end < len(self.window) or self.ended:  # a number at the end of the window may go on behind it
                    self.line += self.window.count("\n", self.at, end)
                    self.at = end
                    return (value,)
            except (ValueError, RecursionError) as error:
                if self.ended or isinstance(error, RecursionError) or len(self.window) > LONGEST_RECORD:
                    self.line += self.window.count("\n", self.at, getattr(error, "pos", self.at))
                    self._fail(f"broken JSON ({_reason(error)})", "the rest of this file is lost; is it complete?")
                    return None
            self._read(more)
            more *= 2

    def _pass(self, between: re.Pattern[str]) -> None:
        while True:
            match = between.match(self.window, self.at)
            end = match.end() if match else self.at
            self.line += self.window.count("\n", self.at, end)
            self.at = end
            if end < len(self.window) or self.ended:
                return
            self._read(1)

    def _read(self, count: int) -> None:
        new = [text for _, text in zip(range(count), self.texts)]
        self.ended = len(new) < count
        self.window = self.window[self.at :] + "".join(new)
        self.at = 0

    def _texts(self) -> Iterator[str]:
        decode = codecs.getincrementaldecoder("utf-8")().decode
        passed = 1
        for block in blocks(self.path, self.bad, lambda: passed):  # noqa: B023 (the line now is meant)
            try:
                text = decode(block)
            except UnicodeDecodeError as error:
                line = passed + error.object[: error.start].count(b"\n")
                problem = f"byte {error.object[error.start]:#04x} is not UTF-8 ({error.reason})"
                self.bad(InputError(f"{self.path}:{line}", problem, "save the file as UTF-8"))
                return
            passed += text.count("\n")
            yield text

    def _fail(self, problem: str, remedy: str) -> None:
        self.bad(InputError(f"{self.path}:{self.line}", problem, remedy))


def csv_rows(path: str, bad: Bad = stop) -> Iterator[tuple[str, list[str]]]:
    """(file:line, cells) of the header, then of every row with as many cells; a record may span lines in quotes.

    Cells are separated by comma (.csv) or tab (.tsv); where the header of a .csv has no comma, by `;` or tab.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # of the whole process: its default, 128 KiB, cuts articles
    numbered = lines(path, bad)
    first = next(numbered, None)
    if first is None:
        bad(InputError(path, "is empty", "a table needs a header line and rows"))
        return
    mark = "\t" if form(path) == ".tsv" else max(",;\t", key=first[1].count)
    mark = "," if "," in first[1] and form(path) == ".csv" else mark
    at = first[0]

    def feed() -> Iterator[str]:
        nonlocal at
        yield first[1] + "\n"
        for at, line in numbered:  # noqa: B007 (read by the loop below)
            yield line + "\n"

    rows = csv.reader(feed(), delimiter=mark, strict=True)
    header: list[str] | None = None
    while True:
        began = at
        try:
            row = next(rows, None)
        except csv.Error as error:
            bad(InputError(f"{path}:{at}", f"broken row ({error})", "quote cells that hold quotes or line ends"))
            continue
        if row is None:
            break
        place = f"{path}:{began + 1 if header else began}"
        if header is None:
            header = row
        elif row and len(row) != len(header):
            problem = f"{len(row)} cells, the header has {len(header)}"
            bad(InputError(place, problem, f"quote cells that hold {mark!r}"))
            continue
        if row:
            yield place, row
    if header is None:
        bad(InputError(path, "has no header line", "a table needs a header line and rows"))
