"""Words and contexts in pieces: every word owned once, every piece at its place, for any text and any tokenizer."""

import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from data.tongues import KINDS, TEXTS, any_text, roberta_files
from slimbert.data.alignment import encode_words
from slimbert.data.contexts import encode_with_offsets
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError

WORDS = [*TEXTS[0].replace(",", " ,").split(), "said", "nobody"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> TextTokenizer:
    return KINDS[request.param]()


# words


@settings(max_examples=120, deadline=None)
@given(
    rows=st.lists(st.lists(any_text(3), max_size=14), max_size=3),
    max_len=st.integers(4, 24),
    stride=st.integers(0, 8),
)
@example(rows=[["\u0301", "a", "\x00", "", "\ufe0f"], [], ["x" * 300, "b"]], max_len=6, stride=2)
def test_every_word_of_any_text_is_owned_once(
    tokenizer: TextTokenizer, rows: list[list[str]], max_len: int, stride: int
) -> None:
    windows = encode_words(tokenizer, rows, max_len=max_len, stride=stride)
    owned: list[list[int]] = [[] for _ in rows]
    whole = encode_words(tokenizer, rows, max_len=100_000)
    assert [window.row for window in whole] == list(range(len(rows)))
    for window in windows:
        row, (begin, end) = rows[window.row], window.owned
        assert len(window.ids) == len(window.word) <= max_len
        owned[window.row] += range(begin, end)
        assert (np.diff(window.first_pieces) > 0).all()
        assert window.word[window.first_pieces].tolist() == list(range(begin, end))
        inside = window.word[window.word >= 0]
        assert (np.diff(inside) >= 0).all()
        assert set(range(begin, end)) <= set(inside.tolist())
        cut = False
        for number in set(inside.tolist()):  # as in the whole row, but for a word longer than the window
            here, there = window.ids[window.word == number], whole[window.row].ids[whole[window.row].word == number]
            assert np.array_equal(here, there[: max_len - 2])
            cut |= len(here) < len(there)
        if len(inside) and not cut:
            alone = encode_words(tokenizer, [row[inside[0] : inside[-1] + 1]], max_len=100_000)[0]
            assert np.array_equal(alone.ids, window.ids)
    assert owned == [list(range(len(row))) for row in rows]


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 60), max_len=st.integers(6, 20), stride=st.integers(0, 12), seed=st.integers(0, 99))
def test_a_word_is_owned_where_it_has_most_context(count: int, max_len: int, stride: int, seed: int) -> None:
    row = np.random.default_rng(seed).choice(WORDS, count).tolist()
    windows = encode_words(KINDS["wordpiece"](), [row], max_len=max_len, stride=stride) if count else []
    spans = [(int(w.word[w.word >= 0][0]), int(w.word[w.word >= 0][-1])) for w in windows]

    def context(word: int, first: int, last: int) -> int:
        left = word - first if first else count
        return min(left, last - word if last < count - 1 else count)

    for window, (first, last) in zip(windows, spans):
        for word in range(*window.owned):
            others = [context(word, *other) for other in spans if other[0] <= word <= other[1]]
            assert context(word, first, last) == max(others)
    for (_, last), (first, _) in pairwise(spans):
        assert last - first + 1 <= stride
        assert first <= last + 1


def test_a_word_without_a_piece_is_the_unknown_one(tokenizer: TextTokenizer) -> None:
    window = encode_words(tokenizer, [["a", "", "b"]], max_len=20)[0]
    assert window.ids[window.word == 1].tolist() == [tokenizer.special.unk]
    if tokenizer.kind == "WordPiece":
        window = encode_words(tokenizer, [["\x00", "\ufe0f", "fox", "\u200d"]], max_len=20)[0]
        assert [window.ids[window.word == n].tolist() == [tokenizer.special.unk] for n in range(4)] == [
            *(True, True, False, True)
        ]


def test_words_are_the_pieces_of_the_text(tokenizer: TextTokenizer) -> None:
    """Joined by blanks, plain words give the same ids; byte-level ones behind a blank."""
    text = " ".join(WORDS)
    blank = " " if tokenizer.kind == "BPE" else ""
    window = encode_words(tokenizer, [WORDS], max_len=200)[0]
    assert np.array_equal(window.ids, tokenizer.encode([blank + text], 200)[0])


def test_words_as_transformers_gives_them(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, RobertaTokenizerFast

    roberta_files(tmp_path)
    rows = [WORDS, ["Ünlïké", "漢字", "don't", "👍🏽", "straße", "\ttab"]]
    theirs = RobertaTokenizerFast.from_pretrained(tmp_path, add_prefix_space=True)
    _same_words(TextTokenizer.load(tmp_path), theirs, rows)
    KINDS["wordpiece"]().save(tmp_path / "bert")
    _same_words(TextTokenizer.load(tmp_path / "bert"), AutoTokenizer.from_pretrained(tmp_path / "bert"), rows)


def _same_words(ours: TextTokenizer, theirs, rows: list[list[str]]) -> None:
    made = theirs(rows, is_split_into_words=True)
    for window in encode_words(ours, rows, max_len=500):
        assert made["input_ids"][window.row] == window.ids.tolist()
        expected = [-1 if word is None else word for word in made.word_ids(window.row)]
        assert expected == window.word.tolist()


def test_a_byte_level_tokenizer_with_its_own_blank_is_left_alone() -> None:
    ours = KINDS["byte_level"]()
    other = TextTokenizer(Tokenizer.from_str(ours.inner.to_str()), {})
    other.inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True)])
    plain, prefixed = (encode_words(one, [WORDS], max_len=99)[0] for one in (ours, other))
    assert np.array_equal(plain.ids, prefixed.ids)


def test_what_does_not_fit_is_named(tokenizer: TextTokenizer) -> None:
    with pytest.raises(InputError, match="2 of them are special"):
        encode_words(tokenizer, [WORDS], max_len=2)
    with pytest.raises(InputError, match="-1 is negative"):
        encode_words(tokenizer, [WORDS], max_len=20, stride=-1)
    with pytest.raises(InputError, match="are special"):
        encode_with_offsets(tokenizer, [("a", "b")], max_len=5)
    with pytest.raises(InputError, match="whole characters"):
        encode_words(tokenizer, [["\ud800"]], max_len=20)


# questions with contexts


@settings(max_examples=150, deadline=None)
@given(pairs=st.lists(st.tuples(any_text(4), any_text()), max_size=3), max_len=st.integers(10, 40), data=st.data())
def test_every_piece_of_any_context_stands_at_its_place(
    tokenizer: TextTokenizer, pairs: list[tuple[str, str]], max_len: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(0, max_len))
    windows = encode_with_offsets(tokenizer, pairs, max_len=max_len, stride=stride)
    covered = [np.zeros(len(context), bool) for _, context in pairs]
    assert {window.row for window in windows} == set(range(len(pairs)))
    for window in windows:
        context = pairs[window.row][1]
        assert len(window.ids) == len(window.types) == len(window.offsets) == len(window.context_mask) <= max_len
        assert not window.offsets[~window.context_mask].any()
        places = window.offsets[window.context_mask]
        assert (np.diff(places[:, 0]) >= 0).all()
        for number, (start, end) in zip(window.ids[window.context_mask].tolist(), places.tolist()):
            assert 0 <= start <= end <= len(context)
            covered[window.row][start:end] = True
            assert is_in(tokenizer, number, context[start:end]), (tokenizer.pieces[number], context[start:end])
    for seen, (_, context) in zip(covered, pairs):
        assert all(seen[i] for i, character in enumerate(context) if character.isalnum())


@cache
def _visible_bytes() -> dict[str, int]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


def is_in(tokenizer: TextTokenizer, number: int, text: str) -> bool:
    """Whether a text holds what the piece says, as far as the piece says anything."""
    piece = tokenizer.pieces[number]
    if number == tokenizer.special.unk:
        return bool(text)
    if tokenizer.kind == "BPE":
        table = _visible_bytes()
        return bytes(table[character] for character in piece).strip() in text.encode()
    if tokenizer.kind == "Unigram":
        return piece.replace("▁", "").strip() in unicodedata.normalize("NFKC", text)
    return piece.removeprefix("##") in tokenizer.inner.normalizer.normalize_str(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("at cafe\u0301 noir", "cafe\u0301"),
        ("İstanbul straße", "İstanbul"),
        ("in straße.", "straße"),
        ("das ﬁx und", "ﬁx"),
        ("nach 字漢 hin", "漢"),
        ("das \u1100\u1161 ist", "\u1100\u1161"),
        ("gut 👩\u200d🚀 so", "👩\u200d🚀"),
        ("co\u00adoperate \u0627\u0644", "co\u00adoperate"),
        ("एक हिन्दी शब्द", "हिन्दी"),
        ("  blank \u3000 ends", "ends"),
    ],
)
def test_an_answer_is_found_and_given_back_whole(tokenizer: TextTokenizer, text: str, part: str) -> None:
    window = encode_with_offsets(tokenizer, [("what", text)], max_len=100)[0]
    found = window.locate(text.index(part), text.index(part) + len(part))
    assert found is not None
    assert text[window.offsets[found[0], 0] : window.offsets[found[1], 1]] == part


def test_a_window_says_when_it_does_not_hold_an_answer() -> None:
    tokenizer = KINDS["wordpiece"]()
    windows = encode_with_offsets(tokenizer, [("what", TEXTS[0])], max_len=16, stride=4)
    answer = TEXTS[0].index("lazy dog")
    found = [window.locate(answer, answer + 8) for window in windows]
    assert any(found) and not all(found)
    for window, place in zip(windows, found):
        if place:
            assert TEXTS[0][window.offsets[place[0], 0] : window.offsets[place[1], 1]] == "lazy dog"
    empty = encode_with_offsets(tokenizer, [("what", "")], max_len=16)
    assert [window.locate(0, 0) for window in empty] == [None]


def test_a_long_question_is_cut_and_that_is_said() -> None:
    windows = encode_with_offsets(KINDS["wordpiece"](), [(TEXTS[0] * 3, TEXTS[1]), ("what", "fox")], max_len=32)
    assert {(window.row, window.question_cut) for window in windows} == {(0, True), (1, False)}
    assert all(np.count_nonzero(window.context_mask) <= 32 - 16 - 3 for window in windows[:-1])


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level"])
def test_windows_as_transformers_gives_them(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ours = KINDS[kind]()
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    pairs = [("Who jumps?", " ".join(TEXTS[:3])), ("what", "fox"), ("Which dog is lazy", TEXTS[2] * 2)]
    made = theirs(
        *([pair[side] for pair in pairs] for side in (0, 1)),
        truncation="only_second",
        max_length=50,
        stride=10,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    windows = encode_with_offsets(ours, pairs, max_len=50, stride=10)
    assert made["overflow_to_sample_mapping"] == [window.row for window in windows]
    assert made["input_ids"] == [window.ids.tolist() for window in windows]
    if kind == "wordpiece":
        assert made["token_type_ids"] == [window.types.tolist() for window in windows]
    for number, window in enumerate(windows):
        context = np.array([side == 1 for side in made.sequence_ids(number)])
        assert np.array_equal(context, window.context_mask)
        theirs_there = np.array(made["offset_mapping"][number])[context]
        assert np.array_equal(theirs_there[:, 1], window.offsets[context][:, 1])
        assert (theirs_there[:, 0] <= window.offsets[context][:, 0]).all()  # theirs may hold the blank in front
