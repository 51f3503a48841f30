"""Narrow encoders in whole jobs: every kind of task says by itself which rows it wants, also without labels."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch._dynamo.utils import counters

from jobs.small import BAD, GOOD, NEITHER, corpus, encoder_in, recipe
from slimbert.data.shards import Shards
from slimbert.data.tasks import Split
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.feed import Feed
from slimbert.jobs.finetune import finetune
from slimbert.jobs.models import narrow
from slimbert.jobs.predict import Predictor, load
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.resolve import resolve
from slimbert.model import fresh, load_model
from slimbert.model.encoder import Encoder
from slimbert.model.kept import MULTIPLE
from slimbert.train.engine import engine
from slimbert.train.objectives import MaskedLm

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True, "with_baselines": False}
QUICK = ("min_updates=3", "epochs=1", "evaluations=1", "batch_size=16")
PATTERNS = pytest.mark.parametrize("pattern", ["1{sf}:2{sf}", "1{sf},1{s}:1{f}"])
COUNT = 60


def write(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def texts(seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices((GOOD, BAD)[i % 2] + tuple(NEITHER), k=draw.randint(3, 12))) for i in range(COUNT)]


def task(kind: str, folder: Path) -> tuple[Path, list[Any]]:
    """(labelled data of that kind, things to ask)."""
    first, second = texts(0), texts(1)
    classes = [("bad", "good")[i % 2] for i in range(COUNT)]
    columns: dict[str, dict[str, list]] = {
        "classification": {"text": first, "label": classes},
        "pair": {"sentence1": first, "sentence2": second, "label": classes},
        "multilabel": {"text": first, "labels": [[["a"], ["b"], ["a", "b"], []][i % 4] for i in range(COUNT)]},
        "regression": {"text": first, "score": [i % 7 + i / 100 for i in range(COUNT)]},
        "embedding": {"query": first, "passage": second},
        "ner": {
            "tokens": [text.split() for text in first],
            "ner_tags": [["B-X" if word in GOOD else "O" for word in text.split()] for text in first],
        },
        "qa": {
            "id": [str(i) for i in range(COUNT)],
            "question": [text.split()[0] for text in second],
            "context": first,
            "answers": [{"text": [text.split()[1]], "answer_start": [text.index(" ") + 1]} for text in first],
        },
    }
    asked: list[Any] = list(zip(first, second)) if kind in ("pair", "embedding") else first
    asked = [(text.split()[0], text) for text in first] if kind == "qa" else asked
    return write(folder / f"{kind}.parquet", **columns[kind]), asked[:5]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows kept, rows read) at every call of an encoder."""
    found: list[tuple[int, int]] = []
    forward = Encoder.forward

    def counted(self: Encoder, ids: torch.Tensor, **options: Any) -> Any:
        encoded = forward(self, ids, **options)
        found.append((encoded.state.x.shape[1], ids.shape[1]))
        return encoded

    monkeypatch.setattr(Encoder, "forward", counted)
    return found


def everywhere(predictor: Predictor, asked: list[Any]) -> list[Any]:
    """The answers where every encoder computes all rows to the end, and the wanted ones are picked behind it."""
    forward = Encoder.forward

    def whole(self: Encoder, ids: torch.Tensor, **options: Any) -> Any:
        select = options.pop("select", None)
        encoded = forward(self, ids, **options)
        if select is None:
            return encoded
        picked = torch.stack([row[places] for row, places in zip(encoded.state.x, select, strict=True)])
        return encoded._replace(state=encoded.state._replace(x=picked))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "forward", whole)
        return predictor.predict(asked)


def numbers(answer: Any) -> list[float]:
    """All numbers in an answer."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list | tuple):
        return [number for one in answer for number in numbers(one)]
    return [float(answer)] if isinstance(answer, int | float) else []


@PATTERNS
@pytest.mark.parametrize("kind", ["classification", "pair", "multilabel", "regression", "embedding", "ner", "qa"])
def test_texts_without_labels_are_answered_on_the_rows_that_matter(
    kind: str, pattern: str, data: Path, tmp_path: Path, rows: list[tuple[int, int]]
):
    encoder = encoder_in(tmp_path / "encoder", data, pattern)
    file, asked = task(kind, tmp_path)
    finetune(encoder, file, out=tmp_path / "run", kind=kind, settings=(*QUICK, "max_len=48"), **HERE)
    predictor = load(tmp_path / "run", device="cpu")
    rows.clear()
    answers = predictor.predict(asked)
    kept = {count for count, _ in rows}
    whole = everywhere(predictor, asked)
    alone = [predictor.predict([one])[0] for one in asked]
    for answer, other, single in zip(answers, whole, alone, strict=True):
        assert numbers(answer) == pytest.approx(numbers(other), abs=1e-4)  # the score of a span is a small difference
        assert numbers(answer) == pytest.approx(numbers(single), abs=1e-4)
    if kind in ("ner", "qa"):
        assert all(count % MULTIPLE == 0 for count in kept)
    else:
        assert kept == {1}


def test_vectors_of_the_first_token_need_one_row(data: Path, tmp_path: Path, rows: list[tuple[int, int]]):
    encoder = encoder_in(tmp_path / "encoder", data, "1{sf}:1{sf}")
    file, asked = task("embedding", tmp_path)
    finetune(encoder, file, out=tmp_path / "run", settings=QUICK, **HERE)
    predictor = load(tmp_path / "run", device="cpu")
    assert predictor.model.config.head.pool == "cls"
    rows.clear()
    first = predictor.embed([text for text, _ in asked])
    assert {count for count, _ in rows} == {1}
    near = predictor.predict(asked)
    second = predictor.embed([text for _, text in asked])
    np.testing.assert_allclose([one.similarity for one in near], (first * second).sum(axis=1), atol=1e-5)


def test_the_mean_of_the_tokens_needs_all_rows(data: Path, tmp_path: Path, rows: list[tuple[int, int]]):
    """A bare encoder is asked for the mean: it answers, and spares nothing. A head of that sort is not made."""
    encoder = encoder_in(tmp_path / "encoder", data, "1{sf}:1{sf}")
    load(encoder, device="cpu").embed([NEITHER[0], " ".join(NEITHER[:5])])
    assert all(count == length for count, length in rows)
    file, _ = task("embedding", tmp_path)
    with pytest.raises(InputError, match="--set pool: mean, but this encoder narrows"):
        finetune(encoder, file, out=tmp_path / "run", settings=(*QUICK, "pool=mean"), **HERE)


def test_batches_of_tags_and_spans_keep_few_numbers_of_rows(data: Path, tmp_path: Path):
    """Ragged counts are rounded up, and what fills up counts for nothing."""
    encoder = encoder_in(tmp_path / "encoder", data, "1{sf}:1{sf}")
    for kind in ("ner", "qa"):
        file, asked = task(kind, tmp_path)
        finetune(encoder, file, out=tmp_path / kind, kind=kind, settings=(*QUICK, "max_len=48"), **HERE)
        predictor = load(tmp_path / kind, device="cpu")
        features = predictor.kind.features(Split(asked, None), labelled=False)
        for unit in range(len(features)):
            batch = features.batch([unit], pad_id=predictor.pad_id, device="cpu")
            places = features.columns["select"].values[unit]
            assert batch["select"].shape[1] == MULTIPLE * -(-len(places) // MULTIPLE)
            assert batch["select"][0, : len(places)].tolist() == places.tolist()
            assert not batch["select"][0, len(places) :].any()


def test_pretraining_keeps_one_number_of_rows(data: Path, tmp_path: Path, rows: list[tuple[int, int]]):
    """The chosen places and the first token, as many in every batch: one compiled graph serves the run."""
    pretrain(recipe(layers="1{sf}:1{sf}", steps=3), data=data, out=tmp_path / "run", device="cpu", quiet=True)
    length = Shards.open(data).seq_len
    assert set(rows) == {(1 + round(0.15 * length), length)}


def test_pretraining_keeps_the_first_token_of_every_document(
    data: Path, tmp_path: Path, rows: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
):
    """Documents that share a row begin with [CLS] each; as many rows are kept as the fullest row of the data needs."""
    shards = Shards.open(data)
    settings = ["data.segments=true"]
    wanted = resolve(recipe(layers="1{sf}:1{sf}", steps=3), shards, settings=settings)
    feed = Feed(wanted, shards, engine(device="cpu"))
    assert feed.firsts == shards.documents().max() == 2
    cls = shards.tokenizer().special.cls
    opened = 0
    for batch in itertools.islice(feed.training(0), 12):
        ids, segments, firsts = batch["input_ids"], batch["segments"], batch["firsts"]
        assert firsts.shape == (len(ids), 2)
        starts = torch.ones_like(segments, dtype=torch.bool)
        starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
        assert torch.equal(starts, torch.zeros_like(starts).scatter(1, firsts, True))
        assert torch.equal(starts, ids == cls)
        opened += int(starts[:, 1:].sum())
    assert opened
    plain = recipe(layers="1{sf}:1{sf}", steps=3)
    pretrain(plain, data=data, out=tmp_path / "run", settings=settings, device="cpu")
    assert set(rows) == {(2 + round(0.15 * shards.seq_len), shards.seq_len)}
    assert "every document begins with [CLS]" in capsys.readouterr().err


@pytest.mark.parametrize("segments", ["false", "true"], ids=["one stream", "documents apart"])
def test_compiled_pretraining_is_one_graph(segments: str, data: Path, tmp_path: Path):
    torch.compiler.reset()
    counters.clear()
    shards = Shards.open(data)
    settings = [f"data.segments={segments}"]
    wanted = resolve(recipe(layers="1{sf}:2{sf}", steps=3), shards, settings=settings)
    objective = MaskedLm(fresh(wanted.model, 0))
    run = torch.compile(objective, backend="aot_eager", fullgraph=True, dynamic=False)
    feed = Feed(wanted, shards, engine(device="cpu"))
    batches = [batch for batch in itertools.islice(feed.training(0), 4) if "mask" not in batch]  # one row is padded
    for batch in batches:
        run(batch).total.backward()
    assert len(batches) > 1
    assert counters["stats"]["unique_graphs"] == 1


# a trained model in its narrow form


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm")
    prepared = corpus(folder)
    pretrain(recipe(layers="3{sf}", steps=3), data=prepared, out=folder / "run", device="cpu", quiet=True)
    return folder / "run"


def test_a_run_in_its_exact_narrow_form_answers_as_before(lm: Path, tmp_path: Path):
    made = narrow(lm, out=tmp_path / "narrow", exact=True)
    assert made.tokenizer and made.head == "masked_lm"
    assert made.notes == ("narrows before layer 2: the answers are those of the whole model",)
    before, after = (load(folder, device="cpu") for folder in (lm, tmp_path / "narrow"))
    mask = before.tokenizer.pieces[before.tokenizer.special.mask]
    for one, other in zip(before.fill(f"{NEITHER[0]} {mask}"), after.fill(f"{NEITHER[0]} {mask}"), strict=True):
        assert [filled.token for filled in one] == [filled.token for filled in other]
        assert [filled.score for filled in one] == pytest.approx([filled.score for filled in other], abs=1e-6)
    np.testing.assert_allclose(before.embed(NEITHER[:3]), after.embed(NEITHER[:3]), atol=1e-5)


def test_a_classifier_in_its_exact_narrow_form_keeps_task_and_labels(lm: Path, tmp_path: Path):
    file, asked = task("classification", tmp_path)
    finetune(lm, file, out=tmp_path / "run", settings=(*QUICK, "pool=cls"), **HERE)
    narrow(tmp_path / "run", out=tmp_path / "narrow", exact=True)
    before, after = (load(tmp_path / name, device="cpu") for name in ("run", "narrow"))
    assert after.task == before.task
    for one, other in zip(before.predict(asked), after.predict(asked), strict=True):
        assert one.label == other.label
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    finetune(lm, file, out=tmp_path / "mean", settings=QUICK, **HERE)
    with pytest.raises(InputError, match=r"config\.head\.pool: mean reads every row"):
        narrow(tmp_path / "mean", out=tmp_path / "no", exact=True)
    assert not (tmp_path / "no").exists()


def test_a_warm_start_says_so_and_is_trained_on(lm: Path, data: Path, tmp_path: Path):
    made = narrow(lm, out=tmp_path / "narrow", at=1)
    assert "a warm start, other answers than the whole model's until it is trained on" in made.notes[0]
    whole, own = load_model(lm).state_dict(), load_model(tmp_path / "narrow").state_dict()
    assert sorted(tuple(value.shape) for value in whole.values()) == sorted(tuple(v.shape) for v in own.values())
    assert torch.equal(whole["encoder.layers.2.0.mixer.qkv.weight"], own["encoder.layers.3.0.mixer.qkv.weight"])
    plain = recipe(steps=2)
    again = pretrain(plain, data=data, out=tmp_path / "more", init_from=tmp_path / "narrow", device="cpu", quiet=True)
    assert again.steps == 2
    assert load_model(tmp_path / "more").encoder.narrows
    file, asked = task("classification", tmp_path)
    finetune(tmp_path / "narrow", file, out=tmp_path / "run", settings=QUICK, **HERE)
    assert len(load(tmp_path / "run", device="cpu").predict(asked)) == len(asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--at: is missing; give --at K, or --exact"),
        ({"at": 1, "exact": True}, "--at: and --exact exclude each other"),
        ({"at": 4}, "--at: 4, the encoder has 3 layers; give 0 to 3"),
    ],
)
def test_places_that_cannot_be(lm: Path, tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        narrow(lm, out=tmp_path / "narrow", **options)
    assert not (tmp_path / "narrow").exists()


def test_what_narrows_already_is_said(lm: Path, tmp_path: Path):
    narrow(lm, out=tmp_path / "narrow", at=1)
    with pytest.raises(InputError, match=r"config\.encoder\.layers\[1\]: narrows already"):
        narrow(tmp_path / "narrow", out=tmp_path / "again", exact=True)


def test_the_tokenizer_comes_along(lm: Path, tmp_path: Path):
    narrow(lm, out=tmp_path / "narrow", exact=True)
    assert TextTokenizer.load(tmp_path / "narrow").sha256 == TextTokenizer.load(lm).sha256
