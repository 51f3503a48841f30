"""Tagging and question answering as jobs: learnt, scored, answered with places in the text, read by transformers."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

import slimbert
import slimbert.hf  # registers the classes
from jobs.small import BAD, GOOD, NEITHER, encoder_in
from slimbert.data.metrics import squad_scores
from slimbert.data.tagging import of_words
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.answers import predictions, vectors
from slimbert.jobs.compare import compare
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.jobs.tasks import Description
from slimbert.jobs.tasks.answering import Answering

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True}
NARROW = "2{sf}:1{sf}"


def write(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def sentences(count: int, *, seed: int = 0, words: int = 7) -> tuple[list[list[str]], list[list[str]]]:
    """Words and IOB2 tags: two good words in a row are a place, one bad word is a person."""
    draw = random.Random(seed)
    tokens, tags = [], []
    for _ in range(count):
        row, marks = [], []
        while len(row) < words:
            kind = draw.choice(["none", "none", "place", "person"])
            if kind == "place":
                row += [draw.choice(GOOD), draw.choice(GOOD), draw.choice(NEITHER)]
                marks += ["B-LOC", "I-LOC", "O"]
            elif kind == "person":
                row.append(draw.choice(BAD))
                marks.append("B-PER")
            else:
                row.append(draw.choice(NEITHER))
                marks.append("O")
        tokens.append(row)
        tags.append(marks)
    return tokens, tags


# tagging


@pytest.fixture(scope="module")
def entities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokens, tags = sentences(300)
    return write(tmp_path_factory.mktemp("entities") / "a.parquet", tokens=tokens, ner_tags=tags)


@pytest.fixture(scope="module")
def tagger(encoder: Path, entities: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("tagger") / "run"
    made = finetune(encoder, entities, out=run, settings=("lr=2e-3", "min_updates=300"), **HERE)
    assert (made.kind, made.metric, made.labels) == ("ner", "f1", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))
    assert made.test is not None
    assert made.test["f1"] > 0.95
    assert made.test["f1_low"] <= made.test["f1"] <= made.test["f1_high"]
    assert list(made.baselines) == ["most frequent tag of each word"]
    assert made.baselines["most frequent tag of each word"]["f1"] < made.test["f1"]
    return run


def test_entities_stand_in_the_text(tagger: Path):
    text = f"{NEITHER[0]}, {GOOD[0]} {GOOD[1]}! ({BAD[2]})"
    (answer,) = load(tagger).predict([text])
    assert [(one["text"], one["label"]) for one in answer.entities] == [
        (f"{GOOD[0]} {GOOD[1]}", "LOC"),
        (BAD[2], "PER"),
    ]
    for one in answer.entities:
        assert text[one["start"] : one["end"]] == one["text"]
        assert 0 < one["score"] <= 1
    assert json.loads(json.dumps(answer._asdict()))["text"] == text


def test_any_text_is_tagged_legally(tagger: Path):
    texts = ["", " ", "🙂👍🏽", "é" * 50, " ".join(GOOD * 40), "a\u0300b\u200dc", "\x00", "ﬁ ß İ"]
    for text, answer in zip(texts, load(tagger).predict(texts), strict=True):
        assert answer.text == text
        before = "O"
        for word, tag in answer.words:
            assert word in text
            assert not tag.startswith("I-") or before[2:] == tag[2:], (text, answer.words)
            before = tag


def test_tags_do_not_depend_on_the_batch(tagger: Path):
    tokens, _ = sentences(20, seed=3)
    run = load(tagger)
    rows = [of_words(row) for row in tokens]
    together = run.kind.answers(rows, (made := run.kind.features(split_of(rows), labelled=False)), run.outputs(made))
    for row, answer in zip(rows, together, strict=True):
        assert run.predict([row.text])[0].words == answer.words


def split_of(texts: list) -> Any:
    from slimbert.data.tasks import Split

    return Split(texts, None)


def test_long_rows_are_tagged_whole(encoder: Path, tmp_path: Path):
    """Forty words where the model reads twelve pieces at a time."""
    tokens, tags = sentences(150, words=40)
    data = write(tmp_path / "a.parquet", tokens=tokens, ner_tags=tags)
    made = finetune(encoder, data, out=tmp_path / "run", settings=("lr=2e-3", "max_len=24"), **HERE)
    assert made.test is not None and made.test["f1"] > 0.9
    answer = load(tmp_path / "run").predict([" ".join(tokens[0])])[0]
    assert len(answer.words) == len(tokens[0])


@pytest.mark.parametrize("pattern", ["2{sf}:1{sf}", "1{sf},1{s}:1{f}"])
def test_a_narrow_encoder_tags(data: Path, entities: Path, tmp_path: Path, pattern: str):
    encoder = encoder_in(tmp_path / "encoder", data, pattern)
    made = finetune(encoder, entities, out=tmp_path / "run", settings=("lr=2e-3",), with_baselines=False, **HERE)
    assert made.test is not None and made.test["f1"] > 0.9


def test_evaluated_by_type_and_reported(tagger: Path, entities: Path):
    made = evaluate(tagger, entities)
    assert {one.label for one in made.labels} == {"LOC", "PER"}
    assert made.score["f1"] > 0.95
    report = (tagger / "report.md").read_text()
    assert "| fine-tuned encoder |" in report and "## Labels" in report


def test_transformers_reads_the_tagger(tagger: Path):
    model = AutoModelForTokenClassification.from_pretrained(tagger)
    run = load(tagger)
    ids = torch.from_numpy(run.tokenizer.encode([f"{GOOD[0]} {GOOD[1]} {BAD[0]}"], 64)[0]).long()[None]
    labels = torch.full_like(ids, -100)
    labels[0, 1] = 1
    out = model(ids, labels=labels)
    assert out.logits.shape == (1, ids.shape[1], 5)
    assert model.config.id2label[int(out.logits[0, 1].argmax())] == "B-LOC"
    assert torch.isfinite(out.loss)


def test_a_pipeline_of_transformers_finds_the_same_entities(tagger: Path):
    """On plain words, where nothing illegal has to be repaired."""
    text = f"{NEITHER[0]} {GOOD[0]} {GOOD[1]} {NEITHER[1]} {BAD[2]}"
    theirs = slimbert.pipeline("ner", tagger, device="cpu")(text)
    (mine,) = load(tagger, device="cpu").predict([text])
    found = [(one["start"], one["end"], one["entity_group"]) for one in theirs]
    assert found == [(one["start"], one["end"], one["label"]) for one in mine.entities] != []


def test_classes_of_words_are_learnt_too(encoder: Path, tmp_path: Path):
    tokens, tags = sentences(200)
    classes = [[tag[-3:].lower().strip("-") + "x" for tag in row] for row in tags]
    data = write(tmp_path / "a.parquet", tokens=tokens, tags=classes)
    made = finetune(encoder, data, out=tmp_path / "run", kind="ner", settings=("lr=2e-3",), **HERE)
    assert made.metric == "word_accuracy"
    assert made.test is not None and made.test["word_accuracy"] > 0.95
    found = {one.label: one.rows for one in evaluate(tmp_path / "run", data).labels}
    assert found == Counter(tag for row in classes for tag in row)  # words, of which two in a row may be of one class


def test_conll_files_and_spans_are_read(encoder: Path, tmp_path: Path):
    tokens, tags = sentences(60)
    lines = [
        "\n".join(f"{word} {tag}" for word, tag in zip(*row, strict=True)) for row in zip(tokens, tags, strict=True)
    ]
    (tmp_path / "a.conll").write_text("\ufeff" + "\r\n\r\n".join(line.replace("\n", "\r\n") for line in lines))
    quick = ("min_updates=4", "epochs=1", "evaluations=1")
    made = finetune(encoder, tmp_path / "a.conll", out=tmp_path / "one", settings=quick, **HERE)
    assert made.kind == "ner"
    rows = []
    for row, marks in zip(tokens, tags, strict=True):
        text = " ".join(row)
        one = of_words(row)
        found = [[*one.spans[i], tag[2:]] for i, tag in enumerate(marks) if tag == "B-PER"]
        rows.append(json.dumps({"text": text, "entities": found}))
    (tmp_path / "b.jsonl").write_text("\n".join(rows))
    made = finetune(encoder, tmp_path / "b.jsonl", out=tmp_path / "two", settings=quick, **HERE)
    assert made.labels == ("O", "B-PER", "I-PER")


def spans_file(path: Path, *rows: tuple[str, list]) -> Path:
    path.write_text("\n".join(json.dumps({"text": text, "entities": spans}) for text, spans in rows))
    return path


def test_spans_inside_words_are_scored_as_words_are_answered(encoder: Path, tmp_path: Path):
    """Whoever predicts does not know where the right spans end: the score is that of whole words."""
    rows = [(f"{word}{BAD[0]} {word} {GOOD[0]}", [[0, len(word), "A"]]) for word in NEITHER * 8]
    data = spans_file(tmp_path / "a.jsonl", *rows)
    made = finetune(encoder, data, out=tmp_path / "run", settings=("lr=2e-3", "min_updates=60"), **HERE)
    assert made.test is not None and made.test["f1"] == 0 == made.baselines["most frequent tag of each word"]["f1"]
    assert any("begins or ends inside a word" in note for note in made.notes)
    run = load(tmp_path / "run")
    (answer,) = run.predict([rows[0][0]])
    assert [word for word, _ in answer.words] == rows[0][0].split()
    assert [one["text"] for one in answer.entities] == [rows[0][0].split()[0]]  # the word that holds the span
    assert (evaluate(tmp_path / "run", data).trained_on or 0) > len(rows) / 2


def test_rows_without_an_entity_are_scored_too(encoder: Path, tagger: Path, tmp_path: Path):
    plain = [(f"{NEITHER[0]} {word} {NEITHER[1]}", []) for word in NEITHER * 4]
    data = spans_file(tmp_path / "a.jsonl", (BAD[0], [[0, len(BAD[0]), "A"]]), (BAD[1], [[0, 4, "A"]]), *plain)
    quick = ("min_updates=4", "epochs=1", "evaluations=1")
    made = finetune(encoder, data, out=tmp_path / "run", settings=quick, **HERE)
    assert made.test is not None and made.test["f1"] == 0
    others = spans_file(tmp_path / "b.jsonl", *plain)
    found = evaluate(tagger, others, text_columns=["text"], label_column="entities")
    assert found.metric in found.score


def test_files_of_words_are_answered(tagger: Path, tmp_path: Path):
    """With tags (which are not read) and without, as lists and as texts: the same words, the same answers."""
    tokens, tags = sentences(5, seed=4)
    blocks = ["\n".join(f"{word} {tag}" for word, tag in zip(*row)) for row in zip(tokens, tags)]
    (tmp_path / "tagged.conll").write_text("\n\n".join(blocks))
    (tmp_path / "plain.conll").write_text("\n\n".join("\n".join(row) for row in tokens))
    write(tmp_path / "lists.parquet", tokens=tokens, ner_tags=[["B"] * len(row) for row in tokens])
    write(tmp_path / "texts.parquet", tokens=[" ".join(row) for row in tokens])
    expected = load(tagger).predict([" ".join(row) for row in tokens])
    assert [[word for word, _ in one.words] for one in expected] == tokens
    for name in ("tagged.conll", "plain.conll", "lists.parquet", "texts.parquet"):
        found = [answer for some in predictions(tagger, file=tmp_path / name) for answer in some]
        assert found == expected, name
    with pytest.raises(InputError, match="column 'tokens' holds list"):
        list(vectors(tagger, file=tmp_path / "lists.parquet"))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"tokens": [["a", "b"]] * 20, "ner_tags": [["O"]] * 20}, r"row 1: 2 words and 1 tags"),
        ({"tokens": [["a", None]] * 20, "ner_tags": [["O", "O"]] * 20}, r"row 1: word 2 of 2 is missing"),
        ({"tokens": [["a"]] * 20, "ner_tags": [["I"]] * 20}, "has no type"),
        ({"tokens": [["a"]] * 20, "ner_tags": [["O"]] * 20}, "one tag only|there is no"),
        ({"tokens": [["a"]] * 20, "other": [["O"]] * 20}, "no column of tags"),
    ],
)
def test_bad_tags_are_one_line(encoder: Path, tmp_path: Path, columns: dict, problem: str):
    data = write(tmp_path / "a.parquet", **columns)
    with pytest.raises(InputError, match=problem):
        finetune(encoder, data, kind="ner", out=tmp_path / "run", **HERE)


# question answering


def questions(count: int, *, seed: int = 0, length: int = 8, impossible: bool = False) -> dict[str, list]:
    """The answer is the word behind the one that is asked for; some ask for a word that is not there."""
    draw = random.Random(seed)
    made: dict[str, list] = {"id": [], "question": [], "context": [], "answers": []}
    for number in range(count):
        words = draw.sample(NEITHER, k=min(length, len(NEITHER)))
        words += draw.choices(NEITHER, k=length - len(words))
        there = not impossible or number % 3 > 0
        asked = draw.choice(GOOD)
        place = draw.randrange(len(words))
        answer = words[place]
        if there:
            words.insert(place, asked)
        context = " ".join(words)
        made["id"].append(str(number))
        made["question"].append(asked)
        made["context"].append(context)
        start = context.index(f"{asked} {answer}") + len(asked) + 1 if there else 0
        found = {"text": [answer], "answer_start": [start]} if there else {"text": [], "answer_start": []}
        made["answers"].append(found)
    return made


@pytest.fixture(scope="module")
def answerer(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qa")
    data = write(folder / "a.parquet", **questions(500))
    settings = ("lr=2e-3", "min_updates=500", "max_len=48", "dropout=0")
    made = finetune(encoder, data, out=folder / "run", settings=settings, **HERE)
    assert (made.kind, made.metric) == ("qa", "f1")
    assert made.test is not None
    assert list(made.baselines) == ["best matching sentence"]
    assert made.test["f1"] > max(0.5, made.baselines["best matching sentence"]["f1"])
    return folder / "run"


def test_answers_stand_in_the_context(answerer: Path):
    context = f"{NEITHER[1]}: {GOOD[1]} {NEITHER[3]}, {NEITHER[4]}"
    (answer,) = load(answerer).predict([(GOOD[1], context)])
    assert context[answer.start : answer.end] == answer.answer
    assert answer.question == GOOD[1]
    assert 0 <= answer.score <= 1


def test_answers_are_evaluated_and_compared(answerer: Path, tmp_path: Path):
    """On rows that the run never saw: the scores are those of what `predict` answers."""
    given = questions(80, seed=5)
    data = write(tmp_path / "a.parquet", **given)
    made = evaluate(answerer, data, device="cpu")
    asked = list(zip(given["question"], given["context"], strict=True))
    answers = [one.answer for one in load(answerer, device="cpu").predict(asked)]
    right = [one["text"] for one in given["answers"]]
    assert made.score == squad_scores(right, answers) and made.metric == "f1"
    assert made.score["f1"] > 0.5 and made.labels == () and made.trained_on == 0
    same = compare(answerer, answerer, data, device="cpu")
    assert (same.rows, same.metric, same.scores) == (80, "f1", (made.score, made.score))
    assert [one.metric for one in same.differences] == ["f1", "exact"]
    for one in same.differences:
        assert one.first == one.second == pytest.approx(made.score[one.metric], abs=1e-9)
        assert (one.difference, one.low, one.high) == (0, 0, 0)


def test_contexts_of_any_length_are_answered(answerer: Path):
    run = load(answerer)
    long = " ".join(NEITHER * 20)
    answers = run.predict([("bama", long), ("bama", "x"), ("bama " * 100, long)])
    for (_, context), answer in zip([("", long), ("", "x"), ("", long)], answers, strict=True):
        assert context[answer.start : answer.end] == answer.answer != ""


def test_what_cannot_be_answered_is_withheld(encoder: Path, tmp_path: Path):
    data = write(tmp_path / "a.parquet", **questions(600, impossible=True))
    settings = ("lr=2e-3", "min_updates=500", "max_len=48", "dropout=0")
    made = finetune(encoder, data, out=tmp_path / "run", settings=settings, with_baselines=False, **HERE)
    assert made.test is not None
    assert made.test["no_answer_f1"] > 0.5
    run = load(tmp_path / "run")
    assert run.task.thresholds is not None and len(run.task.thresholds) == 1
    withheld = run.predict([(GOOD[0], " ".join(NEITHER[:8]))])[0]
    assert (withheld.answer, withheld.start, withheld.end) == ("", 0, 0)


@pytest.mark.parametrize("words", [3, 120])
def test_the_score_of_a_withheld_answer_is_the_probability_of_no_answer(encoder: Path, words: int):
    """One of all places where nothing tells them apart, and not 1 - that of the best span; near 1 where all say so."""
    kind = Answering(TextTokenizer.load(encoder), Description(kind="qa", max_len=32, thresholds=(-1e6,)), ())
    asked, features, sizes = windows_of(kind, words)
    assert (len(sizes) > 1) == (words > 3)
    (found,) = kind.answers([asked], features, [np.zeros((size, 2), np.float32) for size in sizes])
    places = sum(sizes) - len(sizes) + 1  # every window has a first piece, which are one place
    assert found == (asked[0], "", 0, 0, pytest.approx(1 / places**2))
    (found,) = kind.answers([asked], features, [sure_of(0, size) for size in sizes])
    assert found == (asked[0], "", 0, 0, pytest.approx(1, abs=1e-4))


def test_windows_that_do_not_hold_the_answer_do_not_make_it_unsure(encoder: Path):
    kind = Answering(TextTokenizer.load(encoder), Description(kind="qa", max_len=32), ())
    asked, features, sizes = windows_of(kind, 120)
    outputs = [sure_of(0, size) for size in sizes[:-1]] + [sure_of(1, sizes[-1])]
    (found,) = kind.answers([asked], features, outputs)
    assert asked[1][found.start : found.end] == found.answer != ""
    assert found.score == pytest.approx(1, abs=1e-4)


def windows_of(kind: Answering, words: int) -> tuple[tuple[str, str], Any, list[int]]:
    """A question with a context of so many words, its features, and the places of each window."""
    asked = (GOOD[0], " ".join((NEITHER * 20)[:words]))
    features = kind.features(split_of([asked]), labelled=False)
    return asked, features, [len(places) for places in features.columns["select"].values]


def sure_of(place: int, size: int) -> np.ndarray:
    """Scores [K, 2] of a window that starts and ends an answer at this place."""
    scores = np.zeros((size, 2), np.float32)
    scores[place] = 20
    return scores


def test_transformers_reads_the_answerer(answerer: Path):
    model = AutoModelForQuestionAnswering.from_pretrained(answerer)
    run = load(answerer)
    ids, types = run.tokenizer.encode_pairs([(GOOD[0], f"{GOOD[0]} {NEITHER[0]}")], 48)
    inputs = torch.from_numpy(ids[0]).long()[None], None, torch.from_numpy(types[0]).long()[None]
    out = model(*inputs, start_positions=torch.tensor([3]), end_positions=torch.tensor([3]))
    beyond = torch.tensor([len(ids[0])])
    assert torch.isnan(model(*inputs, start_positions=beyond, end_positions=beyond).loss)  # nothing counts
    assert out.start_logits.shape == out.end_logits.shape == (1, len(ids[0]))
    assert torch.isfinite(out.loss)


def test_questions_are_answered_by_the_call_of_the_pipeline_that_was(answerer: Path):
    answer = slimbert.pipeline("question-answering", answerer, device="cpu")
    context = f"{NEITHER[1]}: {GOOD[1]} {NEITHER[3]}, {NEITHER[4]}"
    (mine,) = load(answerer, device="cpu").predict([(GOOD[1], context)])
    one = answer(question=GOOD[1], context=context)
    assert one == {"score": mine.score, "start": mine.start, "end": mine.end, "answer": mine.answer}
    assert context[one["start"] : one["end"]] == one["answer"]
    assert answer({"question": GOOD[1], "context": context}) == one
    several = answer(question=[GOOD[0], GOOD[1]], context=context)
    assert several[1]["answer"] == one["answer"] and len(several) == 2
    assert answer([{"question": GOOD[1], "context": context}]) == [one]
    assert answer(question=[], context=[]) == []
    for given, problem in (
        ({"question": "a"}, "no question or no context"),
        ({"question": ["a"], "context": ["b", "c"]}, "1 questions and 2 contexts"),
        ({"inputs": [{"question": "a"}]}, r"inputs\[0\]: .* has no context"),
    ):
        with pytest.raises(InputError, match=problem):
            answer(**given)


def test_squad_json_is_read(encoder: Path, tmp_path: Path):
    made = questions(60)
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": one,
                    "question": question,
                    "answers": [{"text": found["text"][0], "answer_start": found["answer_start"][0]}],
                }
            ],
        }
        for one, question, context, found in zip(*made.values(), strict=True)
    ]
    (tmp_path / "train.json").write_text(
        json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})
    )
    quick = ("min_updates=2", "epochs=1", "evaluations=1")
    found = finetune(encoder, tmp_path / "train.json", out=tmp_path / "run", settings=quick, **HERE)
    assert found.kind == "qa"
    asked = list(zip(made["question"], made["context"], strict=True))
    answers = [answer for some in predictions(tmp_path / "run", file=tmp_path / "train.json") for answer in some]
    assert answers == load(tmp_path / "run").predict(asked)


def test_runs_of_a_task_are_compared(tagger: Path, entities: Path, encoder: Path, tmp_path: Path):
    quick = ("min_updates=3", "epochs=1", "evaluations=1")
    finetune(encoder, entities, out=tmp_path / "poor", settings=quick, with_baselines=False, **HERE)
    found = compare(tagger, tmp_path / "poor", entities, device="cpu")
    assert found.difference > 0.5
    assert found.low > 0 and found.p < 0.01
    same = compare(tagger, tagger, entities, device="cpu")
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    np.testing.assert_allclose(found.difference, found.scores[0]["f1"] - found.scores[1]["f1"], atol=1e-9)
