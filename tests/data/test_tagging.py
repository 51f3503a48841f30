"""Tagged text: files of words, lists of words, texts with spans; schemes; and what is refused with place and remedy."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from conlleval import chunks
from data.tongues import any_file, any_text
from slimbert.data.conll import is_conll
from slimbert.data.schemes import all_tags, spans_of, tags_of, to_iob2
from slimbert.data.tagging import Tagged, joined, of_text, of_words, read_tagged, spread, unify, whole
from slimbert.data.words import split_words
from slimbert.errors import InputError

CONLL = (
    "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nLee NNP I-NP I-PER\nwent VBD B-VP O\n\n"
    "to TO B-PP O\nUlm NNP B-NP B-LOC\n"
)
EXAMPLES = [(("Ann", "Lee", "went"), ("B-PER", "I-PER", "O")), (("to", "Ulm"), ("O", "B-LOC"))]


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(path: Path, *rows: dict) -> Path:
    return put(path, "".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path, **columns: str) -> list[tuple]:
    found, _ = read_tagged(path, **columns)
    assert all(tuple(one.text[a:b] for a, b in one.spans) == one.words for one in found)
    return [(one.words, one.tags) for one in found]


def fails(path: Path, **columns: str) -> str:
    with pytest.raises(InputError) as caught:
        read_tagged(path, **columns)
    return str(caught.value)


# files of words


@pytest.mark.parametrize(
    "content",
    [
        CONLL,
        CONLL.replace(" ", "\t"),
        CONLL.replace("\n", "\r\n"),
        "\ufeff" + CONLL,
        CONLL.replace("\n\n", "\n \t\n\n").rstrip("\n"),
        CONLL.replace("NNP ", "NNP\t "),
        "# id 1 domain=a\n" + CONLL.split("\n\n", 1)[1].replace("\n\n", "\n\n# newdoc\n# id 2 domain=b\n"),
        "B-PER Ann\nI-PER Lee\nO went\n\nO to\nB-LOC Ulm",
        "1 Ann B-PER\n2 Lee I-PER\n3 went O\n\n1 to O\n2 Ulm B-LOC",
    ],
    ids=["blanks", "tabs", "crlf", "bom", "blank lines", "mixed", "comments", "tag first", "numbered"],
)
def test_every_layout_of_a_file_of_words_is_the_same(tmp_path: Path, content: str) -> None:
    assert read(put(tmp_path / "a.conll", content)) == EXAMPLES
    assert read(put(tmp_path / "a.bio.gz", gzip.compress(content.encode()))) == EXAMPLES


def test_columns_of_a_file_of_words_may_be_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", CONLL)
    assert [tags for _, tags in read(path, tag_column="1")] == [("NNP", "NNP", "VBD"), ("TO", "NNP")]
    assert [tags for _, tags in read(path, tag_column="-2")] == [("B-NP", "I-NP", "B-VP"), ("B-PP", "B-NP")]
    assert "no column 4, there are 4" in fails(path, tag_column="4")
    assert "column 3 is word and tag at once" in fails(path, text_column="3")
    assert "'word' is not a number" in fails(path, text_column="word")
    assert is_conll("x.IOB") and is_conll("x.txt.zst") and not is_conll("x.jsonl")


def test_words_of_blanks_and_signs_stay_what_they_are(tmp_path: Path) -> None:
    path = put(tmp_path / "a.iob", "\u00a0\tO\n# \tO\n#\tO\nNew York\tB-LOC\n\u2028\tO\n")
    assert read(path) == [(("\u00a0", "#", "#", "New York", "\u2028"), ("O", "O", "O", "B-LOC", "O"))]
    assert read(put(tmp_path / "words.txt", "one\n#\n\ntwo\n")) == [(("one", "#"), None), (("two",), None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Ann B-PER\nLee\nto O\n", "a.conll:2: 1 of the 2 columns that most lines have ('Lee')"),
        ("Ann O\n\nLee x O\nto O\n", "a.conll:3: 3 of the 2 columns"),
        ("Ann\tx\tO\nLee\t\tO\nto\tx\tO", "a.conll:2: column 2 of 3 is empty"),
        ("-DOCSTART- O\n\n", "a.conll: there is no word in it"),
        ("# id 7\n\n", "a.conll: there is no word in it"),
        (b"Ann O\nb\xff O\n", "a.conll:2: byte 2 of the line is not UTF-8"),
    ],
)
def test_a_broken_file_of_words_is_named_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in fails(put(tmp_path / "a.conll", content))


# lists of words


def hugging_face(path: Path, feature: dict, **columns: list) -> Path:
    features = {"info": {"features": {name: feature for name in columns if name != "tokens"}}}
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    return path


TOKENS = [["Ann", "Lee"], [], ["Ulm"]]
NAMED = [(("Ann", "Lee"), ("B-PER", "I-PER")), ((), ()), (("Ulm",), ("O",))]
NAMES = {"names": ["O", "B-PER", "I-PER"], "_type": "ClassLabel"}


@pytest.mark.parametrize("feature", [{"feature": NAMES, "_type": "Sequence"}, [NAMES], {"feature": [NAMES]}])
def test_names_of_tags_come_from_the_file(tmp_path: Path, feature: dict) -> None:
    path = hugging_face(tmp_path / "a.parquet", feature, ner_tags=[[1, 2], [], [0]], tokens=TOKENS)
    assert read(path) == NAMED
    found, notes = read_tagged(path)
    assert notes == ["words in column 'tokens', tags in 'ner_tags'"]
    assert [one.place for one in found] == [f"{path}:row {n}" for n in (1, 2, 3)]
    path = hugging_face(tmp_path / "b.parquet", feature, ner_tags=[[1, 2], [], [3]], tokens=TOKENS)
    assert "b.parquet:row 3: tag 1 is 3, the file names 3 tags" in fails(path)


def test_tags_are_texts_or_numbers(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"pos": [["X", "X"], [], ["Y"]], "ner": [[1, 2], [], [0]], "words": TOKENS}), tmp_path / "a.parquet"
    )
    assert [tags for _, tags in read(tmp_path / "a.parquet")] == [("1", "2"), (), ("0",)]
    assert [tags for _, tags in read(tmp_path / "a.parquet", tag_column="pos")] == [("X", "X"), (), ("Y",)]
    path = jsonl(tmp_path / "a.jsonl", {"mine": ["O", "B-X"], "tokens": ["a", "b"]}, {"tokens": ["c"], "mine": ["O"]})
    assert read(path) == [(("a", "b"), ("O", "B-X")), (("c",), ("O",))]
    path = put(tmp_path / "b.json", json.dumps([{"tokens": ["a"]}, {"tokens": []}]))
    assert read(path) == [(("a",), None), ((), None)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a"], "tags": ["O", "O"]}, "a.jsonl:2: 1 words and 2 tags; give each word one tag"),
        ({"tokens": ["a", None], "tags": ["O", "O"]}, "a.jsonl:2: word 2 of 2 is missing"),
        ({"tokens": ["a", 7], "tags": ["O", "O"]}, "a.jsonl:2: word 2 of 2 is int '7', not text"),
        ({"tokens": None, "tags": ["O"]}, "a.jsonl:2: 'tokens' is missing"),
        ({"tokens": "a b", "tags": ["O"]}, "a.jsonl:2: 'tokens' is str 'a b'"),
        ({"tokens": ["a"]}, "a.jsonl:2: 'tags' is missing"),
        ({"tokens": ["a"], "tags": [None]}, "a.jsonl:2: tag 1 is None"),
        ({"tokens": ["a"], "tags": [-100]}, "a.jsonl:2: tag 1 is -100"),
        ({"tokens": ["\ud800"], "tags": ["O"]}, "a.jsonl:2: half a surrogate pair at character 1"),
    ],
)
def test_a_broken_row_of_words_is_named(tmp_path: Path, row: dict, message: str) -> None:
    assert message in fails(jsonl(tmp_path / "a.jsonl", {"tokens": ["x"], "tags": ["O"]}, row))


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"n": 1, "m": 2})
    assert "no column of words (tokens, words, token, word) and none of texts among n, m" in fails(path)
    assert "no column 'x'; name one of its columns: n, m" in fails(path, tag_column="x")
    assert "expected an object, found int" in fails(put(tmp_path / "b.jsonl", "1\n"))
    assert "there is no row in it" in fails(put(tmp_path / "c.jsonl", "\n"))


# texts with spans


@pytest.mark.parametrize(
    "spans",
    [
        [{"start": 0, "end": 7, "label": "PER"}, {"start": 16, "end": 19, "label": "LOC"}],
        [{"type": "LOC", "end": 19, "start": 16}, {"id": 3, "tag": "PER", "end": 7, "start": 0}],
        [[15, 19, "LOC"], [0, 8, "PER"], [0, 8, "PER"]],
        [{"start_offset": 0, "end_offset": 7, "label": "PER"}, [15, 19, "LOC"]],
    ],
    ids=["label", "type", "triples with blanks", "doccano"],
)
@pytest.mark.parametrize("column", ["entities", "spans", "labels"])
def test_spans_become_tags(tmp_path: Path, spans: list, column: str) -> None:
    text = "Ann Lee went to Ulm."
    found, notes = read_tagged(jsonl(tmp_path / "a.jsonl", {column: spans, "text": text}, {"text": "No!", column: []}))
    assert [one.words for one in found] == [("Ann", "Lee", "went", "to", "Ulm", "."), ("No", "!")]
    assert [one.tags for one in found] == [("B-PER", "I-PER", "O", "O", "B-LOC", "O"), ("O", "O")]
    assert found[0].text == text
    assert notes == [f"texts in column 'text', spans in {column!r}"]


def test_a_span_splits_the_words_it_cuts() -> None:
    found = of_text("Neu-Ulmer e\u0301", [(4, 7, "LOC"), (10, 11, "X")])
    assert found.words == ("Neu", "-", "Ulm", "er", "e", "\u0301")
    assert found.tags == ("O", "O", "B-LOC", "O", "B-X", "O")


def test_whole_words_carry_the_tag_of_their_first_entity() -> None:
    found = of_text("Neu-Ulmer Ulm e\u0301", [(4, 7, "LOC"), (10, 15, "LOC")])
    assert found.words == ("Neu", "-", "Ulm", "er", "Ulm", "e", "\u0301") and found.rests == (3, 6)
    assert whole(found).words == ("Neu", "-", "Ulmer", "Ulm", "e\u0301") and whole(whole(found)) == whole(found)
    tags = joined(found, found.tags or (), outside="O")
    assert tags == ["O", "O", "B-LOC", "B-LOC", "I-LOC"]
    assert spread(found, tags) == ["O", "O", "B-LOC", "I-LOC", "B-LOC", "I-LOC", "I-LOC"]
    late = of_text("preUlm", [(3, 6, "LOC")])
    assert joined(late, late.tags or (), outside="O") == ["B-LOC"]


@given(text=any_text(), data=st.data())
def test_tags_of_whole_words_spread_over_their_parts(text: str, data: st.DataObject) -> None:
    bounds = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [(a, b, "X") for a, b in zip(bounds[::2], bounds[1::2]) if split_words(text[a:b])]
    found = of_text(text, spans)
    assert whole(found).words == of_text(text).words
    tags = joined(found, found.tags or (), outside="O")
    assert len(tags) == len(whole(found).words)
    assert len(spread(found, tags)) == len(found.words)
    if not found.rests:
        assert tuple(spread(found, tags)) == found.tags


def test_texts_without_spans_have_no_tags(tmp_path: Path) -> None:
    assert read(put(tmp_path / "a.csv", "id,text\n1,Hi you\n")) == [(("Hi", "you"), None)]
    assert read(jsonl(tmp_path / "a.jsonl", {"text": "Hi", "entities": None, "label": "good"})) == [(("Hi",), None)]
    assert read(jsonl(tmp_path / "b.jsonl", {"text": ""})) == [((), None)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "Ann", "entities": [[0, 4, "X"]]}, "span 0 to 4 (X) is not inside the text of 3 characters"),
        ({"text": "Ann", "entities": [[-1, 2, "X"]]}, "span -1 to 2 (X) is not inside"),
        ({"text": "Ann", "entities": [[2, 2, "X"]]}, "span 2 to 2 (X) is not inside"),
        ({"text": "a  b", "entities": [[1, 3, "X"]]}, "span 1 to 3 (X) holds only blanks"),
        ({"text": "Ann Lee", "entities": [[0, 7, "X"], [4, 7, "Y"]]}, "spans overlap: 'Ann Lee' (X 0 to 7) and 'Lee'"),
        ({"text": "Ann", "entities": [[0, 3]]}, "[0, 3] is not a span"),
        ({"text": "Ann", "entities": [["0", 3, "X"]]}, "['0', 3, 'X'] is not a span"),
        ({"text": "Ann", "entities": [{"start": 0, "label": "X"}]}, 'is not a span; write {"start": 0'),
        ({"text": "Ann", "entities": "PER"}, "'entities' is str 'PER'"),
        ({"text": "Ann", "entities": None}, "'entities' is missing; write a list of"),
        ({"text": None, "entities": []}, "'text' is missing"),
        ({"text": "\ud83d", "entities": []}, "half a surrogate pair at character 1"),
    ],
)
def test_a_broken_span_is_named(tmp_path: Path, row: dict, message: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "Hi", "entities": []}, row)
    assert fails(path).startswith(f"{path}:2: ")
    assert message in fails(path)


@given(text=any_text(), data=st.data())
def test_spans_of_any_text_come_back_from_its_tags(text: str, data: st.DataObject) -> None:
    bounds = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [(a, b, data.draw(st.sampled_from(["X", "Y-z"]))) for a, b in zip(bounds[::2], bounds[1::2])]
    assume(all(split_words(text[a:b]) for a, b, _ in spans))
    found = of_text(text, spans)
    back = [(found.spans[first][0], found.spans[last][1], name) for name, first, last in spans_of(found.tags or ())]
    assert len(back) == len(spans)
    for (a, b, name), (start, end, same) in zip(spans, back):
        assert name == same and a <= start <= end <= b
        assert not split_words(text[a:start]) and not split_words(text[end:b])


@settings(max_examples=200, deadline=None)
@given(
    content=any_file({"tokens": ["a"], "ner_tags": ["O"]}) | any_file({"text": "a b", "entities": [[0, 1, "X"]]}),
    name=st.sampled_from(["a.jsonl", "a.json", "a.txt", "a.conll.gz"]),
)
def test_any_file_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = put(tmp_path_factory.getbasetemp() / name, gzip.compress(content) if name.endswith("gz") else content)
    try:
        found, _ = read_tagged(path)
        made, _ = unify({"all": found})
    except InputError as error:
        assert error.place.startswith(str(path)) and error.remedy
        return
    assert len(made["all"]) == len(found) > 0


# words


@given(text=any_text())
def test_words_are_all_that_is_not_blank(text: str) -> None:
    places = split_words(text)
    ends = [0, *(end for _, end in places)]
    starts = [*(start for start, _ in places), len(text)]
    assert all(start < end for start, end in places)
    assert all(not text[end:start].replace("\u200b", "").strip() for end, start in zip(ends, starts))
    assert all(not any(c.isspace() or c == "\u200b" for c in text[start:end]) for start, end in places)
    assert split_words(text, range(len(text))) == tuple(
        (i, i + 1) for i, c in enumerate(text) if not c.isspace() and c != "\u200b"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop_it!!", "Don ' t stop _ it ! !"),
        ("3.5% of R2-D2", "3 . 5 % of R2 - D2"),
        ("漢字と한국어 text", "漢 字 と 한국어 text"),
        ("हिन्दी की", "हिन्दी की"),
        ("cafe\u0301s", "cafe\u0301s"),
        ("ไทย", "ไ ท ย"),
        ("กำ น้ำ", "ก ำ น้ ำ"),
        ("👩\u200d🚀👍🏽🇩🇪🇫🇷❤\ufe0f#\ufe0f\u20e3", "👩\u200d🚀 👍🏽 🇩🇪 🇫🇷 ❤\ufe0f #\ufe0f\u20e3"),
        ("می\u200cخواهم co\u00adop", "می\u200cخواهم co\u00adop"),
        ("a\u200bb\u00a0c\u3000d", "a b c d"),
        ("Ünlïké Straße", "Ünlïké Straße"),
    ],
)
def test_words_of_several_scripts(text: str, words: str) -> None:
    assert [text[a:b] for a, b in split_words(text)] == words.split(" ")


# schemes


TYPES = st.sampled_from(["PER", "LOC", "a-b"])


@st.composite
def entities(draw: st.DrawFn) -> tuple[list[tuple[str, int, int]], int]:
    """Spans without overlap, and the number of words."""
    place, spans = 0, []
    for gap, size, name in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), TYPES), max_size=5)):
        spans.append((name, place + gap, place + gap + size - 1))
        place += gap + size
    return spans, place + draw(st.integers(0, 2))


def written(spans: list[tuple[str, int, int]], count: int, scheme: str) -> list[str]:
    tags = ["O"] * count
    for name, first, last in spans:
        for place in range(first, last + 1):
            prefix = "B" if place == first else "I"
            if scheme == "IOB1" and not (place == first and first and tags[first - 1].endswith("-" + name)):
                prefix = "I"
            if scheme in ("BIOES", "BILOU") and place == last:
                prefix = {"BIOES": "SE", "BILOU": "UL"}[scheme][first < last]
            tags[place] = f"{prefix}-{name}"
    return tags


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@given(rows=st.lists(entities(), min_size=1, max_size=5))
def test_every_scheme_says_the_same(scheme: str, rows: list) -> None:
    rows = [*rows, ([("PER", 0, 1), ("PER", 2, 2), ("LOC", 4, 5)], 6)]
    converted, found = to_iob2([written(spans, count, scheme) for spans, count in rows])
    assert found == ("BIOES" if scheme == "BILOU" else scheme)
    assert converted == [tags_of(spans, count) for spans, count in rows]
    assert [spans_of(tags) for tags in converted] == [spans for spans, _ in rows]
    again, same = to_iob2(converted)
    assert (again, same) == (converted, "IOB2")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in "XY")]), max_size=8))
def test_spans_as_conlleval_reads_them(tags: list[str]) -> None:
    assert spans_of(tags) == chunks(tags)


def test_classes_and_plain_types() -> None:
    assert to_iob2([["NN", "VB"], []]) == ([("NN", "VB"), ()], "classes")
    assert to_iob2([["3", "0"]]) == ([("3", "0")], "classes")
    assert to_iob2([["O", "PER", "PER"], ["LOC"]]) == ([("O", "B-PER", "I-PER"), ("B-LOC",)], "IO")
    assert to_iob2([["O"], []]) == ([("O",), ()], "IOB2")
    assert all_tags([("O", "I-X"), ("B-Y",)]) == ("O", "B-X", "I-X", "B-Y", "I-Y")
    assert all_tags([("NN", "VB", "NN")]) == ("NN", "VB")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["O", "I"], "here:1: tag 'I' of word 2 has no type; write I-PER"),
        (["B-"], "here:1: tag 'B-' of word 1 has no type; write B-PER"),
        (["B-PER", "LOC"], "here:1: tag 'LOC' of word 2 has no B- or I- in front; write B-, I- or O"),
        (["B", "I", "O"], "here:1: tag 'B' of word 1 has no type"),
    ],
)
def test_a_tag_that_means_nothing_is_named(tags: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        to_iob2([["O"], tags], places=["here:0", "here:1"])
    assert message in str(caught.value)
    with pytest.raises(InputError, match="row 2: "):
        to_iob2([["O"], tags])


def test_all_splits_are_read_in_one_scheme() -> None:
    """IOB1 that only one of the splits shows."""
    train = [of_words(["a", "b"], ["I-X", "B-X"]), of_words(["c"])]
    made, notes = unify({"train": train, "test": [of_words(["d", "e"], ["O", "O"])]})
    assert notes == ["tags in IOB1, read as IOB2"]
    assert [one.tags for one in made["train"]] == [("B-X", "B-X"), None]
    assert made["test"] == [Tagged(("d", "e"), ("O", "O"), "d e", ((0, 1), (2, 3)), "words")]
    _, notes = unify({"train": [of_words(["a", "b", "c"], ["B-X", "O", "I-X"]), of_words(["d"], ["B-X"])]})
    assert notes == ["tags in IOB2", "1 tags of these go on with nothing and were read as the beginning of an entity"]


@pytest.mark.data
def test_conll2003(data_folder: Path) -> None:
    train, notes = read_tagged(data_folder / "conll2003" / "train.parquet")
    assert notes == ["words in column 'tokens', tags in 'ner_tags'"]
    made, _ = unify({"train": train})
    assert len(train) == 14_041 and sum(len(one.words) for one in train) == 203_621
    counts = Counter(name for one in made["train"] for name, _, _ in spans_of(one.tags or ()))
    assert counts == {"LOC": 7_140, "MISC": 3_438, "ORG": 6_321, "PER": 6_600}
    assert all(one.text[a:b] == word for one in train for word, (a, b) in zip(one.words, one.spans))
