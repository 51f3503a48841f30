"""TF-IDF of texts and pairs: words and word pairs with sublinear counts.

Pairs are shown as both texts and as what they share and do not share: with t(x) the TF-IDF row of a text,
[t(a), t(b), t(a) * t(b), |t(a) - t(b)|, cosine]: a linear model cannot compare texts that only stand in a row.
"""

import re
from collections.abc import Sequence
from typing import Any

from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

MOST_FEATURES = 200_000  # the most frequent words and word pairs ...
MOST_WEIGHTS = 10_000_000  # ... fewer where there are many classes: the solver keeps some 25 numbers for each weight
Texts = Sequence[Any]  # strings or pairs of strings


def vectorizer(texts: Texts, *, classes: int = 1) -> TfidfVectorizer:
    """Fitted to the words of these texts. classes: that one model is to tell apart by them."""
    each = [text for row in texts for text in ((row,) if isinstance(row, str) else row)]
    pattern = r"\b\w+\b" if any(re.search(r"\w", text) for text in each) else r"\S"  # emoji alone are no words
    alone = not len(texts) or isinstance(texts[0], str)
    most = min(MOST_FEATURES, MOST_WEIGHTS // (classes * (1 if alone else 4)))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=max(most, 1), token_pattern=pattern)
    return words.fit(each)


def features(words: TfidfVectorizer, texts: Texts) -> Any:
    """[N, F] sparse; for pairs [N, 4 F + 1]."""
    if not texts or isinstance(texts[0], str):
        return words.transform(texts)
    first = words.transform([pair[0] for pair in texts])
    second = words.transform([pair[1] for pair in texts])
    shared = first.multiply(second)
    return hstack([first, second, shared, abs(first - second), csr_matrix(shared.sum(axis=1))], format="csr")
