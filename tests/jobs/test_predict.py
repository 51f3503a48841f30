"""A Predictor: answers in the order asked, the same alone and in a batch; vectors and filled masks by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.small import WORDS
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.predict import Predictor
from slimbert.jobs.tasks import Description
from slimbert.model import ModelConfig, fresh, presets
from slimbert.model.heads import EmbedConfig, MaskedLmConfig, SequenceConfig
from slimbert.state import Encoded

LABELS = ("bad", "good", "so-so")
PATTERNS = ["2{sf}", "1{sf}:1{sf}", "1{sf}:1{f}"]
TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate((3, 1, 9, 5, 2, 20, 4, 1))]


def predictor(
    data: Path, pattern: str = "2{sf}", *, head: Any = None, pairs: bool = False, max_len: int = 512, **options: Any
) -> Predictor:
    """Random weights."""
    tokenizer = TextTokenizer.load(Shards.open(data).tokenizer_folder)
    encoder = presets.from_pattern(pattern, dim=32, head_dim=16, vocab=tokenizer.vocab_size, max_len=24)
    model = fresh(ModelConfig(encoder=encoder, head=head or SequenceConfig(labels=LABELS)), 3)
    for parameter in model.parameters():
        parameter.data *= 3  # answers that differ
    columns = ("premise", "hypothesis") if pairs else ("text",)
    return Predictor(model, tokenizer, task=Description(text_columns=columns, max_len=max_len), device="cpu", **options)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_answers_come_in_order_and_do_not_depend_on_the_batch(data: Path, pattern: str):
    """Float32, sums in another order where a row is padded: 1e-5."""
    together = predictor(data, pattern, batch_size=3).predict(TEXTS)
    single = predictor(data, pattern, batch_size=1)
    assert [answer.text for answer in together] == TEXTS
    for text, answer in zip(TEXTS, together, strict=True):
        alone = single.predict([text])[0]
        assert answer.label == alone.label
        assert answer.scores == pytest.approx(alone.scores, abs=1e-5)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.sampled_from("bamadene ,.\U0001f600é"), max_size=60), max_size=7))
def test_any_text_gets_an_answer(data: Path, texts: list[str]):
    answers = predictor(data).predict(texts)
    assert [answer.text for answer in answers] == texts
    for answer in answers:
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-5)
        assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]
        assert tuple(answer.scores) == LABELS


def test_nothing_asked_nothing_answered(data: Path):
    assert predictor(data).predict([]) == []
    assert predictor(data).embed([]).shape == (0, 32)


def test_pairs_are_read_as_pairs(data: Path):
    pairs = [(TEXTS[i], TEXTS[-1 - i]) for i in range(4)]
    model = predictor(data, pairs=True, batch_size=2)
    answers = model.predict(pairs)
    assert [answer.text for answer in answers] == pairs
    ids, types = model.tokenizer.encode_pairs(pairs[:1], 24)
    with torch.inference_mode():
        logits = model.model(torch.tensor(ids[0])[None].long(), types=torch.tensor(types[0])[None].long())
    assert list(answers[0].scores.values()) == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-6)
    assert model.predict([pairs[0][::-1]])[0].scores != answers[0].scores


@pytest.mark.parametrize(
    ("texts", "pairs", "message"),
    [
        ("one string", False, "one string instead of a list"),
        ([("a", "b")], False, r"texts\[0\]: 2 texts where the model reads 1"),
        (["a"], True, r"texts\[0\]: 1 texts where the model reads 2"),
        ([("a", "b"), "c"], True, r"texts\[1\]"),
        ([("a", "b", "c")], True, r"texts\[0\]: 3 texts"),
        (["a", None], False, r"texts\[1\]"),
        ([5], False, r"texts\[0\]"),
    ],
)
def test_what_is_no_text_is_told(data: Path, texts: Any, pairs: bool, message: str):
    with pytest.raises(InputError, match=message):
        predictor(data, pairs=pairs).predict(texts)


def test_long_texts_are_cut(data: Path):
    long = " ".join(WORDS * 3)
    model = predictor(data)
    assert len(model.encode([long])[0][0]) == 24
    assert model.predict([long])[0].label in LABELS
    assert predictor(data, max_len=8).task.max_len == 8


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("normalise", [False, True])
def test_vectors_are_the_mean_of_the_real_tokens(data: Path, pattern: str, normalise: bool):
    model = predictor(data, pattern, head=MaskedLmConfig(), batch_size=3)
    found = model.embed(TEXTS, normalise=normalise)
    assert found.dtype == np.float32
    for text, vector in zip(TEXTS, found, strict=True):
        ids = model.tokenizer.encode([text], 24)[0]
        with torch.inference_mode():
            expected = model.model.encoder(torch.tensor(ids)[None].long()).state.x[0].mean(dim=0)
        if normalise:
            expected = expected / expected.norm()
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)


def test_vectors_are_pooled_as_the_head_says(data: Path):
    model = predictor(data, head=EmbedConfig(pool="cls", normalise=False))
    ids = model.tokenizer.encode([TEXTS[0]], 24)[0]
    with torch.inference_mode():
        first = model.model.encoder(torch.tensor(ids)[None].long()).state.x[0, 0]
    np.testing.assert_allclose(model.embed([TEXTS[0]])[0], first.numpy(), atol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_filled_masks_are_the_most_probable_tokens(data: Path, pattern: str):
    model = predictor(data, pattern, head=MaskedLmConfig())
    mask = model.tokenizer.pieces[model.tokenizer.special.mask]
    filled = model.fill(f"{WORDS[0]} {mask} {WORDS[1]} {mask}", top=3)
    assert [len(one) for one in filled] == [3, 3]
    ids = torch.tensor(model.tokenizer.encode([f"{WORDS[0]} {mask} {WORDS[1]} {mask}"], 24)[0])[None].long()
    places = (ids[0] == model.tokenizer.special.mask).nonzero().T
    with torch.inference_mode():
        state = model.model.encoder(ids, select=places if ":" in pattern else None).state
        rows = state.x if ":" in pattern else state.x[:, places[0]]
        expected = model.model.answer(Encoded(state._replace(x=rows)))[0].softmax(-1)
    for one, scores in zip(filled, expected, strict=True):
        assert [answer.score for answer in one] == pytest.approx(scores.topk(3).values.tolist(), abs=1e-5)
        assert one[0].token == model.tokenizer.decode([int(scores.argmax())])


def test_what_cannot_be_filled_is_told(data: Path):
    with pytest.raises(InputError, match=r"no mask in 'bama'; write \[MASK\]"):
        predictor(data, head=MaskedLmConfig()).fill("bama")
    with pytest.raises(InputError, match="no masked-LM head"):
        predictor(data).fill("[MASK]")


def test_a_model_without_labels_does_not_classify(data: Path):
    with pytest.raises(InputError, match=r"it was not fine-tuned \(its head: masked_lm\); fine-tune it first"):
        predictor(data, head=MaskedLmConfig()).predict(["bama"])
