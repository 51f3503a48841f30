"""Fine-tuning beyond classes: numbers and several labels are learnt, scored, answered; long texts are read whole."""

import dataclasses
import functools
import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import slimbert.hf
from jobs.small import BAD, GOOD, NEITHER, labelled
from slimbert.cli import tables
from slimbert.data.metrics import f1
from slimbert.data.tasks import Split, Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.compare import compare
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.jobs.seeds import with_seeds
from slimbert.jobs.settings import Settings
from slimbert.jobs.tasks import Description, kind_for, kind_of
from slimbert.jobs.tasks.classification import Classification
from slimbert.jobs.tasks.features import Features
from slimbert.jobs.tasks.sequences import MOST_WINDOWS, cut_share, windows
from slimbert.model import ModelConfig, fresh, presets
from slimbert.model.heads import SequenceConfig
from slimbert.train.supervised import IGNORED, Supervised, each_label, merged, number, one_class, span, tags

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True}
ALONE: dict[str, Any] = {**HERE, "with_baselines": False}


def write(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def sentences(count: int, *, seed: int = 0) -> tuple[list[str], list[int], list[int]]:
    """(texts, how many good words each has, how many bad ones)."""
    draw = random.Random(seed)
    texts, good, bad = [], [], []
    for _ in range(count):
        g, b = draw.randrange(4), draw.randrange(4)
        words = draw.choices(GOOD, k=g) + draw.choices(BAD, k=b) + draw.choices(NEITHER, k=3)
        draw.shuffle(words)
        texts.append(" ".join(words))
        good.append(g)
        bad.append(b)
    return texts, good, bad


def test_numbers_are_learnt_in_their_own_unit(encoder: Path, tmp_path: Path):
    texts, good, bad = sentences(300)
    data = write(
        tmp_path / "a.parquet",
        text=texts,
        score=[1000.5 + 50.0 * (g - b) + i / 1e4 for i, (g, b) in enumerate(zip(good, bad))],
    )
    made = finetune(encoder, data, out=tmp_path / "run", settings=("lr=2e-3",), **HERE)
    assert (made.kind, made.metric) == ("regression", "spearman")
    assert made.test is not None
    assert made.test["spearman"] > 0.8
    assert list(made.baselines) == ["mean of train", "TF-IDF + ridge regression"]
    assert made.test["rmse"] < 0.6 * made.baselines["mean of train"]["rmse"]
    run = load(tmp_path / "run")
    best, worst = run.predict([" ".join(GOOD), " ".join(BAD)])
    assert best.value > 1050 > 950 > worst.value
    assert evaluate(tmp_path / "run", data).score["rows"] == 300
    model = slimbert.hf.SlimbertForSequenceClassification.from_pretrained(tmp_path / "run")
    assert (model.config.problem_type, model.config.num_labels) == ("regression", 1)
    ids = torch.from_numpy(run.tokenizer.encode([" ".join(GOOD)], 64)[0]).long()[None]
    out = model(ids, labels=torch.tensor([1000.0]))
    assert float(out.logits.detach()) == pytest.approx(best.value, rel=1e-5)
    assert float(out.loss.detach()) == pytest.approx((best.value - 1000) ** 2, rel=1e-3)


def test_numbers_in_another_unit_begin_with_what_is_known(encoder: Path, tmp_path: Path):
    """A run on euros that goes on with cents answers in cents from the start: a rate of nearly 0 changes nothing."""
    texts, good, bad = sentences(200)
    euros = [10.5 + 0.5 * (g - b) + i / 1e4 for i, (g, b) in enumerate(zip(good, bad))]
    for name, prices in (("euros", euros), ("cents", [100 * one for one in euros])):
        write(tmp_path / f"{name}.parquet", text=texts, price=prices)
    still, price = ("lr=1e-12", "min_updates=1", "epochs=1", "evaluations=1"), {**ALONE, "label_column": "price"}
    finetune(encoder, tmp_path / "euros.parquet", out=tmp_path / "first", settings=("lr=2e-3",), **price)
    made = finetune(tmp_path / "first", tmp_path / "cents.parquet", out=tmp_path / "then", settings=still, **price)
    assert made.kind == "regression" and made.test is not None and made.test["spearman"] > 0.8
    in_euros, in_cents = (load(tmp_path / name).predict(texts[:20]) for name in ("first", "then"))
    assert [one.value for one in in_cents] == pytest.approx([100 * one.value for one in in_euros], rel=1e-4)
    head = load(tmp_path / "then").model.config.head
    assert head.mean == pytest.approx(100 * load(tmp_path / "first").model.config.head.mean, rel=1e-9)


def test_several_labels_are_learnt_with_thresholds(encoder: Path, tmp_path: Path):
    texts, good, bad = sentences(300)
    sets = [["good"] * (g > 0) + ["bad"] * (b > 0) for g, b in zip(good, bad)]
    data = write(tmp_path / "a.parquet", text=texts, labels=sets)
    made = finetune(encoder, data, out=tmp_path / "run", settings=("lr=2e-3", "min_updates=250"), **HERE)
    assert (made.kind, made.labels) == ("multilabel", ("bad", "good"))
    assert made.test is not None
    assert made.test["micro_f1"] > 0.9
    assert made.baselines["TF-IDF + logistic regression"]["micro_f1"] > 0.9
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    assert said["problem_type"] == "multi_label_classification"
    assert len(said["task"]["thresholds"]) == 2
    run = load(tmp_path / "run")
    both, none = run.predict([f"{GOOD[0]} {BAD[1]} {GOOD[2]}", " ".join(NEITHER[:3])])
    assert (sorted(both.labels), none.labels) == (["bad", "good"], [])
    scored = evaluate(tmp_path / "run", data)
    assert [one.label for one in scored.labels] == ["bad", "good"]
    assert scored.score["micro_f1"] > 0.9
    model = slimbert.hf.SlimbertForSequenceClassification.from_pretrained(tmp_path / "run")
    ids = torch.from_numpy(run.tokenizer.encode([both.text], 64)[0]).long()[None]
    out = model(ids, labels=torch.tensor([[1, 1]]))
    assert torch.sigmoid(out.logits.detach())[0].tolist() == pytest.approx(list(both.scores.values()), abs=1e-5)
    assert torch.isfinite(out.loss)


def test_balanced_weights_raise_the_recall_of_a_rare_class(encoder: Path, tmp_path: Path):
    texts, good, bad = sentences(400)
    rare = [int(g - b >= 2) for g, b in zip(good, bad)]
    data = write(tmp_path / "a.parquet", text=texts, label=rare)
    quick = ("min_updates=40", "epochs=1", "evaluations=1")
    found = []
    for weights in ("none", "balanced"):
        run = tmp_path / weights
        finetune(encoder, data, out=run, settings=(*quick, f"class_weights={weights}"), **ALONE)
        found.append(sum(one.label == "1" for one in load(run).predict(texts)))
    assert found[1] > found[0]


# windows of long texts


def test_windows_cover_every_token_and_overlap():
    row = np.arange(1000, 1203)  # 201 inner tokens between two special ones
    made = windows(row, 32)
    assert all(len(one) == 32 and one[0] == 1000 and one[-1] == 1202 for one in made)
    assert np.array_equal(np.unique(np.concatenate([one[1:-1] for one in made])), row[1:-1])
    for before, after in itertools.pairwise(made):
        assert len(np.intersect1d(before[1:-1], after[1:-1])) >= 7  # a quarter of 30, rounded down
    assert windows(row, 203) == [row]
    assert len(windows(np.arange(5000), 32)) == MOST_WINDOWS


def test_long_texts_are_read_whole(encoder: Path, tmp_path: Path):
    """What decides stands at the end of a long text: cut, nothing can be learnt; in windows, it can."""
    draw = random.Random(0)
    texts, labels = [], []
    for i in range(200):
        words = draw.choices(NEITHER, k=40) + draw.choices(GOOD if i % 2 else BAD, k=4)
        texts.append(" ".join(words))
        labels.append(["bad", "good"][i % 2])
    data = write(tmp_path / "a.parquet", text=texts, label=labels)
    settings = ("max_len=24", "lr=1e-3", "min_updates=120")
    cut = finetune(encoder, data, out=tmp_path / "cut", settings=(*settings, "windows=cut"), **ALONE)
    whole = finetune(encoder, data, out=tmp_path / "whole", settings=settings, **ALONE)
    assert cut.cut_share == whole.cut_share == 1.0
    assert cut.test is not None and whole.test is not None
    assert cut.test["accuracy"] < 0.8 < 0.9 < whole.test["accuracy"]
    run = load(tmp_path / "whole")
    assert run.task.windows == "mean"
    answers = run.predict([texts[0], "bama", texts[1]])
    assert [one.text for one in answers] == [texts[0], "bama", texts[1]]
    alone = run.predict([texts[1]])[0]
    assert answers[2].scores == pytest.approx(alone.scores, abs=1e-5)
    largest = finetune(encoder, data, out=tmp_path / "max", settings=(*settings, "windows=max"), **ALONE)
    assert largest.test is not None and largest.test["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("long", "settings", "expected"),
    [
        (0, Settings(), "cut"),
        (5, Settings(), "cut"),  # of a hundred: not more than 5%
        (6, Settings(), "mean"),
        (60, Settings(windows="cut"), "cut"),
        (60, Settings(windows="max"), "max"),
        (0, Settings(windows="mean"), "mean"),
    ],
)
def test_windows_are_chosen_where_more_than_a_twentieth_would_be_cut(
    encoder: Path, long: int, settings: Settings, expected: str
):
    texts = [" ".join(NEITHER[:1] * 40)] * long + ["bama"] * (100 - long)
    rows = Split(texts, np.arange(100) % 2)
    task = Task("classification", ("a", "b"), ("text",), "label", rows, rows, None, (), "")
    kind, share = kind_for(task, TextTokenizer.load(encoder), settings, max_len=16)
    assert (share, kind.description.windows) == (long / 100, expected)


def test_cut_share_is_that_of_the_tokenizer(encoder: Path):
    tokenizer = TextTokenizer.load(encoder)
    texts = [" ".join(NEITHER[:1] * n) for n in range(1, 30)] + ["ç" * 40]
    longer = sum(len(row) > 16 for row in tokenizer.encode(texts, 1000))
    assert cut_share(tokenizer, texts, 16) == longer / len(texts)
    pairs = list(zip(texts, texts[::-1]))
    both = sum(len(row) > 16 for row in tokenizer.encode_pairs(pairs, 1000)[0])
    assert cut_share(tokenizer, pairs, 16) == both / len(pairs)


def test_pairs_are_cut_and_said_so(encoder: Path, tmp_path: Path):
    draw = random.Random(0)
    first = [" ".join(draw.choices(NEITHER, k=20)) for _ in range(60)]
    data = write(tmp_path / "a.parquet", sentence1=first, sentence2=first[::-1], label=[0, 1] * 30)
    quick = ("max_len=16", "min_updates=2", "epochs=1", "evaluations=1")
    made = finetune(encoder, data, out=tmp_path / "run", settings=quick, **ALONE)
    assert made.cut_share == 1.0
    assert load(tmp_path / "run").task.windows == "cut"


def test_rows_of_a_text_stay_together():
    description = Description(max_len=8, windows="mean")
    features = Features([np.arange(n) for n in (8, 8, 3, 8, 8, 8)], None, np.array([0, 0, 1, 2, 2, 2]), together=True)
    assert len(features) == 3
    assert features.lengths().tolist() == [16, 3, 24]
    batch = features.batch([2, 1], pad_id=0, device="cpu")
    assert batch["windows"].tolist() == [[0, 1, 2], [3, -1, -1]]
    assert batch["input_ids"].shape == (4, 8)
    single = features.batch([1], pad_id=0, device="cpu")
    assert "windows" not in single and "mask" not in single
    assert dataclasses.replace(features, ids=[], owner=np.zeros(0, np.int64)).lengths().tolist() == []
    assert description.windows == "mean"


def test_settings_of_windows_are_checked(encoder: Path, tmp_path: Path):
    for setting, problem in (("windows=median", "windows"), ("chunk=64", "--set chunk: 64 tokens, a row may have 256")):
        with pytest.raises(InputError, match=problem):
            finetune(encoder, labelled(tmp_path / "a.csv"), out=tmp_path / "run", settings=(setting,), **HERE)


# judges, by closed form


def test_merged_windows():
    answers = torch.tensor([[1.0, 5.0], [3.0, 1.0], [7.0, 7.0]])
    windows_of = torch.tensor([[0, 1], [2, -1]])
    assert merged(answers, windows_of, "mean").tolist() == [[2.0, 3.0], [7.0, 7.0]]
    assert merged(answers, windows_of, "max").tolist() == [[3.0, 5.0], [7.0, 7.0]]


def test_judges():
    answers = torch.randn(4, 3)
    labels = torch.tensor([0, 2, 1, 2])
    plain = one_class(answers, {"labels": labels})
    torch.testing.assert_close(one_class(answers, {"labels": labels}, weights=(1.0, 1.0, 1.0)), plain)
    several = torch.tensor([[1, 0, 1]] * 4, dtype=torch.bool)
    by_hand = -(several * torch.sigmoid(answers).log() + ~several * torch.sigmoid(-answers).log()).mean()
    torch.testing.assert_close(each_label(answers, {"labels": several}), by_hand)
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = ((answers[:, 0] - values) ** 2).mean() / 4
    torch.testing.assert_close(number(answers[:, :1], {"labels": values}, deviation=2.0), expected)


def test_weights_count_a_class_more_or_less():
    """By hand and as torch weighs, with weights that are not alike."""
    draw, weights = torch.Generator().manual_seed(0), (0.5, 1.0, 4.0)
    answers, labels = torch.randn(5, 3, generator=draw), torch.tensor([0, 2, 1, 2, 0])
    each, counted = -answers.log_softmax(dim=1)[torch.arange(5), labels], torch.tensor(weights)[labels]
    expected = (each * counted).sum() / counted.sum()
    torch.testing.assert_close(one_class(answers, {"labels": labels}, weights=weights), expected)
    several = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.bool)
    there, absent = torch.sigmoid(answers).log(), torch.sigmoid(-answers).log()
    expected = -(several * torch.tensor(weights) * there + ~several * absent).mean()
    torch.testing.assert_close(each_label(answers, {"labels": several}, weights=weights), expected)
    words, marks = torch.randn(2, 3, 3, generator=draw), torch.tensor([[1, 2, IGNORED], [0, IGNORED, IGNORED]])
    options: dict[str, Any] = {"weight": torch.tensor(weights), "ignore_index": IGNORED}
    expected = torch.nn.functional.cross_entropy(words.flatten(0, 1), marks.flatten(), **options)
    torch.testing.assert_close(tags(words, {"labels": marks}, weights=weights), expected)


def test_balanced_classes_count_alike(encoder: Path):
    """Of ten six, three and one: the loss is the mean over classes; that a label is there weighs as that it is not."""
    tokenizer, balanced = TextTokenizer.load(encoder), Settings(class_weights="balanced")
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    answers = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    each = -answers.log_softmax(dim=1)[torch.arange(10), labels]
    alike = torch.stack([each[labels == one].mean() for one in range(3)]).mean()
    classes = kind_of(tokenizer, Description(), ("a", "b", "c"))
    judge = classes.judge(Split(["bama"] * 10, labels.numpy()), balanced)
    torch.testing.assert_close(judge(answers, {"labels": labels}), alike)
    of_words = kind_of(tokenizer, Description(kind="ner"), ("O", "B-A", "I-A"))
    judge = of_words.judge(Split(["bama"] * 2, [labels[:4].numpy(), labels[4:].numpy()]), balanced)
    rows = torch.nn.utils.rnn.pad_sequence([labels[:4], labels[4:]], batch_first=True, padding_value=IGNORED)
    scores = torch.nn.utils.rnn.pad_sequence([answers[:4], answers[4:]], batch_first=True)
    torch.testing.assert_close(judge(scores, {"labels": rows}), alike)
    several = torch.nn.functional.one_hot(labels, 3).bool()
    sets = kind_of(tokenizer, Description(kind="multilabel"), ("a", "b", "c"))
    judge = sets.judge(Split(["bama"] * 10, several.numpy()), balanced)
    logs = torch.nn.functional.logsigmoid
    parts = [(-logs(own[there]), -logs(-own[~there])) for own, there in zip(answers.T, several.T)]
    expected = torch.stack([len(absent) * there.mean() + absent.sum() for there, absent in parts]).sum() / 30
    torch.testing.assert_close(judge(answers, {"labels": several}), expected)


def test_tags_without_a_label_do_not_count():
    answers = torch.randn(2, 3, 4)
    labels = torch.tensor([[1, 2, IGNORED], [3, IGNORED, IGNORED]])
    chosen = torch.stack([answers[0, 0], answers[0, 1], answers[1, 0]])
    expected = torch.nn.functional.cross_entropy(chosen, torch.tensor([1, 2, 3]))
    torch.testing.assert_close(tags(answers, {"labels": labels}), expected)


def test_spans_stand_in_the_context_only():
    answers = torch.zeros(1, 4, 2)
    context = torch.tensor([[True, False, True, True]])
    loss = span(answers, {"context": context, "start": torch.tensor([2]), "end": torch.tensor([3])})
    assert float(loss) == pytest.approx(np.log(3), rel=1e-6)  # three places, all alike


def test_what_mixers_add_counts_in_chunks_too():
    """Here a mean over rows, so that chunks add up to one pass; each chunk is weighed by its rows."""
    config = presets.from_pattern("1{sf}", dim=32, head_dim=16, vocab=40, max_len=16)
    model = fresh(ModelConfig(encoder=config, head=SequenceConfig(labels=("a", "b"), pool="mean")), 0)
    weight = torch.ones((), requires_grad=True)
    batch = {
        "input_ids": torch.randint(5, 40, (7, 12), generator=torch.Generator().manual_seed(0)),
        "windows": torch.tensor([[0, 1, 2], [3, 4, 5], [6, -1, -1]]),
        "labels": torch.tensor([0, 1, 1]),
    }
    found = []
    for chunk in (None, 36):
        objective = Supervised(model, one_class, chunk=chunk)

        def encode(params: Any, some: Any, objective: Supervised = objective) -> Any:
            encoded = objective.encode(params, some)
            added = (weight * some["input_ids"].float().mean(), 2 * weight * some["input_ids"][:, 0].float().mean())
            return encoded._replace(state=encoded.state._replace(losses=added))

        loss = objective.loss(encode, batch)
        assert set(loss.parts) == {"task", "auxiliary_0", "auxiliary_1"}
        parts = [loss.parts[name] for name in sorted(loss.parts)]
        torch.testing.assert_close(loss.total, torch.stack(parts).sum())
        found.append([*(part.detach() for part in parts), *torch.autograd.grad(loss.total, [weight])])
    for whole, chunks in zip(*found, strict=True):
        torch.testing.assert_close(whole, chunks, rtol=1e-5, atol=1e-6)


# benchmarks by name, few rows, several seeds


@pytest.mark.parametrize("name", ["cola", "sst2"])
def test_a_benchmark_is_selected_and_shown_by_its_own_score(encoder: Path, tmp_path: Path, name: str):
    texts, good, bad = sentences(120)
    data = write(tmp_path / "a.parquet", sentence=texts, label=[int(g > b) for g, b in zip(good, bad)])
    quick = ("min_updates=6", "epochs=1", "evaluations=1")
    made = finetune(encoder, data, kind=name, out=tmp_path / "run", settings=quick, **HERE)
    assert made.metric == {"cola": "matthews", "sst2": "accuracy"}[name]
    assert all(made.metric in score for score in made.baselines.values())
    assert f"| {made.metric} |" in (tmp_path / "run" / "README.md").read_text()
    assert evaluate(tmp_path / "run", data).score[made.metric] <= 1


def test_f1_says_of_which_label_it_is(tmp_path: Path):
    texts, good, _ = sentences(60)
    data = write(tmp_path / "a.parquet", question1=texts, question2=texts[::-1], label=[g % 2 for g in good])
    assert "F1 is that of the label '1'" in load_task(data, kind="qqp").notes
    write(tmp_path / "b.parquet", question1=texts, question2=texts[::-1], label=[g % 3 for g in good])
    with pytest.raises(InputError, match=r"--task qqp: it has two labels, the data 3; give --task pair"):
        load_task(tmp_path / "b.parquet", kind="qqp")


def test_what_f1_judges_is_given_from_a_chosen_probability_on(encoder: Path, tmp_path: Path):
    """One row in eight is positive and two updates teach little: from 0.5 on, nothing would be given."""
    texts, good, bad = sentences(320)
    label = [int(g > b + 1) for g, b in zip(good, bad)]
    data = write(tmp_path / "a.parquet", question1=texts, question2=texts[::-1], label=label)
    quick = ("min_updates=4", "epochs=1", "evaluations=1", "lr=1e-3")
    made = finetune(encoder, data, kind="qqp", out=tmp_path / "run", settings=quick, **HERE)
    run = load(tmp_path / "run", device="cpu")
    assert run.task.thresholds is not None
    (limit,) = run.task.thresholds
    test = load_task(data, kind="qqp").test
    assert test is not None
    answers = run.predict(test.texts)
    assert {one.label for one in answers} == {"0", "1"}
    assert all((one.label == "1") == (one.scores["1"] >= limit) for one in answers)
    assert all(one.score == one.scores[one.label] for one in answers)
    assert made.test["f1"] > f1(test.labels, np.array([one.scores["1"] >= 0.5 for one in answers], dtype=np.int64))
    assert made.baselines["TF-IDF + logistic regression"]["f1"] > 0
    counts = [
        line.split("|")[2:4] for line in (tmp_path / "run" / "report.md").read_text().splitlines() if "**" in line
    ]
    assert sum(int(row[1]) for row in counts) == sum(one.label == "1" for one in answers)


def test_few_rows_of_each_class_beside_the_frozen_encoder(encoder: Path, tmp_path: Path):
    data = labelled(tmp_path / "a.csv")
    quick = ("min_updates=6", "epochs=1", "evaluations=1")
    made = finetune(encoder, data, out=tmp_path / "run", settings=quick, few_shot=5, **HERE)
    assert any("few-shot: 5 rows of each class" in note for note in made.notes)
    assert "frozen encoder + logistic regression" in made.baselines
    with pytest.raises(InputError, match=r"few-shot: 500 rows of each class, '.*' has fewer"):
        finetune(encoder, data, out=tmp_path / "more", few_shot=500, **HERE)
    with pytest.raises(InputError, match="0 rows of each class; give 1 or more"):
        finetune(encoder, data, out=tmp_path / "none", few_shot=0, **HERE)


def test_seeds_share_one_split(encoder: Path, tmp_path: Path):
    data = labelled(tmp_path / "a.csv")
    quick = ("min_updates=6", "epochs=1", "evaluations=1")
    one = functools.partial(finetune, encoder, data, settings=quick, **HERE)
    made = with_seeds(one, out=tmp_path / "all", seeds=3, first=4, with_baselines=False)
    hashes = {json.loads((Path(run.run) / "data.json").read_text())["sha256"] for run in made.runs}
    assert len(hashes) == 1
    assert [Path(run.run).name for run in made.runs] == ["seed-4", "seed-5", "seed-6"]
    scores = [run.test["accuracy"] for run in made.runs if run.test]
    assert made.mean == pytest.approx(np.mean(scores))
    assert made.low <= made.mean <= made.high
    assert json.loads((tmp_path / "all" / "seeds.json").read_text())["mean"] == made.mean
    with pytest.raises(InputError, match="1 is too small"):
        with_seeds(one, out=tmp_path / "one", seeds=1)


@pytest.mark.parametrize("kind", ["cola", "qqp", "regression", "multilabel"])
def test_runs_are_compared_by_the_score_of_their_task(encoder: Path, tmp_path: Path, kind: str):
    texts, good, bad = sentences(120)
    columns: dict[str, dict[str, list]] = {
        "cola": {"sentence": texts, "label": [int(g > b) for g, b in zip(good, bad)]},
        "qqp": {"question1": texts, "question2": texts[::-1], "label": [int(g > b) for g, b in zip(good, bad)]},
        "regression": {"text": texts, "score": [g - b + 0.5 for g, b in zip(good, bad)]},
        "multilabel": {"text": texts, "labels": [["g"] * (g > 0) + ["b"] * (b > 0) for g, b in zip(good, bad)]},
    }
    metrics = {"cola": "matthews", "qqp": "f1", "regression": "spearman", "multilabel": "micro_f1"}
    data = write(tmp_path / "a.parquet", **columns[kind])
    quick = ("epochs=1", "evaluations=1", "lr=2e-3")
    for name, updates in (("one", 60), ("two", 2)):
        settings = (*quick, f"min_updates={updates}")
        finetune(encoder, data, kind=kind, out=tmp_path / name, settings=settings, **ALONE)
    found = compare(tmp_path / "one", tmp_path / "two", data, device="cpu")
    assert found.metric == found.differences[0].metric == metrics[kind]
    for one in found.differences:
        ends = [score[one.metric] for score in found.scores]
        assert [one.first, one.second] == pytest.approx(ends, abs=1e-9)
        assert one.difference == pytest.approx(ends[0] - ends[1], abs=1e-9)
        assert one.low <= one.high and 0 < one.p <= 1
    assert f"{found.metric}_low" in found.scores[0]
    if kind == "regression":
        assert [one.metric for one in found.differences] == ["spearman", "pearson", "rmse", "mae"]


def test_baselines_are_computed_once_for_all_seeds(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []
    real = Classification.baselines

    def counted(self: Classification, task: Any, **options: Any) -> Any:
        calls.append(task.sha256)
        return real(self, task, **options)

    monkeypatch.setattr(Classification, "baselines", counted)
    data = labelled(tmp_path / "a.csv")
    quick = ("min_updates=3", "epochs=1", "evaluations=1")
    one = functools.partial(finetune, encoder, data, settings=quick, **HERE)
    made = with_seeds(one, out=tmp_path / "all", seeds=3)
    assert len(calls) == 1
    assert all(run.baselines == made.runs[0].baselines != {} for run in made.runs)
    assert {name: one["mean"] for name, one in made.baselines.items()} == pytest.approx(
        {name: scores["accuracy"] for name, scores in made.runs[0].baselines.items()}
    )
    shown = tables.seeded(made)
    ahead = [name for name, one in made.baselines.items() if one["mean"] >= made.mean]
    assert [line for line in shown if isinstance(line, str) and "not ahead" in line] == [
        f"the encoder is not ahead of {', '.join(ahead)} in the mean"
    ] * bool(ahead)
    assert "TF-IDF" in (tmp_path / "all" / "seed-2" / "report.md").read_text()
    with_seeds(functools.partial(one, few_shot=5), out=tmp_path / "few", seeds=2)
    assert len(calls) == 3  # every seed draws other rows


def test_texts_without_a_word_have_a_baseline(encoder: Path, tmp_path: Path):
    data = write(
        tmp_path / "a.parquet",
        text=["\U0001f600 \U0001f680" * (1 + i % 3) for i in range(60)],
        label=[i % 3 for i in range(60)],
    )
    quick = ("min_updates=3", "epochs=1", "evaluations=1")
    with pytest.raises(InputError):
        finetune(encoder, data, out=tmp_path / "few", settings=quick, **HERE)  # three different texts only
    faces = [chr(0x1F600 + i) for i in range(60)]
    data = write(tmp_path / "b.parquet", text=faces, label=[i % 2 for i in range(60)])
    made = finetune(encoder, data, out=tmp_path / "run", settings=quick, **HERE)
    assert "TF-IDF + logistic regression" in made.baselines


def test_hidden_numbers_of_a_test_are_no_labels(tmp_path: Path):
    texts = [f"t{i}" for i in range(40)]
    write(tmp_path / "train.parquet", sentence1=texts, sentence2=texts, label=[i / 8 for i in range(40)])
    write(tmp_path / "validation.parquet", sentence1=["v"] * 4, sentence2=["w"] * 4, label=[0.5, 1.5, 2.5, 3.5])
    write(tmp_path / "test.parquet", sentence1=["x"] * 4, sentence2=["y"] * 4, label=[-1.0] * 4)
    task = load_task(tmp_path, kind="stsb")
    assert "test has no labels and was dropped" in task.notes
    assert task.test is not None and len(task.test) == 4 and task.test.labels.min() == 0.5
