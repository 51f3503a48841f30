"""Which rows make a batch: a pure function of the seed and the step, so that resuming needs the step number alone."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
_ROUNDS = 6  # of the Feistel network; 4 already look random (Luby and Rackoff 1988), two more cost nothing


class Sampler:
    """Batches of `batch_size` row numbers below `rows`; every epoch is another permutation.

    The rows follow one another over the ends of the epochs, so every batch is full, and each row comes once an epoch.
    The permutation is computed place by place (a Feistel network with cycle walking): no memory grows with `rows`.
    """

    def __init__(self, rows: int, batch_size: int, *, seed: int):
        if rows < 1 or batch_size < 1:
            raise ValueError(f"a sampler needs rows and a batch size of at least 1, got {rows} and {batch_size}")
        self.rows, self.batch_size, self.seed = rows, batch_size, seed

    def batch(self, step: int) -> Index:
        """[batch_size] int64: the row numbers of update `step`, counted from 0."""
        places = np.arange(self.batch_size, dtype=np.int64) + step * self.batch_size
        epochs = places // self.rows
        rows = places % self.rows
        for epoch in np.unique(epochs):
            rows[epochs == epoch] = permuted(rows[epochs == epoch], self.rows, seed=self.seed, epoch=int(epoch))
        return rows


def permuted(places: Index, count: int, *, seed: int, epoch: int) -> Index:
    """Where a random permutation of range(count) sends `places`; another one for every seed and epoch."""
    bits = max(2, (count - 1).bit_length())
    keys = np.random.default_rng([seed, epoch]).integers(2**63, size=_ROUNDS, dtype=np.uint64)
    made = places.astype(np.uint64)
    outside = np.ones(len(made), np.bool_)  # walk on until all lie below count; the network permutes range(2**bits)
    while outside.any():
        made[outside] = _feistel(made[outside], bits, keys)
        outside = made >= count
    return made.astype(np.int64)


def _feistel(numbers: npt.NDArray[np.uint64], bits: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A permutation of range(2**bits); an even number of keys, as the two parts change places at each."""
    low = bits - bits // 2
    sizes = (np.uint64(bits // 2), np.uint64(low))
    left, right = numbers >> np.uint64(low), numbers & _ones(sizes[1])
    for place, key in enumerate(keys):
        left, right = right, left ^ (_mixed(right ^ key) & _ones(sizes[place % 2]))
    return (left << np.uint64(low)) | right


def _ones(bits: np.uint64) -> np.uint64:
    return np.uint64((1 << int(bits)) - 1)


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014, figure 17): every bit of the result depends on all."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def length_buckets(lengths: npt.NDArray[np.integer], batch_size: int, *, seed: int, epoch: int) -> list[Index]:
    """All rows once, in batches of similar length, the batches in random order.

    lengths: [n]. Lengths are blurred by up to a twentieth, so that every epoch has other batches.
    """
    random = np.random.default_rng([seed, epoch])
    order = np.argsort(lengths * random.uniform(0.95, 1.05, len(lengths)), kind="stable").astype(np.int64)
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    return [batches[place] for place in random.permutation(len(batches))]


def similar_rows(lengths: npt.NDArray[np.integer], *, most: int, pass_tokens: int) -> Iterator[Index]:
    """All rows once, the longest first: at most `most` together, fewer where padding would cost more than another pass.

    lengths: [n]; pass_tokens: as of `thrifty_parts`.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    for first in range(0, len(order), most):
        group = order[first : first + most]
        sizes = lengths[group]
        if len(group) * int(sizes[0]) - int(sizes.sum()) <= pass_tokens:
            yield group
        else:
            parts = thrifty_parts(sizes, max_tokens=None, pass_tokens=pass_tokens)
            yield from (group[part] for part in reversed(parts))


def thrifty_parts(lengths: npt.NDArray[np.integer], *, max_tokens: int | None, pass_tokens: int) -> list[Index]:
    """All rows once, in parts of similar length that cost least in sum: the shortest part first, in it the longest row.

    lengths: [n]. A part costs its tokens, padded to its longest row, and `pass_tokens` more, so that there are few. It
    has at most `max_tokens`, or a single row. Among all parts those of neighbours in length are the cheapest: with the
    longest rows in the part of the longest row, and so on, no part is longer than before. n steps of n sums: tens of ms
    for 500 rows, a few for 64.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    sizes = lengths[order].astype(np.int64)
    most = np.iinfo(np.int64).max if max_tokens is None else max_tokens
    least, begin = np.zeros(len(order) + 1, np.int64), np.zeros(len(order) + 1, np.int64)
    for end in range(1, len(order) + 1):  # the cheapest parts of the first `end` rows; their last one begins at `begin`
        tokens = sizes[:end] * np.arange(end, 0, -1)  # of a last part that begins at each place, falling
        first = min(int(np.searchsorted(-tokens, -most)), end - 1)
        costs = least[first:end] + tokens[first:] + pass_tokens
        begin[end], least[end] = first + costs.argmin(), costs.min()
    parts: list[Index] = []
    end = len(order)
    while end > 0:
        parts.append(order[begin[end] : end])
        end = int(begin[end])
    return parts
