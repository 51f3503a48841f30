"""Replaced token detection: what is replaced, what learns from which loss, and that narrow generators guess alike."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from slimbert.data.masking import Masking
from slimbert.data.tokenizer import Special
from slimbert.model import EncoderConfig, ModelConfig, fresh, with_dropout
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig
from slimbert.model.presets import from_pattern
from slimbert.state import Encoded, pick
from slimbert.train.engine import engine
from slimbert.train.environment import compile_problem
from slimbert.train.evaluate import detection, validate
from slimbert.train.loop import Start, Step, restore, snapshot, train
from slimbert.train.objectives import Batch, Encode, Loss, Params, Wrapper
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.replaced import ReplacedTokens, ReplacedTokensConfig, drawn, rewritten
from toys import lively

PAD, UNK, CLS, SEP, MASK = range(5)
VOCAB, SEQ, ROWS, RATE = 50, 12, 4, 0.25  # three places of a row are predicted
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


class Pieces:
    special = Special(PAD, UNK, CLS, SEP, MASK)
    special_ids = np.arange(5, dtype=np.int32)
    vocab_size = VOCAB
    continues = np.zeros(VOCAB, bool)


def encoder(pattern: str, dim: int) -> EncoderConfig:
    """With a token table of width 12, which is neither model's own."""
    made = from_pattern(pattern, dim=dim, head_dim=8, hidden=2 * dim, vocab=VOCAB, max_len=SEQ)
    return replace(made, embedding=replace(made.embedding, width=12))


def objective(pattern: str = "2{sf}", generator: str = "2{sf}", dropout: float = 0.0, **options: Any) -> ReplacedTokens:
    """A discriminator of width 16 and a generator of width 8."""
    heads = ((pattern, 16, ReplacedTokenConfig()), (generator, 8, MaskedLmConfig()))
    configs = [ModelConfig(encoder=encoder(text, dim), head=head) for text, dim, head in heads]
    model, small = (fresh(with_dropout(config, dropout), seed) for seed, config in enumerate(configs))
    return ReplacedTokens(model, small, ReplacedTokensConfig(**options))


def alive(**options: Any) -> ReplacedTokens:
    """With weights that matter, so that the generator guesses neither everything nor one thing."""
    made = lively(objective(**options))
    assert isinstance(made, ReplacedTokens)
    return made


def rows_of(seed: int, rows: int = ROWS, *, padded: bool = True) -> Tensor:
    """[rows, SEQ] with [CLS] and [SEP]; the last row is half padding."""
    ids = torch.randint(5, VOCAB, (rows, SEQ), generator=torch.Generator().manual_seed(seed))
    ids[:, 0], ids[:, -1] = CLS, SEP
    if padded:
        ids[-1, 2], ids[-1, 3:] = SEP, PAD  # one token to predict, where there are three places
    return ids


def batch_of(ids: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """As the feed gives it."""
    draw = torch.Generator().manual_seed(seed)
    batch = Masking(RATE, Pieces(), shown=ReplacedTokensConfig().shown)(ids, generator=draw)
    batch["draws"] = torch.rand(batch["labels"].shape, generator=draw)
    return batch | ({} if bool((ids != PAD).all()) else {"mask": ids != PAD})


def batches(start: int = 0) -> Iterator[Batch]:
    """Batch n is a function of n."""
    n = start
    while True:
        yield batch_of(rows_of(n), n)
        n += 1


def shared(made: ReplacedTokens) -> set[str]:
    """Names of the generator's parameters that are the model's own."""
    own = {id(parameter) for parameter in made.model.parameters()}
    return {name for name, parameter in made.generator.named_parameters() if id(parameter) in own}


# what is replaced


@settings(max_examples=60)
@given(seed=st.integers(0, 999), sharpness=st.sampled_from([0.0, 1.0, 30.0]))
def test_a_token_is_replaced_where_another_was_drawn(seed: int, sharpness: float):
    """Never a special one, nowhere but at the chosen places, and a right guess is no replacement."""
    ids = rows_of(seed)
    batch = batch_of(ids, seed)
    guesses = torch.randn(*batch["labels"].shape, VOCAB, generator=torch.Generator().manual_seed(seed))
    guesses = guesses + sharpness * functional.one_hot(batch["labels"], VOCAB)
    written, replaced = rewritten(batch, guesses)
    assert torch.equal(replaced, written != ids)
    assert not replaced[ids < 5].any()
    chosen = torch.zeros_like(ids).scatter(1, batch["positions"], batch["weights"].long()).bool()
    assert not replaced[~chosen].any()
    assert torch.equal(written.gather(1, batch["positions"])[batch["weights"] > 0], expected(batch, guesses))
    if sharpness == 30.0:
        assert not replaced.any()


def expected(batch: Batch, guesses: Tensor) -> Tensor:
    """What is drawn at the chosen places: as many ids are passed over as have a sum below the number."""
    sums = guesses.softmax(-1).cumsum(-1)
    ids = (sums <= batch["draws"].unsqueeze(-1) * sums[..., -1:]).sum(-1)
    return ids[batch["weights"] > 0]


def test_hidden_and_shown_places_are_drawn_alike():
    """15% of the chosen places show their token; something is drawn there too."""
    ids = rows_of(1, 2000, padded=False)
    batch = batch_of(ids)
    _, replaced = rewritten(batch, torch.zeros(*batch["labels"].shape, VOCAB))
    seen = batch["input_ids"].gather(1, batch["positions"])
    here = replaced.gather(1, batch["positions"])
    kept = seen == batch["labels"]
    assert torch.equal(seen[~kept], torch.full_like(seen[~kept], MASK))
    total = seen.numel()  # 6,000 draws: a deviation of 0.0046 for 0.85
    assert abs(1 - float(kept.sum()) / total - 0.85) < 5 * 0.0046
    for some in (here[kept], here[~kept]):  # a uniform draw is right once in 50
        assert float(some.float().mean()) == pytest.approx(0.98, abs=5 * (0.98 * 0.02 / some.numel()) ** 0.5)


def test_as_many_places_as_published_and_none_twice():
    """19 of 128 tokens: min(19, max(1, round(0.15 * 128)))."""
    masking = Masking(0.15, Pieces(), shown=ReplacedTokensConfig().shown)
    ids = torch.randint(5, VOCAB, (50, 128), generator=torch.Generator().manual_seed(0))
    positions = masking(ids, generator=torch.Generator().manual_seed(1))["positions"]
    assert positions.shape == (50, 19)
    assert (positions.diff(dim=1) > 0).all()


def test_drawn_ids_follow_the_softmax():
    """40,000 draws: five deviations sqrt(p (1 - p) / n) of every token; one of probability 0 is never drawn."""
    count = 40_000
    logits = torch.tensor([2.0, -torch.inf, 0.5, 1.0, -3.0, 2.0, -torch.inf])
    uniform = torch.rand(count // 8, 8, generator=torch.Generator().manual_seed(0))
    ids = drawn(logits.expand(count // 8, 8, -1), uniform)
    seen = torch.bincount(ids.flatten(), minlength=7) / count
    wanted = logits.softmax(-1)
    assert ((seen - wanted).abs() <= 5 * (wanted * (1 - wanted) / count).sqrt()).all()


def test_the_ends_of_the_draw():
    logits = torch.tensor([[[-torch.inf, 0.0, 0.0, -torch.inf]] * 3])
    uniform = torch.tensor([[0.0, 0.5, 1.0 - 2.0**-24]])
    assert drawn(logits, uniform).tolist() == [[1, 2, 2]]


def test_the_numbers_decide_and_torch_s_generator_where_there_are_none():
    made = alive()
    batch = batch_of(rows_of(3, 64), 3)
    first, again = made(batch), made(batch)
    assert first.total == again.total
    other = made({**batch, "draws": 1 - batch["draws"]})
    assert other.parts["mlm"] == first.parts["mlm"]
    assert other.parts["rtd"] != first.parts["rtd"]
    free = {name: value for name, value in batch.items() if name != "draws"}
    torch.manual_seed(1)
    here = made(free).total
    assert made(free).total != here
    torch.manual_seed(1)
    assert made(free).total == here


# what learns from what


def gradients(made: ReplacedTokens, part: str) -> set[str]:
    """Names of the parameters that a part of the loss reaches."""
    made.zero_grad()
    made.train()(batch_of(rows_of(0), 0)).parts[part].backward()
    return {name for name, p in made.named_parameters(remove_duplicate=False) if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("share", ["embeddings", "none"])
@pytest.mark.parametrize("generator", ["2{sf}", "1{sf}:1{sf}"])
def test_a_loss_reaches_its_own_model_and_what_is_shared(share: Any, generator: str):
    made = alive(share=share, generator=generator)
    tables = {f"generator.{name}" for name in shared(made)}
    wanted = {f"generator.encoder.embedding.{name}" for name in TABLES} if share == "embeddings" else set()
    assert tables == wanted
    mlm, rtd = gradients(made, "mlm"), gradients(made, "rtd")
    assert {name for name in rtd if name.startswith("generator.")} == tables
    assert {name.replace("generator.", "model.") for name in tables} == {n for n in mlm if n.startswith("model.")}
    assert mlm | rtd == {name for name, _ in made.named_parameters(remove_duplicate=False)}


TABLES = ("token.weight", "position.weight", "token_type.weight", "norm.weight", "norm.bias")


def test_shared_tables_are_counted_and_trained_once():
    apart, together = objective(share="none"), objective()
    embedding = apart.generator.encoder.embedding
    tables = sum(value.numel() for name, value in embedding.named_parameters() if name in TABLES)
    sizes = [sum(p.numel() for p in made.parameters()) for made in (apart, together)]
    assert sizes[0] - sizes[1] == tables
    optimizer = adamw(together, OptimConfig())
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == sizes[1]
    assert together.generator.encoder.embedding.project is not together.model.encoder.embedding.project


def test_the_loss_is_the_weighted_sum_of_two_means():
    """Cross-entropy over the chosen places, binary cross-entropy over what is no padding."""
    made = alive(mlm_weight=0.5, rtd_weight=20.0)
    ids = rows_of(7)
    batch = batch_of(ids, 7)
    loss, seen = made.read(made.encode, batch)
    guesses, _ = made.guess(batch)
    chosen = batch["weights"] > 0
    mlm = functional.cross_entropy(guesses[chosen], batch["labels"][chosen])
    real = ids != PAD
    rtd = functional.binary_cross_entropy_with_logits(seen.scores[real], seen.replaced[real].float())
    assert_close([loss.parts["mlm"], loss.parts["rtd"]], [mlm, rtd], **CLOSE)
    assert_close(loss.total, 0.5 * mlm + 20 * rtd, **CLOSE)
    assert torch.equal(seen.real, real)
    scores = made.model(rewritten(batch, guesses)[0], mask=real).squeeze(-1)
    assert_close(seen.scores, scores, **CLOSE)
    default = ReplacedTokensConfig()
    assert (default.mlm_weight, default.rtd_weight) == (1.0, 50.0)


def test_accumulated_micro_batches_equal_the_whole_batch():
    """Also with padding; `total` and `real_total` are those of the update, per micro-batch."""
    whole = batch_of(rows_of(5, 8), 5)
    pieces = [{name: value[i : i + 2] for name, value in whole.items()} for i in range(0, 8, 2)]
    totals = {"total": whole["weights"].sum() / 4, "real_total": whole["mask"].sum() / 4}
    results: list[Step] = []
    for feed, accumulate in (([whole], 1), ([piece | totals for piece in pieces], 4)):
        made = objective()
        loop = train(made, feed, adamw(made, OptimConfig()), accelerator=engine(device="cpu", accumulate=accumulate))
        results += list(loop)
    for name in ("mlm", "rtd"):
        assert results[1].parts[name] == pytest.approx(results[0].parts[name], rel=1e-5)
    assert results[1].loss == pytest.approx(results[0].loss, rel=1e-5)
    assert results[1].norm == pytest.approx(results[0].norm, rel=1e-4)


# narrow generators, and every row of the model


@pytest.mark.parametrize("padded", [True, False])
def test_a_narrow_generator_is_the_wide_one_with_frozen_memory_gathered(padded: bool, monkeypatch: pytest.MonkeyPatch):
    """Equal weights, equal numbers: equal guesses, so the same tokens are replaced, and the losses are the same."""
    made = alive(generator="1{sf}:1{sf}")
    batch = batch_of(rows_of(2, padded=padded), 2)
    guesses, encoded = made.guess(batch)
    assert encoded.state.x.shape == (ROWS, 3, 8)
    state = made.generator.encoder(batch["input_ids"], mask=batch.get("mask")).state
    assert state.x.shape == (ROWS, SEQ, 8)
    everywhere = made.generator.answer(Encoded(state._replace(x=pick(state.x, batch["positions"]))))
    assert_close(guesses, everywhere, **CLOSE)
    narrow, seen = made.read(made.encode, batch)
    monkeypatch.setattr(made, "guess", lambda _: (everywhere, encoded))
    wide, alike = made.read(made.encode, batch)
    assert torch.equal(seen.replaced, alike.replaced)
    assert_close(narrow.total, wide.total, **CLOSE)


@pytest.mark.parametrize("pattern", ["2{sf}", "1{sf}:1{sf}"])
def test_the_model_answers_for_every_token(pattern: str):
    """Also where it could narrow, and whatever rows the batch asks for."""
    made = alive(pattern=pattern)
    batch = batch_of(rows_of(0), 0)
    loss, seen = made.read(made.encode, batch)
    assert seen.scores.shape == (ROWS, SEQ)
    assert made({**batch, "select": batch["positions"]}).total == loss.total


def test_wrappers_nest_around_the_model_s_states():
    """They get the rewritten rows; the generator is not theirs."""
    made = alive()
    batch = batch_of(rows_of(4), 4)
    given_ids: list[Tensor] = []

    class Halved(Wrapper):
        def loss(self, encode: Encode, batch: Batch) -> Loss:
            def halved(params: Params, batch: Batch) -> Encoded:
                given_ids.append(batch["input_ids"])
                own = dict(self.model.encoder.named_parameters()) if params is None else dict(params)
                return encode({name: value / 2 for name, value in own.items()}, batch)

            return self.inner.loss(halved, batch).plus("extra", torch.tensor(2.0))

    plain, wrapped = made(batch), Halved(Halved(made))
    loss = wrapped(batch)
    assert set(loss.parts) == {"mlm", "rtd", "extra"}
    assert loss.parts["mlm"] == plain.parts["mlm"]
    assert loss.parts["rtd"] != plain.parts["rtd"]
    assert torch.equal(given_ids[0], rewritten(batch, made.guess(batch)[0])[0])
    assert wrapped.beside() == {"generator": made.generator}


# training


def test_both_losses_fall_in_30_steps():
    """One batch again and again: from ln V and ln 2 down."""
    made = objective()
    batch = batch_of(rows_of(0), 0)
    loop = train(made, [batch] * 30, adamw(made, OptimConfig(lr=1e-2)), accelerator=engine(device="cpu"))
    steps = list(loop)
    assert steps[0].parts["mlm"] == pytest.approx(np.log(VOCAB), rel=0.05)
    assert steps[0].parts["rtd"] == pytest.approx(np.log(2), rel=0.05)
    assert steps[0].loss == pytest.approx(steps[0].parts["mlm"] + 50 * steps[0].parts["rtd"], rel=1e-5)
    for name in ("mlm", "rtd"):
        assert np.mean([step.parts[name] for step in steps[-5:]]) < 0.9 * steps[0].parts[name]
    assert steps[-1].loss < 0.9 * steps[0].loss


@pytest.mark.parametrize("generator", ["2{sf}", "1{sf}:1{sf}"])
def test_going_on_from_a_snapshot_is_bit_identical(generator: str):
    """With dropout in both models; what was shared is shared again."""

    def going(made: ReplacedTokens, optimizer: torch.optim.Optimizer, until: int, start: int) -> list[Step]:
        def lr(now: Start) -> float | None:
            return 1e-2 if now.step < until else None

        feed = batches(start)
        return list(train(made, feed, optimizer, lr=lr, accelerator=engine(device="cpu"), start=Start(start)))

    torch.manual_seed(1)
    made = objective(generator=generator, dropout=0.1)
    optimizer = adamw(made, OptimConfig())
    going(made, optimizer, 3, 0)
    kept = {name: value.clone() for name, value in snapshot(made, optimizer).items()}
    wanted = going(made, optimizer, 6, 3)
    after = {name: value.clone() for name, value in snapshot(made, optimizer).items()}
    torch.manual_seed(99)
    made = objective(generator=generator, dropout=0.1)
    optimizer = adamw(made, OptimConfig())
    restore(made, optimizer, kept)
    again = going(made, optimizer, 6, 3)
    assert [(s.n, s.loss, s.parts, s.norm) for s in again] == [(s.n, s.loss, s.parts, s.norm) for s in wanted]
    assert all(torch.equal(value, after[name]) for name, value in snapshot(made, optimizer).items())
    assert len(shared(made)) == len(TABLES)


@pytest.mark.parametrize("generator", ["2{sf}", "1{sf}:1{sf}"])
def test_compiled_is_one_graph_and_the_eager_loss(generator: str):
    """Ahead-of-time autograd, without code generation; two batches, and their gradients."""
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    made = objective(generator=generator)
    compiled = torch.compile(made, backend="aot_eager", fullgraph=True, dynamic=False)

    def found(run: Any, seed: int) -> tuple[Tensor, list[Tensor]]:
        made.zero_grad()
        total = run(batch_of(rows_of(seed, padded=False), seed)).total
        total.backward()
        return total.detach(), [p.grad.clone() for p in made.parameters() if p.grad is not None]

    for seed in (0, 1):
        assert_close(found(compiled, seed), found(made, seed), rtol=1e-4, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor's own imports
@pytest.mark.skipif(compile_problem("cpu") is not None, reason="torch.compile needs a C++ compiler")
def test_generated_code_draws_the_same():
    """Inductor, on the draw alone: sums and a search, which it writes anew."""
    torch.compiler.reset()
    batch = batch_of(rows_of(6), 6)
    guesses = 3 * torch.randn(*batch["labels"].shape, VOCAB, generator=torch.Generator().manual_seed(6))
    ids, replaced = torch.compile(rewritten, fullgraph=True, dynamic=False)(batch, guesses)
    assert_close((ids, replaced), rewritten(batch, guesses), rtol=0, atol=0)


# validation


def test_validation_weighs_every_token_alike():
    """In pieces as in one, with dropout asleep, and the best by the whole loss."""
    made = alive(dropout=0.5)
    whole = batch_of(rows_of(9, 9), 9)
    made.eval()
    with torch.no_grad():
        loss, seen = made.read(made.encode, whole)
    pieces = [{name: value[i : i + 4] for name, value in whole.items()} for i in range(0, 9, 4)]
    scores = validate(made.train(), pieces)
    assert made.training
    assert scores["val_loss"] == pytest.approx(float(loss.total), rel=1e-5)
    assert scores["val_mlm"] == pytest.approx(float(loss.parts["mlm"]), rel=1e-5)
    assert scores["val_rtd"] == pytest.approx(float(loss.parts["rtd"]), rel=1e-5)
    said = detection(seen.scores[seen.real], seen.replaced[seen.real])
    assert {name: scores[f"val_{name}"] for name in said} == pytest.approx(said, rel=1e-5, nan_ok=True)


@settings(max_examples=60)
@given(data=st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=40))
def test_detection_is_counted(data: list[tuple[int, bool]]):
    """Equal scores are frequent here; the area is scikit-learn's."""
    scores, truth = (np.array(column) for column in zip(*data, strict=True))
    found = detection(torch.tensor(scores, dtype=torch.float32), torch.tensor(truth))
    assert found["accuracy"] == pytest.approx(((scores > 0) == truth).mean())
    assert found["replaced"] == pytest.approx(truth.mean())
    called = scores > 0
    for name, among in (("precision", called), ("recall", truth)):
        share = (called & truth).sum() / among.sum() if among.any() else np.nan
        assert found[name] == pytest.approx(share, nan_ok=True)
    auc = roc_auc_score(truth, scores) if 0 < truth.sum() < len(truth) else np.nan
    assert found["auc"] == pytest.approx(auc, nan_ok=True)
