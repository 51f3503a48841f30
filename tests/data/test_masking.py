"""Masking: exact counts, no special piece touched, 80/10/10, whole words, decided by the generator alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimbert.data.masking import Masking, Shown, pad
from slimbert.data.tokenizer import Special

PAD, UNK, CLS, SEP, MASK = range(5)


class Toy:
    """100 pieces: 5 special ones, 45 that begin a word, 50 that continue one."""

    special = Special(PAD, UNK, CLS, SEP, MASK)
    special_ids = np.arange(5, dtype=np.int32)
    vocab_size = 100
    continues = np.arange(100) >= 50


def rows_of(count: int, seq_len: int, seed: int) -> torch.Tensor:
    rows = torch.randint(0, 100, (count, seq_len), generator=torch.Generator().manual_seed(seed))
    rows[:, 0] = CLS
    return rows


def masked(rows: torch.Tensor, rate: float = 0.15, seed: int = 0, whole_word: bool = False) -> dict[str, torch.Tensor]:
    return Masking(rate, Toy(), whole_word=whole_word)(rows, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 5),
    seq_len=st.integers(1, 40),
    rate=st.floats(0.01, 0.99),
    seed=st.integers(0, 999),
    whole_word=st.booleans(),
    real=st.integers(0, 40),
)
def test_exact_counts_and_nothing_else_changed(
    count: int, seq_len: int, rate: float, seed: int, whole_word: bool, real: int
) -> None:
    rows = rows_of(count, seq_len, seed)
    rows[:, real:] = PAD
    made = masked(rows, rate, seed, whole_word)
    ordinary = rows > MASK
    wanted = max(1, round(rate * seq_len))
    assert made["positions"].shape == made["labels"].shape == made["weights"].shape == (count, wanted)
    assert (made["positions"].diff(dim=1) > 0).all()
    assert torch.equal(made["labels"], rows.gather(1, made["positions"]))
    assert torch.equal(made["weights"], ordinary.gather(1, made["positions"]).float())
    assert torch.equal(made["weights"].sum(1).long(), ordinary.sum(1).clamp(max=wanted))
    chosen = torch.zeros_like(ordinary).scatter(1, made["positions"], made["weights"].bool())
    assert torch.equal(made["input_ids"][~chosen], rows[~chosen])
    shown = made["input_ids"][chosen]
    assert ((shown > MASK) | (shown == MASK)).all()


def test_eighty_ten_ten_and_every_place_alike() -> None:
    rows = torch.randint(5, 100, (4000, 20), generator=torch.Generator().manual_seed(1))
    made = masked(rows)
    seen = made["input_ids"].gather(1, made["positions"])
    total = seen.numel()  # 12,000 draws: a standard deviation of 0.0037 for 0.8 and 0.0027 for 0.1
    assert abs((seen == MASK).sum().item() / total - 0.8) < 5 * 0.0037
    kept = 0.1 + 0.1 / 95  # a random piece is the piece itself once in 95
    assert abs((seen == made["labels"]).sum().item() / total - kept) < 5 * 0.0028
    drawn = seen[(seen != MASK) & (seen != made["labels"])]
    assert drawn.min() == 5
    assert drawn.max() == 99
    places = torch.bincount(made["positions"].flatten(), minlength=20) / 4000  # 0.15 each, deviation 0.0056
    assert (places - 0.15).abs().max() < 5 * 0.0056


@pytest.mark.parametrize("shown", [Shown(0.85, 0.0), Shown(1.0, 0.0), Shown(0.0, 1.0), Shown(0.0, 0.0)])
def test_other_shares_are_shown(shown: Shown) -> None:
    """The places are those of any other shares: only what stands there changes."""
    rows = torch.randint(5, 100, (1000, 20), generator=torch.Generator().manual_seed(1))
    made = Masking(0.15, Toy(), shown=shown)(rows, generator=torch.Generator().manual_seed(0))
    assert torch.equal(made["positions"], masked(rows)["positions"])
    seen = made["input_ids"].gather(1, made["positions"])
    hidden, kept = (seen == MASK).float().mean().item(), (seen == made["labels"]).float().mean().item()
    assert hidden == pytest.approx(shown.mask, abs=5 * 0.0066)  # 3,000 draws of 0.85: a deviation of 0.0065
    assert kept == pytest.approx(1 - shown.mask - shown.random + shown.random / 95, abs=5 * 0.0066)


def test_the_generator_decides() -> None:
    rows = rows_of(8, 32, 0)
    first, again, other = masked(rows, seed=3), masked(rows, seed=3), masked(rows, seed=4)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["positions"], other["positions"])


@settings(max_examples=60, deadline=None)
@given(seq_len=st.integers(4, 60), rate=st.floats(0.05, 0.6), seed=st.integers(0, 999))
def test_at_most_one_word_is_cut(seq_len: int, rate: float, seed: int) -> None:
    rows = rows_of(4, seq_len, seed)
    made = masked(rows, rate, seed, whole_word=True)
    for row, positions, weights in zip(rows.tolist(), made["positions"].tolist(), made["weights"].tolist()):
        chosen = {place for place, weight in zip(positions, weights) if weight}
        words: list[list[int]] = []
        for place, piece in enumerate(row):
            if piece > MASK and (piece < 50 or row[place - 1] <= MASK):
                words.append([])
            if piece > MASK:
                words[-1].append(place)
        cut = [word for word in words if chosen & set(word) and set(word) - chosen]
        assert len(cut) <= 1


def test_whole_words_are_chosen_as_often_as_any_and_rarely_cut() -> None:
    sizes = [1, 2, 1, 3, 1, 1, 2, 4, 1, 1, 2, 1]  # one row of 20 pieces; 0.25 of it are 5
    row = torch.tensor([piece for size in sizes for piece in [10, 60, 60, 60][:size]])
    made = masked(row.repeat(4000, 1), 0.25, whole_word=True)
    word = torch.tensor([number for number, size in enumerate(sizes) for _ in range(size)])
    chosen = torch.zeros(4000, 20).scatter(1, made["positions"], 1.0)
    share = torch.zeros(4000, len(sizes)).index_add(1, word, chosen) / torch.tensor(sizes)
    assert ((share > 0) & (share < 1)).any(1).float().mean() < 0.02
    assert share.mean(0).min() > 0.1


def test_padding_goes_to_the_next_multiple_of_the_longest() -> None:
    made = pad([np.array([1, 2, 3]), np.array([4])], 9, multiple=4)
    assert made.tolist() == [[1, 2, 3, 9], [4, 9, 9, 9]]
    assert pad([np.arange(9)], 0).shape == (1, 16)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Masking(0.0, Toy())
