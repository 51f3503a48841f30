"""Readers: every format gives the same documents, and what is wrong with a file is one InputError with its place."""

import contextlib
import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimbert.data.readers import documents
from slimbert.data.table import table
from slimbert.errors import InputError

TEXTS = ["First one.\nSecond line.", "Zweites Dokument, äöü ✓", 'with "quotes", commas; and 漢字']


def txt(texts: list[str]) -> bytes:
    return ("\n\n".join(texts) + "\n").encode()


def jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)).encode()


def array(texts: list[str]) -> bytes:
    return json.dumps([{"id": i, "text": t} for i, t in enumerate(texts)], indent=1, ensure_ascii=False).encode()


def rows(texts: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([["id", "text"], *([i, t] for i, t in enumerate(texts))])
    return out.getvalue().encode()


def parquet(texts: list[str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), out)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


WRITERS: dict[str, Callable[[list[str]], bytes]] = {
    "a.txt": txt,
    "a.jsonl": jsonl,
    "a.json": array,
    "a.csv": rows,
    "a.parquet": parquet,
    "a.txt.gz": lambda t: gzip.compress(txt(t)),
    "a.jsonl.gz": lambda t: gzip.compress(jsonl(t)),
    "a.json.zst": lambda t: zstd(array(t)),
    "a.csv.zst": lambda t: zstd(rows(t)),
}


def put(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def fails(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        list(documents(path, **options))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_documents(name: str, tmp_path: Path) -> None:
    path = put(tmp_path, name, WRITERS[name](TEXTS))
    assert [text.replace("\r\n", "\n") for text in documents(path)] == TEXTS


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith("a.txt")])
def test_table_gives_the_rows_of_every_format(name: str, tmp_path: Path) -> None:
    made = table(put(tmp_path, name, WRITERS[name](TEXTS)))
    assert made["id"].to_pylist() == [0, 1, 2]
    assert [text.replace("\r\n", "\n") for text in made["text"].to_pylist()] == TEXTS
    assert table(tmp_path / name, columns=["text"]).column_names == ["text"]


def test_byte_order_mark_and_carriage_returns_are_silent(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    assert list(documents(put(tmp_path, "a.txt", mark + b"one\r\ntwo\r\n\r\nthree"))) == ["one\ntwo", "three"]
    assert list(documents(put(tmp_path, "a.csv", mark + b"text,n\r\none,1\r\n"))) == ["one"]
    assert table(put(tmp_path, "b.jsonl", mark + b'{"text": "one"}\r\n'))["text"].to_pylist() == ["one"]
    assert list(documents(put(tmp_path, "c.json", mark + b'["one"]\r\n'))) == ["one"]


def test_folders_patterns_and_repeated_paths(tmp_path: Path) -> None:
    put(tmp_path, "b/two.txt", "two")
    put(tmp_path, "b/.hidden.txt", "no")
    put(tmp_path, "b/readme.md", "no")
    put(tmp_path, "b/one.jsonl", '{"text": "one"}')
    assert list(documents(tmp_path)) == ["one", "two"]
    assert list(documents([tmp_path / "b/two.txt", str(tmp_path / "**/*.*")])) == ["two", "one"]


def test_json_of_values_in_a_row_and_of_one_long_line(tmp_path: Path) -> None:
    assert list(documents(put(tmp_path, "a.json", '{"text": "one"}\n{"text": "two"}\n'))) == ["one", "two"]
    assert list(documents(put(tmp_path, "b.json", '{\n "text": "one"\n}'))) == ["one"]
    many = [f"{i} " + "x" * 50_000 for i in range(100)]  # 5 MB: several blocks in one line
    assert list(documents(put(tmp_path, "c.json", json.dumps(many)))) == many


def test_a_text_without_blank_lines_is_cut_between_lines(tmp_path: Path) -> None:
    parts = list(documents(put(tmp_path, "a.txt", ("word " * 40 + "\n") * 12_000)))
    assert len(parts) == 3
    assert "\n".join(parts).count("word") == 480_000


def test_the_text_column_is_guessed_or_named(tmp_path: Path) -> None:
    assert list(documents(put(tmp_path, "a.csv", "id,content\n1,one"))) == ["one"]
    assert list(documents(put(tmp_path, "b.csv", "left;right\n1;one"), text_column="right")) == ["one"]
    assert "b.csv:1: which column is the text? there are 'left', 'right'" in fails(tmp_path / "b.csv")
    assert "did you mean 'right'?" in fails(tmp_path / "b.csv", text_column="rihgt")
    assert "a.parquet: no column 'body'" in fails(put(tmp_path, "a.parquet", parquet(TEXTS)), text_column="body")
    assert "holds int64" in fails(tmp_path / "a.parquet", text_column="id")
    assert "c.jsonl:2: no column 'text'" in fails(put(tmp_path, "c.jsonl", '{"text": "one"}\n{"tex": "two"}'))


BROKEN: dict[str, tuple[bytes, int]] = {  # content with one bad record between two good ones, its line
    "bytes.txt": (b"one\n\nb\xffd\n\ntwo\n", 3),
    "syntax.jsonl": (b'{"text": "one"}\n{"text": "b\n{"text": "two"}\n', 2),
    "kind.jsonl": (b'{"text": "one"}\n\n{"text": 7}\n{"text": "two"}\n', 3),
    "bytes.jsonl": (b'{"text": "one"}\n{"text": "\xc3("}\n{"text": "two"}\n', 2),
    "surrogate.jsonl": (b'{"text": "one"}\n{"text": "\\ud800"}\n{"text": "two"}\n', 2),
    "deep.jsonl": (b'{"text": "one"}\n' + b"[" * 200_000 + b'\n{"text": "two"}\n', 2),
    "kind.json": (b'[{"text": "one"},\n {"text": [1]},\n {"text": "two"}]', 2),
    "cells.csv": (b'n,text\n"1\n2",one\n2,bad,bad\n3,two\n', 4),
    "quotes.csv": (b'n,text\n1,one\n2,"bad"bad\n3,two\n', 3),
    "bytes.csv": (b"n,text\n1,one\n2,b\xffd\n3,two\n", 3),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_record_is_named_or_skipped(name: str, tmp_path: Path) -> None:
    content, line = BROKEN[name]
    path = put(tmp_path, name, content)
    assert fails(path).startswith(f"{path}:{line}: ")
    skipped: list[InputError] = []
    assert list(documents(path, skip_bad=True, on_bad=skipped.append)) == ["one", "two"]
    assert [error.place for error in skipped] == [f"{path}:{line}"]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz", "a.json.zst", "a.csv.zst", "a.parquet"])
def test_a_file_cut_short_is_named(name: str, tmp_path: Path) -> None:
    data = WRITERS[name](TEXTS * 50)
    path = put(tmp_path, name, data[:-5])
    assert fails(path).startswith(str(path))
    skipped: list[InputError] = []
    list(documents(path, skip_bad=True, on_bad=skipped.append))
    assert skipped


def test_a_cut_json_array_gives_the_line_where_it_ends(tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", '[{"text": "one"},\n{"text": "two"},\n{"text": "thr')
    assert fails(path).startswith(f"{path}:3: broken JSON")
    assert list(documents(path, skip_bad=True)) == ["one", "two"]
    assert ":1: something stands behind the array" in fails(put(tmp_path, "b.json", '["one"] x'))


def test_missing_unknown_and_empty(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt", "one")
    assert "did you mean" in fails(tmp_path / "nots.txt")
    assert "unknown kind of file" in fails(put(tmp_path, "a.docx", "one"))
    assert "holds no file" in fails(tmp_path / "*.csv")
    assert "is empty" in fails(put(tmp_path, "a.csv", ""))
    assert list(documents(put(tmp_path, "empty.txt", " \n\n"))) == []
    for name, content in (("b.csv", "text\n"), ("b.jsonl", "\n"), ("b.parquet", parquet([]))):
        with pytest.raises(InputError, match="no row"):
            table(put(tmp_path, name, content))


def test_table_types_and_conflicts(tmp_path: Path) -> None:
    made = table(put(tmp_path, "a.tsv", "label\tscore\tcode\ttext\n1\t0.5\t007\tNA\n2\t3\t010\t\n"))
    assert [str(kind) for kind in made.schema.types] == ["int64", "double", "string", "string"]
    assert made["text"].to_pylist() == ["NA", ""]
    with pytest.raises(InputError, match=r"b.jsonl:3: 'label' is str here and int before"):
        table(put(tmp_path, "b.jsonl", '{"label": 1}\n{"label": null}\n{"label": "x"}\n'))
    with pytest.raises(InputError, match="two columns are called 'a'"):
        table(put(tmp_path, "c.csv", "a,a\n1,2\n"))
    with pytest.raises(InputError, match="did you mean 'label'"):
        table(tmp_path / "b.jsonl", columns=["lable"])


def test_tables_without_what_cannot_be_read(tmp_path: Path) -> None:
    """Records go to `bad` and are left out; mixed values go to `bad` and are read as texts."""
    faults: list[InputError] = []
    made = table(put(tmp_path, "a.csv", "text,label\none,1\ntwo\nthree,3\n"), bad=faults.append)
    assert made.to_pydict() == {"text": ["one", "three"], "label": [1, 3]}
    content = '{"text": "one", "label": 1}\n{broken\n[]\n{"text": "\\ud800", "label": ["x"]}\n'
    made = table(put(tmp_path, "b.jsonl", content), bad=faults.append)
    assert made.to_pydict() == {"text": ["one", "?"], "label": ["1", '["x"]']}
    places = " ".join(Path(fault.place).name for fault in faults)
    assert places == "a.csv:3 b.jsonl:2 b.jsonl:3 b.jsonl:4 b.jsonl:4"
    for name in ("c.csv", "c.jsonl"):
        with pytest.raises(InputError, match="no row"):
            table(put(tmp_path, name, ""), bad=faults.append)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_corruption_gives_only_input_errors(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    good = WRITERS[name](TEXTS)
    changes = data.draw(st.lists(st.tuples(st.integers(0, len(good) - 1), st.binary(max_size=3)), max_size=4))
    broken = bytearray(good)
    for at, new in changes:
        broken[at : at + len(new)] = new
    path = put(tmp_path_factory.mktemp("broken"), name, bytes(broken[: data.draw(st.integers(0, len(broken)))]))

    def tolerant(path: Path) -> list[pa.Table]:
        return [table(path, bad=lambda _: None)]

    for read in (documents, lambda p: documents(p, skip_bad=True), lambda p: [table(p)], tolerant):
        with contextlib.suppress(InputError):
            assert all(isinstance(text, str | pa.Table) for text in read(path))


def test_hub_names_go_through_the_datasets_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, configuration: str | None, **options: object) -> list[dict[str, object]]:
        if name == "owner/none":
            raise ConnectionError("no network")
        assert (configuration, options) == ("plain", {"split": "train", "streaming": True})
        return [{"id": 1, "text": "one"}, {"id": 2, "text": None}, {"id": 3, "text": "two"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert list(documents("hub:owner/name:plain")) == ["one", "two"]
    with pytest.raises(InputError, match="hub:owner/none: cannot be read"):
        list(documents("hub:owner/none"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="needs an extra"):
        list(documents("hub:owner/name"))
