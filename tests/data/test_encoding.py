"""Encoding by remembered words gives the tokenizer's own ids, for any Unicode and any tokenizer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, ByteLevelBPETokenizer

from slimbert.data import encoding
from slimbert.data.encoding import DocumentEncoder
from slimbert.data.tokenizer import TextTokenizer

CORPUS = ["The quick brown fox jumps over the lazy dog. Ünlïké ΣΊΣΥΦΟΣ 漢字 don't [stop]! i̇stanbul"] * 3
# Blanks, controls, combining marks, characters that grow when lowered, punctuation, names of special pieces.
AWKWARD = [
    *" \t\n\r\x0b\x0c\x1c\x85\xa0\u2028\u200b\u0300\u0327ΣİßŒﬁ漢字,.[]#'\x00a1",
    "[SEP]",
    "[mask]",
    "[MASK]",
    "fox",
    "<x>",
]
texts = st.lists(st.one_of(st.text(), st.lists(st.sampled_from(AWKWARD)).map("".join)), max_size=5)


def bytelevel(folder: Path) -> TextTokenizer:
    made = ByteLevelBPETokenizer()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(CORPUS, vocab_size=300, special_tokens=names, show_progress=False)
    made.save_model(str(folder))
    return TextTokenizer.load(folder)


@pytest.fixture(scope="module", params=["lower", "cased", "added", "bytes"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    if request.param == "bytes":
        return bytelevel(tmp_path_factory.mktemp("bytes"))
    made = TextTokenizer.train(CORPUS, 90, lowercase=request.param != "cased", min_frequency=1)
    if request.param == "added":
        made.inner.add_tokens([AddedToken("<x>"), AddedToken("qu", normalized=True)])
    return made


def encoded(encode: DocumentEncoder, documents: list[str]) -> tuple[list[int], list[int]]:
    raw = [text.encode() for text in documents]
    ids, lengths = encode(b"".join(raw), np.cumsum([len(text) for text in raw]).astype(np.int32))
    return ids.tolist(), lengths.tolist()


@settings(max_examples=150, deadline=None)
@given(first=texts, second=texts)
def test_ids_are_those_of_the_tokenizer(tokenizer: TextTokenizer, first: list[str], second: list[str]) -> None:
    encode = DocumentEncoder(tokenizer)
    for documents in (first, second, first):  # the last time from memory
        wanted = [tokenizer.inner.encode(text, add_special_tokens=False).ids for text in documents]
        ids, lengths = encoded(encode, documents)
        assert ids == [number for one in wanted for number in one]
        assert lengths == [len(one) for one in wanted]


def test_memory_starts_afresh_when_full(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = encoded(DocumentEncoder(tokenizer), CORPUS)
    monkeypatch.setattr(encoding, "_HELD_WORDS", 3)
    encode = DocumentEncoder(tokenizer)
    assert [encoded(encode, CORPUS) for _ in range(3)] == [wanted] * 3


def test_real_text(data_folder: Path) -> None:
    import pyarrow.parquet as pq

    documents = pq.read_table(data_folder / "wiki_en" / "test.parquet")["text"].to_pylist()[:40]
    made = TextTokenizer.train(documents, 2000)
    wanted = [one.ids for one in made.inner.encode_batch_fast(documents, add_special_tokens=False)]
    assert encoded(DocumentEncoder(made), documents)[0] == [number for one in wanted for number in one]
