"""Texts as the mean of their tokens' static embeddings: the token table of an encoder without the encoder.

A text is the mean of the table's rows of its pieces, without the special ones at its ends, scaled to length 1. No
layer runs: what an encoder adds to its own table is the difference to this.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.tokenizer import TextTokenizer
from ..model import Model

Floats = NDArray[np.float32]
PORTION = 1024  # texts that are tokenized together


def token_table(model: Model) -> Floats:
    """[V, W] the rows of the token table; W is narrower than the encoder where the embedding is factorised."""
    weight = model.encoder.embedding.token.weight
    found: Floats = weight.detach().float().cpu().numpy()
    return found


def static_vectors(table: Floats, tokenizer: TextTokenizer, texts: Sequence[str], *, max_len: int) -> Floats:
    """[N, W] of length 1, or 0 for a text without a piece; of each text so many pieces as an encoder would read."""
    special = tokenizer.special
    ends = [special.cls, special.sep, special.pad]
    out = np.zeros((len(texts), table.shape[1]), dtype=np.float32)
    for first in range(0, len(texts), PORTION):
        for row, ids in enumerate(tokenizer.encode(texts[first : first + PORTION], max_len), first):
            inner = ids[~np.isin(ids, ends)]
            if len(inner):
                out[row] = table[inner].mean(axis=0)
    scaled: Floats = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12).astype(np.float32)
    return scaled
