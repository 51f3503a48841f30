"""Many documents -> ids, exactly as the tokenizer gives them, only faster: a word is encoded once, then looked up.

BERT's own normalizer and splitter treat text between two blanks independently of the rest, and a corpus repeats its
words. So the text is cut at blanks and its words numbered (both in Arrow), new words are encoded once, and the ids of
all words are gathered. Where that is not exact (other splitters, pieces with blanks) the tokenizer encodes the texts.
"""

import itertools
import json
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .tokenizer import TextTokenizer

Ids = npt.NDArray[np.int32]
Lengths = npt.NDArray[np.int64]
_BLANKS = bytes.maketrans(b"\t\n\r", b"   ")  # all that the normalizer turns into a blank, but for rare non-ASCII ones
_HELD_WORDS, _HELD_BYTES = 1 << 20, 1 << 26  # then the memory of words starts afresh


class DocumentEncoder:
    """(text, ends) -> (ids, lengths), without special pieces; keeps the words it has seen."""

    def __init__(self, tokenizer: TextTokenizer):
        self._inner = tokenizer.inner
        self._splits = _treats_words_alone(tokenizer)
        if self._splits:
            self._encode_plain = _plain_encoder(tokenizer)
        self._numbers: dict[str, int]  # word -> its number; the ids of word i are _ids[_starts[i] :][: _sizes[i]]
        self._ids: Ids
        self._starts: Lengths
        self._sizes: Lengths
        self._forget()

    def __call__(self, text: bytes, ends: npt.NDArray[np.int32]) -> tuple[Ids, Lengths]:
        """text: the documents in UTF-8 one behind the other; ends: [n] where each ends -> ids [N], lengths [n]."""
        offsets = np.concatenate([np.zeros(1, np.int32), ends])
        if not self._splits:
            texts = [text[start:end].decode() for start, end in itertools.pairwise(offsets)]
            encoded = self._inner.encode_batch_fast(texts, add_special_tokens=False)
            return _flat([one.ids for one in encoded])
        blanked = pa.py_buffer(text.translate(_BLANKS))
        documents = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), blanked)
        split = pc.split_pattern(documents, " ")
        words = split.flatten().dictionary_encode()
        numbers = self._number(words.dictionary.to_pylist())[words.indices.to_numpy()]
        return self._gather(numbers, split.offsets.to_numpy())

    def _gather(self, numbers: Ids, word_offsets: npt.NDArray[np.int32]) -> tuple[Ids, Lengths]:
        """numbers: [words] of all documents; word_offsets: [n + 1] where those of each document begin."""
        sizes = self._sizes[numbers]
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        ids = self._ids[np.repeat(self._starts[numbers] - (ends - sizes), sizes) + np.arange(total)]
        passed = np.concatenate([np.zeros(1, np.int64), ends])
        return ids, np.diff(passed[word_offsets])

    def _number(self, words: list[str]) -> Ids:
        """[n]: the number under which each word is held; new ones are encoded first."""
        if len(self._numbers) > _HELD_WORDS or self._bytes > _HELD_BYTES:
            self._forget()
        new = [word for word in words if word not in self._numbers]
        if new:
            ids, sizes = _flat(self._encode_plain(new))
            starts = len(self._ids) + np.cumsum(sizes) - sizes
            self._numbers.update(zip(new, range(len(self._numbers), len(self._numbers) + len(new))))
            self._ids = np.concatenate([self._ids, ids])
            self._starts = np.concatenate([self._starts, starts])
            self._sizes = np.concatenate([self._sizes, sizes])
            self._bytes += sum(map(len, new))
        return np.fromiter(map(self._numbers.__getitem__, words), np.int32, len(words))

    def _forget(self) -> None:
        self._numbers = {}
        self._bytes = 0
        self._ids = np.zeros(0, np.int32)
        self._starts = np.zeros(0, np.int64)
        self._sizes = np.zeros(0, np.int64)


def _flat(encoded: list[list[int]]) -> tuple[Ids, Lengths]:
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    ids = np.fromiter(itertools.chain.from_iterable(encoded), np.int32, int(lengths.sum()))
    return ids, lengths


def _treats_words_alone(tokenizer: TextTokenizer) -> bool:
    """Whether the ids of a text are those of its parts between blanks, one behind the other."""
    state = json.loads(tokenizer.inner.to_str())
    kinds = [(state[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and not any(
        piece.lstrip or piece.rstrip or piece.single_word or re.search(r"\s", piece.content)
        for piece in tokenizer.inner.get_added_tokens_decoder().values()
    )


def _plain_encoder(tokenizer: TextTokenizer) -> Callable[[list[str]], list[list[int]]]:
    """Words without blanks -> ids. Printable ASCII is cut at punctuation here and its parts are remembered too."""
    inner, model = tokenizer.inner, tokenizer.inner.model
    lowercase = bool(inner.normalizer.lowercase)
    added = [piece.content for piece in inner.get_added_tokens_decoder().values()]
    holds_added = re.compile("|".join(map(re.escape, added)) if added else r"(?!)", re.IGNORECASE)
    parts = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]").findall
    known: dict[str, list[int]] = {}

    def part_ids(name: str) -> list[int]:
        ids = known.get(name)
        if ids is None:
            ids = known[name] = [token.id for token in model.tokenize(name)]
        return ids

    def encode(words: list[str]) -> list[list[int]]:
        if len(known) > _HELD_WORDS:
            known.clear()
        made: list[list[int]] = []
        others: list[int] = []  # places of words that the whole tokenizer must see
        for place, word in enumerate(words):
            if not (word.isascii() and word.isprintable()) or holds_added.search(word):
                others.append(place)
                made.append([])
                continue
            cased = word.lower() if lowercase else word
            made.append(part_ids(cased) if cased.isalnum() else [n for part in parts(cased) for n in part_ids(part)])
        rest = inner.encode_batch_fast([words[place] for place in others], add_special_tokens=False)
        for place, one in zip(others, rest):
            made[place] = one.ids
        return made

    return encode
