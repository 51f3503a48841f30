"""A model in its narrow form is rebuilt by its config; places and kept rows that cannot be are one line."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.model import Place, exact_place, narrow
from slimbert.model.cost import cost
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.model.heads import EmbedConfig, MaskedLmConfig, PoolerConfig, SequenceConfig
from slimbert.model.kept import MULTIPLE, check_head, check_select, kept_places
from slimbert.model.model import Model, ModelConfig, fill, skeleton
from slimbert.model.narrowing import is_exact
from slimbert.model.presets import bert_base, from_pattern
from slimbert.parts import absorbed
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.state import pick, scatter
from toys import DIM, Batch, encoder_of, model_of, toy_encoder

SIZES: dict[str, Any] = {"dim": 32, "head_dim": 8, "vocab": 40, "max_len": 16}
FOUR = from_pattern("4{sf}", **SIZES)


@pytest.mark.parametrize("head", [None, MaskedLmConfig(tied=False), SequenceConfig(labels=("a", "b"))])
@pytest.mark.parametrize("place", [Place(0), Place(2), Place(2, 1), Place(4)])
def test_the_narrow_form_is_rebuilt_by_its_config(place: Place, head: Any):
    model = model_of(FOUR, head)
    made = narrow(model, place)
    again = fill(skeleton(made.config), {n: t.clone() for n, t in made.state_dict().items()}).eval()
    ids = Batch().ids
    assert_close(again(ids), made(ids), rtol=0, atol=0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(0.0)
    assert all(parameter.any() for parameter in model.parameters())
    assert not made.training


@pytest.mark.parametrize("head", [DactConfig(labels=("a", "b"), units=4), ExitsConfig(labels=("a", "b"), units=4)])
@pytest.mark.parametrize("at", [3, 4])
def test_a_model_that_halts_answers_the_same_in_its_narrow_form(head: Any, at: int):
    """Also behind its last layer: a narrowing is no trace point, so that no unit is asked twice."""
    model, batch = model_of(FOUR, head), Batch()
    made, first = narrow(model, Place(at)), torch.zeros(3, 1, dtype=torch.long)
    for trace in ("rows", "states"):
        encoded = made.encoder(batch.ids, mask=batch.mask, select=first, trace=trace)
        assert len(encoded.trace) == made.config.encoder.points() == 4
    answers = [some(batch.ids, mask=batch.mask, select=first) for some in (model, made)]
    assert_close(answers[1], answers[0], rtol=2e-5, atol=2e-5)  # float32, sums in another order


def test_patterns_of_the_narrow_forms():
    """As they are written: --at 2 is 2{sf}:2{sf}, the exact place is 3{sf}:sf, inside the layer it is 3{sf},s:f."""
    for place, pattern in ((Place(2), "2{sf}:2{sf}"), (Place(3), "3{sf}:sf"), (Place(3, 1), "3{sf},s:f")):
        assert narrow(model_of(FOUR), place).config.encoder == from_pattern(pattern, **SIZES)
    assert exact_place(FOUR) == Place(3)
    assert [is_exact(FOUR, Place(at)) for at in range(5)] == [False, False, False, True, True]


def test_an_encoder_that_mixes_nothing_narrows_at_once():
    model = model_of(encoder_of(MlpConfig(hidden=8), MlpConfig(hidden=8)))
    place = exact_place(model.config.encoder)
    assert place == Place(0)
    assert narrow(model, place).config.encoder.layers[0] == NarrowConfig(memory=False)


@pytest.mark.parametrize(
    ("model", "place", "message"),
    [
        (model_of(toy_encoder()), Place(1), r"config\.encoder\.layers\[2\]: narrows already"),
        (model_of(FOUR), Place(5), "--at: 5, the encoder has 4 layers; give 0 to 4"),
        (model_of(FOUR), Place(-1), "--at: -1, the encoder has 4 layers"),
        (model_of(FOUR), Place(1, 2), "--at: mixer 2 of 2 in layer 1"),
        (model_of(FOUR), Place(4, 1), "--at: mixer 1 of 0 in layer 4"),
        (
            model_of(from_pattern("2{cgsg}", **SIZES), DactConfig(labels=("a", "b"), units=2)),
            Place(1, 2),
            "--at 1: the head answers after each layer, and one would become several; keep the model, which",
        ),
        (model_of(FOUR, EmbedConfig()), Place(2), r"config\.head\.pool: mean reads every row"),
        (model_of(FOUR, SequenceConfig(labels=("a", "b"), pool="mean")), Place(2), "fine-tune with --set pool=cls"),
    ],
)
def test_what_cannot_be_narrowed_is_said(model: Model, place: Place, message: str):
    with pytest.raises(InputError, match=message):
        narrow(model, place)


@given(keep=st.lists(st.lists(st.booleans(), min_size=13, max_size=13), min_size=1, max_size=4))
def test_marks_become_places(keep: list[list[bool]]):
    marks = torch.tensor(keep)
    places, there = kept_places(marks)
    assert places.shape == there.shape
    assert places.shape[1] == min(13, MULTIPLE * math.ceil(max(1, max(map(sum, keep))) / MULTIPLE))
    for row, own, real in zip(keep, places, there, strict=True):
        assert own[real].tolist() == [place for place, wanted in enumerate(row) if wanted]
        assert len(set(own.tolist())) == len(own)  # no row twice
    again, same = kept_places(places.masked_fill(~there, -1))
    assert torch.equal(same, there)
    assert torch.equal(again[there], places[there])
    x = torch.arange(len(keep) * 13 * 2, dtype=torch.float32).view(len(keep), 13, 2) + 1
    back = scatter(pick(x, places).masked_fill(~there.unsqueeze(-1), 0.0), places, 13)
    assert torch.equal(back, x * marks.unsqueeze(-1))


def test_scattered_rows_stand_where_they_were_picked():
    batch = Batch()
    back = scatter(pick(batch.x, batch.select), batch.select, 12, fill=-7.0)
    assert_close(pick(back, batch.select), pick(batch.x, batch.select), rtol=0, atol=0)
    assert int((back == -7.0).all(dim=-1).sum()) == 3 * (12 - 4)
    assert back.shape == (3, 12, DIM)


@pytest.mark.parametrize(
    ("select", "head", "message"),
    [
        ([[0, 12]], None, "select: place 12 in rows of 12 tokens; give places from 0 to 11"),
        ([[0, -1]], None, "select: place -1 in rows of 12 tokens"),
        ([[]], None, r"select: of shape \(1, 0\)"),
        ([0, 1], None, r"select: of shape \(2,\)"),
        ([[0]], EmbedConfig(), "select: the head takes the mean of all rows; leave select out"),
        ([[0], [3]], SequenceConfig(labels=("a", "b")), "select: the head reads row 0, which is not kept first"),
        ([[2, 0]], PoolerConfig(), "begin each text's places with 0"),
    ],
)
def test_kept_rows_that_cannot_be_are_said(select: list, head: Any, message: str):
    chosen = torch.tensor(select, dtype=torch.long)
    ids = torch.zeros(len(chosen), 12, dtype=torch.long)
    with pytest.raises(InputError, match=message):
        model_of(FOUR, head)(ids, select=chosen)
    if head is None:
        with pytest.raises(InputError, match=message):
            model_of(FOUR).encoder(ids, select=chosen)


def test_kept_rows_that_can_be_are_not_looked_at_elsewhere():
    check_head(torch.tensor([[0, 3], [0, 1]]), SequenceConfig(labels=("a", "b")))
    check_head(torch.tensor([[5, 3]]), MaskedLmConfig())
    check_select(torch.tensor([[5, 3]]), 12)
    check_select(torch.zeros(0, 2, dtype=torch.long), 12)  # no texts
    check_select(torch.zeros(1, 2, dtype=torch.long, device="meta"), 12)


# what it saves: the closed forms of the published model, in multiply-adds of one text of n tokens, m of them kept

D, H, L, V = 768, 12, 12, 30522


def s(n: int, m: int | None = None, *, absorbs: bool = False) -> int:
    """An attention sublayer; for m rows that read n, or all n."""
    if m is None:
        return 4 * n * D**2 + 2 * n**2 * D
    if absorbs:
        return 4 * m * D**2 + 2 * m * n * H * D
    return 2 * n * D**2 + 2 * m * D**2 + 2 * m * n * D


def f(rows: int) -> int:
    return 8 * rows * D**2


def head(rows: int) -> int:
    return rows * D**2 + rows * D * V


def counted(pattern: str, n: int, keep: int | None = None) -> int:
    config = ModelConfig(encoder=from_pattern(pattern, dim=768))
    return sum(part.macs for part in cost(config, length=n, keep=keep, training=True))


SHAPES = ((128, 19), (512, 77), (128, 1), (512, 1))  # 15% of the places, and one row


@pytest.fixture
def projects(monkeypatch: pytest.MonkeyPatch) -> None:
    """As published: keys and values are always projected."""
    monkeypatch.setattr(absorbed, "PRICE", math.inf)


@pytest.mark.usefixtures("projects")
@pytest.mark.parametrize(
    ("k", "ratios"),
    [
        (1, (2.89, 2.96, 4.20, 4.50)),
        (2, (2.47, 2.51, 3.25, 3.41)),
        (4, (1.91, 1.93, 2.24, 2.30)),
        (6, (1.55, 1.57, 1.71, 1.74)),
    ],
)
def test_sparse_queries_save_what_the_closed_form_says(k: int, ratios: tuple[float, ...]):
    for (n, m), ratio in zip(SHAPES, ratios, strict=True):
        found = counted(f"{k}{{sf}}:{L - k}{{sf}}", n, m)
        assert found == pytest.approx(k * (s(n) + f(n)) + (L - k) * (s(n, m) + f(m)), rel=0.01)
        assert L * (s(n) + f(n)) / found == pytest.approx(ratio, rel=0.01)


@pytest.mark.usefixtures("projects")
@pytest.mark.parametrize(("a", "ratios"), [(0, (2.23, 2.04, 2.81, 2.49)), (2, (1.85, 1.74, 2.16, 2.00))])
def test_context_first_saves_more_than_published_in_its_last_attention(a: int, ratios: tuple[float, ...]):
    """Its only readers are the kept rows, so only their queries are computed: exact, and 2 to 6% less."""
    for (n, m), ratio in zip(SHAPES, ratios, strict=True):
        found = counted((f"{a}{{sf}}," if a else "") + f"{L - a}{{s}}:{L - a}{{f}}", n, m)
        published = a * (s(n) + f(n)) + (L - a) * (s(n) + f(m))
        assert found == pytest.approx(published - s(n) + s(n, m), rel=0.01)
        assert L * (s(n) + f(n)) / published == pytest.approx(ratio, rel=0.01)
        assert 1.02 < published / found < 1.07


@pytest.mark.usefixtures("projects")
def test_with_the_masked_lm_head():
    """Against a BERT that answers for every row, and against one that answers for the kept rows only."""
    head_of = MaskedLmConfig()
    for (n, m), dense, sparse in zip(SHAPES[:2], (2.86, 2.87), (2.33, 2.38), strict=True):
        narrowed = ModelConfig(encoder=from_pattern("2{sf}:10{sf}", dim=768), head=head_of)
        found = sum(part.macs for part in cost(narrowed, length=n, keep=m, training=True))
        wide = sum(part.macs for part in cost(ModelConfig(encoder=bert_base(), head=head_of), length=n))
        assert wide == pytest.approx(L * (s(n) + f(n)) + head(n), rel=0.01)
        assert wide / found == pytest.approx(dense, rel=0.01)
        assert (wide - head(n) + head(m)) / found == pytest.approx(sparse, rel=0.01)


def test_absorbed_keys_bring_one_row_near_the_bound(monkeypatch: pytest.MonkeyPatch):
    """The bound of 2 whole layers of 12 is 6."""
    monkeypatch.setattr(absorbed, "PRICE", 1.0)
    for n, ratio in ((128, 5.7), (512, 5.9)):
        found = counted("2{sf}:10{sf}", n, 1)
        assert found == pytest.approx(2 * (s(n) + f(n)) + 10 * (s(n, 1, absorbs=True) + f(1)), rel=0.01)
        assert L * (s(n) + f(n)) / found == pytest.approx(ratio, abs=0.06)
