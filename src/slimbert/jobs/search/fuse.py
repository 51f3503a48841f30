"""Several rankings into one by their ranks alone, so that scores of different kinds need no common scale.

score(d) = sum over the rankings that hold d of 1 / (k + rank of d), ranks from 1
(reciprocal rank fusion: Cormack, Clarke and Büttcher 2009, SIGIR, section 3, with k = 60).
"""

from collections.abc import Sequence

import numpy as np

from .exact import Numbers, Ranked, best

K = 60


def fuse(rankings: Sequence[Numbers], *, top: int) -> Ranked:
    """rankings: of one query, numbers of passages, the best first. Equal scores: the lower number first."""
    numbers = np.unique(np.concatenate(rankings))
    scores = np.zeros(len(numbers))
    for ranking in rankings:
        scores[np.searchsorted(numbers, ranking)] += 1 / (K + np.arange(1, len(ranking) + 1))
    places = best(scores, top)
    return numbers[places], scores[places].astype(np.float32)
