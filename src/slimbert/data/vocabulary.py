"""A WordPiece vocabulary from texts, the same one each time.

The trainer of the `tokenizers` library merges the most frequent pair of pieces first (Wu et al. 2016, arXiv:1609.08144,
section 4.1, merge by likelihood instead). Alone, it breaks ties by the order of a hash table, so that two trainings on
one text differ. Here the words are counted first, and the alphabet gets its numbers before the trainer starts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ALPHABET = 1000  # characters that get a piece of their own; the value of the library's own BERT trainer
PREFIX = "##"
_HELD = 1 << 20  # distinct texts between blanks that are held before they are split into words


def count_words(texts: Iterable[str], like: Tokenizer) -> Counter[str]:
    """How often each word occurs, words being what the normalizer and pre-tokenizer of `like` make of the texts."""
    words: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(text.split())
        if len(raw) > _HELD:
            _split(raw, words, like)
    _split(raw, words, like)
    return words


def _split(raw: Counter[str], words: Counter[str], like: Tokenizer) -> None:
    for text, count in raw.items():
        for word, _ in like.pre_tokenizer.pre_tokenize_str(like.normalizer.normalize_str(text)):
            words[word] += count
    raw.clear()


def wordpiece(words: Counter[str], vocab_size: int, *, special: list[str], min_frequency: int) -> list[str]:
    """Pieces in the order of their ids: special, characters inside words, characters, then merges by count."""
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
        inside.update(word[1:])
    limit = min(ALPHABET, (vocab_size - len(special)) // 2)
    alphabet = sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[:limit])
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        show_progress=False,
        special_tokens=special + [PREFIX + letter for letter in alphabet if letter in inside],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=PREFIX,
    )
    inner = Tokenizer(models.WordPiece(unk_token=special[0]))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.train_from_iterator(_written(words), trainer)
    pieces = inner.get_vocab(with_added_tokens=True)
    return sorted(pieces, key=lambda piece: pieces[piece])


def _written(words: Counter[str]) -> Iterator[str]:
    """Every word as often as it was counted, at most 1,000 at once."""
    for word, count in words.items():
        for start in range(0, count, 1000):
            yield " ".join([word] * min(1000, count - start))
