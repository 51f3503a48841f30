"""Documents with their places and ids from every format; windows that lose no word."""

import csv
import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.search.toy import texts
from jobs.small import WORDS
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.search.corpus import Passages, documents, windows

ROWS = [("a7", "first text"), ("b2", ""), ("c9", "third text")]


def tables(folder: Path, name: str = "id") -> list[Path]:
    """The same rows in every format."""
    with open(folder / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", name), *((text, key) for key, text in ROWS)])
    records = [{"text": text, name: key} for key, text in ROWS]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, records)))
    (folder / "t.json").write_text(json.dumps(records))
    pq.write_table(pa.table({"text": [text for _, text in ROWS], name: [key for key, _ in ROWS]}), folder / "t.parquet")
    return [folder / f"t.{kind}" for kind in ("csv", "jsonl", "json", "parquet")]


@pytest.mark.parametrize("name", ["id", "idx", "_id", "doc_id"])
def test_rows_have_their_number_and_id(tmp_path: Path, name: str):
    for path in tables(tmp_path, name):
        found = list(documents([str(path)], text_column=None))
        assert [(one.file, one.number, one.id, one.text) for one in found] == [
            (str(path), 1, "a7", "first text"),
            (str(path), 3, "c9", "third text"),
        ]


def test_no_id_column_no_id(tmp_path: Path):
    for path in tables(tmp_path, "mark"):
        found = list(documents([str(path)], text_column="text"))
        assert [(one.number, one.id) for one in found] == [(1, None), (3, None)]
    (tmp_path / "t.txt").write_text("one\ngoes on\n\n\ntwo\n")
    (tmp_path / "s.jsonl").write_text('"plain"\n"strings"\n')
    found = list(documents([str(tmp_path / "t.txt"), str(tmp_path / "s.jsonl")], text_column=None))
    assert [(one.number, one.id, one.text) for one in found] == [
        (1, None, "one\ngoes on"),
        (2, None, "two"),
        (1, None, "plain"),
        (2, None, "strings"),
    ]


def test_ids_of_other_types_are_words(tmp_path: Path):
    pq.write_table(pa.table({"id": [5, None], "text": ["a b", "c d"]}), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text('{"id": 7, "text": "a"}\n{"text": "b"}\n{"id": null, "text": "c"}\n')
    found = documents([str(tmp_path / "t.parquet"), str(tmp_path / "t.jsonl")], text_column=None)
    assert [one.id for one in found] == ["5", None, "7", None, None]


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": 2, "text"\n')
    with pytest.raises(InputError, match=r"t\.jsonl:2: broken JSON"):
        list(documents([str(tmp_path / "t.jsonl")], text_column=None))


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(texts(200), 80)


@given(counts=st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=90), max_len=st.integers(4, 20))
def test_windows_overlap_and_lose_no_word(tokenizer: TextTokenizer, counts: list[int], max_len: int):
    """Whole words, no longer than the model reads; each begins within the one before, or with the word behind it."""
    text = " ".join(WORDS[number] for number in counts)
    room = max(max_len, int(tokenizer.count(WORDS).max()))
    places = windows(text, tokenizer, room)
    assert int(tokenizer.count([text[begin:end] for begin, end in places]).max()) <= room
    assert places[0][0] == 0 and places[-1][1] == len(text)
    for begin, end in places:
        assert (begin == 0 or text[begin - 1] == " ") and (end == len(text) or text[end] == " ")
    for (begin, end), (following, last) in itertools.pairwise(places):
        assert begin < following <= end + 1 and end < last


def test_a_word_longer_than_a_window_is_cut(tokenizer: TextTokenizer):
    text = "b" + "a" * 60  # pieces: b or ba, then ##a, ...; a word of more than 100 letters is one unknown piece
    places = windows(text, tokenizer, 12)
    assert len(places) > 2
    assert places[0][0] == 0 and places[-1][1] == len(text)
    assert all(end == following for (_, end), (following, _) in itertools.pairwise(places))


@pytest.mark.parametrize("split", [False, True])
def test_passages_count_what_is_long(tmp_path: Path, tokenizer: TextTokenizer, split: bool):
    given_texts = ["bama dene", " ".join(WORDS), "firi", " ".join(WORDS[:20])]
    (tmp_path / "t.txt").write_text("\n\n".join(given_texts))
    found = documents([str(tmp_path / "t.txt")], text_column=None)
    passages = Passages(found, tokenizer, max_len=12, windows=split)
    made = list(passages)
    assert (passages.documents, passages.long) == (4, 2)
    if not split:
        assert [(one.part, one.text) for one in made] == [(0, text) for text in given_texts]
        return
    parts = [(one.document.number, one.part) for one in made]
    assert parts[0] == (1, 0)
    assert parts[1:3] == [(2, 1), (2, 2)]
    assert (3, 0) in parts and parts[-1][0] == 4 and parts[-1][1] > 1
