"""The check of labelled data: every planted mistake is found, with its rows and places; clean data has no finding."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.checked import kinds, only, places
from jobs.labelled_files import Row, clean, clean_pairs, folder, sentence, write
from slimbert.cli.output import document
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.check.findings import EXAMPLES, EXCERPT, excerpt
from slimbert.jobs.check.lengths import APART, CHOSEN, CUT, WINDOWS
from slimbert.jobs.check.run import check
from slimbert.jobs.tasks.sequences import CUT_SHARE

# clean data


def test_clean_data_has_no_finding(tmp_path: Path):
    made = check(write(tmp_path / "a.csv", clean()))
    assert made.findings == () and not made.misleads
    assert (made.text_columns, made.label_column, made.label_kind) == (("text",), "label", "classes")
    (split,) = made.splits
    assert (split.split, split.rows, split.labelled, split.majority_share) == ("all", 200, 200, 0.5)
    assert split.labels == {"bad": 100, "good": 100} and split.lengths.longest == 12
    splits = {name: clean_pairs(count, seed=name) for name, count in (("train", 200), ("validation", 50), ("test", 50))}
    made = check(folder(tmp_path / "pairs", **splits))
    assert made.findings == () and [split.rows for split in made.splits] == [200, 50, 50]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("form", [{}, {"mark": b"\xef\xbb\xbf"}, {"ends": "\r\n"}, {"order": -1}], ids=str)
def test_the_form_of_the_file_makes_no_difference(tmp_path: Path, suffix: str, form: dict):
    rows = [*clean(), *clean(5), {"text": 'a,b "c"', "label": "Good"}, {"text": "", "label": "good"}]

    def report(path: Path) -> str:
        made = check(path)
        return document(made._replace(data="", seconds=0)).replace(str(path), "FILE")

    assert "conflicts" not in report(write(tmp_path / "a.csv", rows))
    assert report(write(tmp_path / f"b{suffix}", rows, **form)) == report(tmp_path / "a.csv")


def test_nothing_is_changed(tmp_path: Path):
    path = folder(tmp_path, train=clean(50) * 2, test=clean(50))
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}
    assert check(path).misleads
    assert before == {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}


# texts that stand more than once


def test_exact_repeats(tmp_path: Path):
    rows = clean()
    found = only(check(write(tmp_path / "a.csv", [*rows, *rows[:7]])), "duplicates")
    assert (found.severity, found.rows, len(found.examples)) == ("note", 7, EXAMPLES)
    assert places(found)[0] == ["a.csv:row 1", "a.csv:row 201"] and found.examples[0][0].label == "bad"
    found = only(check(write(tmp_path / "b.csv", [*rows, *rows[:40]])), "duplicates")
    assert (found.severity, found.rows) == ("warning", 40)


def test_near_repeats(tmp_path: Path):
    rows = clean()
    changed = [row | {"text": row["text"].upper() + "!"} for row in rows[:3]]
    changed += [row | {"text": row["text"] + " more"} for row in rows[10:12]]
    far = [row | {"text": " ".join(row["text"].split()[:4]) + " " + sentence((1, i))} for i, row in enumerate(rows[:9])]
    found = only(check(write(tmp_path / "a.csv", [*rows, *changed, *far])), "near_duplicates")
    assert found.rows == 5
    assert places(found)[3:] == [["a.csv:row 11", "a.csv:row 204"], ["a.csv:row 12", "a.csv:row 205"]]
    assert found.examples[4][1].text.endswith(" more")


@pytest.mark.parametrize(("leaked", "severity"), [(1, "warning"), (3, "misleads")])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_exact_leakage(tmp_path: Path, leaked: int, severity: str, split: str):
    train, other = clean(), clean(100 - leaked, seed=1)
    made = check(folder(tmp_path, **{"train": train, split: [*train[4 : 4 + leaked], *other]}))
    found = only(made, "leakage")
    assert (found.severity, found.rows, found.share) == (severity, leaked, leaked / 100)
    assert made.misleads == (severity == "misleads")
    assert places(found)[0] == ["train.csv:row 5", f"{split}.csv:row 1"]


def test_near_leakage(tmp_path: Path):
    train, test = clean(), clean(96, seed=1)
    leaked = [row | {"text": "new " + row["text"]} for row in train[:4]]
    found = only(check(folder(tmp_path, train=train, test=[*test, *leaked])), "near_leakage")
    assert found.rows == 4 and places(found)[3] == ["train.csv:row 4", "test.csv:row 100"]


def test_leakage_between_validation_and_test_and_into_an_unlabelled_split(tmp_path: Path):
    train, held_out = clean(), clean(40, seed=1)
    found = only(check(folder(tmp_path / "a", train=train, validation=held_out, test=held_out)), "leakage")
    assert found.severity == "misleads" and "test rows that stand in validation" in found.title
    hidden = [{"text": row["text"], "label": -1} for row in train[:20]]
    numbered = [row | {"label": int(row["label"] == "good")} for row in train]
    made = kinds(check(folder(tmp_path / "b", train=numbered, test=hidden)))
    assert made["leakage"].severity == made["unlabelled"].severity == "note"


def test_pairs_are_compared_as_pairs(tmp_path: Path):
    train, test = clean_pairs(), clean_pairs(100, seed=1)
    test[0] = train[0]
    test[1] = train[1] | {"sentence1": train[1]["sentence2"], "sentence2": train[1]["sentence1"]}
    test[2] = test[2] | {"sentence1": train[5]["sentence1"]}
    test[3] = test[3] | {"sentence1": train[6]["sentence2"]}
    found = kinds(check(folder(tmp_path, train=train, test=test)))
    assert {kind: (one.severity, one.rows) for kind, one in found.items()} == {
        "leakage": ("warning", 1),
        "near_leakage": ("misleads", 1),  # together they are more than 1%
        "known_sides": ("note", 2),
    }


def test_conflicts(tmp_path: Path):
    rows = clean()
    other = [row | {"label": {"bad": "good", "good": "bad"}[row["label"]]} for row in rows[:4]]
    found = kinds(check(write(tmp_path / "a.csv", [*rows, *other])))
    assert found.keys() == {"conflicts", "duplicates"}
    assert (found["conflicts"].severity, found["conflicts"].rows) == ("warning", 8)
    assert places(found["conflicts"])[1] == ["a.csv:row 2", "a.csv:row 202"]
    assert [row.label for row in found["conflicts"].examples[1]] == ["good", "bad"]
    test = [*other, *clean(100, seed=1)]
    found = kinds(check(folder(tmp_path / "b", train=rows, test=test)))
    assert found["conflicts"].rows == 8 and found["leakage"].rows == 4
    found = kinds(check(write(tmp_path / "c.csv", [*rows[:100], *other])))
    assert found["conflicts"].severity == "misleads"
    scores = [{"text": sentence(i), "label": i / 7} for i in range(100)]
    repeated = [scores[0] | {"label": 0.3}, scores[1] | {"label": 9.0}]
    found = kinds(check(write(tmp_path / "d.csv", [*scores, *repeated])))
    assert found["conflicts"].rows == 2 and places(found["conflicts"]) == [["d.csv:row 2", "d.csv:row 102"]]


# labels


def relabelled(**given: int) -> list[Row]:
    """Clean rows with so many of each label."""
    names = [name for name, count in given.items() for _ in range(count)]
    return [row | {"label": name} for row, name in zip(clean(len(names)), names)]


@pytest.mark.parametrize(
    ("rows", "kind", "severity", "count"),
    [
        (relabelled(good=120), "one_class", "misleads", 120),
        (relabelled(good=300, bad=10), "dominant", "warning", 300),
        (relabelled(good=100, bad=50, ugly=9), "rare", "warning", 9),
        (relabelled(good=40, bad=40), "few_rows", "warning", 80),
        ([*relabelled(good=100, bad=60), {"text": "nothing known", "label": ""}], "unlabelled", "warning", 1),
        (relabelled(good=80, Good=20, bad=100), "spelt", "warning", 20),
        (relabelled(**{"good": 80, "good ": 20, "bad": 100}), "spelt", "note", 20),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels(tmp_path: Path, rows: list[Row], kind: str, severity: str, count: int):
    made = check(write(tmp_path / "a.csv", rows))
    found = only(made, kind)
    assert (found.severity, found.rows) == (severity, count) and made.misleads == (severity == "misleads")
    assert found.remedy.endswith(".")


def test_one_row_and_no_label(tmp_path: Path):
    found = kinds(check(write(tmp_path / "a.csv", clean(1))))
    assert found["one_row"].severity == found["one_class"].severity == "misleads"
    found = kinds(check(write(tmp_path / "b.csv", [row | {"label": ""} for row in clean()])))
    assert found["unlabelled"].severity == "misleads"


def test_a_task_of_numbers_without_one(tmp_path: Path):
    """Cells that are empty, and numbers that no computer holds, are no range of numbers."""
    made = check(write(tmp_path / "a.csv", [{"text": row["text"], "score": ""} for row in clean()]), task="regression")
    assert kinds(made)["unlabelled"].severity == "misleads" and made.splits[0].labelled == 0
    huge = [{"text": row["text"], "score": f"1e{400 + i}"} for i, row in enumerate(clean())]  # words in JSON
    for task in (None, "regression"):
        assert check(write(tmp_path / "b.jsonl", huge), task=task).label_kind != "numbers"
    scores = [{"text": row["text"], "score": i % 50} for i, row in enumerate(clean())]
    hidden = [{"text": row["text"], "score": -1} for row in clean(20, seed=1)]
    made = check(folder(tmp_path / "c", train=scores, test=hidden), task="regression")
    assert made.label_kind == "numbers" and [split.labelled for split in made.splits] == [200, 0]


def test_labels_that_train_does_not_have(tmp_path: Path):
    test = [*clean(100, seed=1), {"text": "strange", "label": "ugly"}]
    found = only(check(folder(tmp_path, train=clean(), test=test)), "unknown")
    assert (found.severity, found.rows, places(found)) == ("misleads", 1, [["test.csv:row 101"]])
    assert "'ugly'" in found.title and found.examples[0][0].label == "ugly"


def test_what_the_labels_are_for_may_be_said(tmp_path: Path):
    """Several labels in one word and whole numbers that are scores look like classes that train lacks."""
    train = [row | {"label": ("a|b", "b", "a")[i % 3]} for i, row in enumerate(clean(120))]
    test = [row | {"label": "b|a"} for row in clean(140)[120:]]
    folder(tmp_path / "sets", train=train, test=test)
    assert only(check(tmp_path / "sets"), "unknown").severity == "misleads"
    made = check(tmp_path / "sets", task="multilabel")
    assert made.label_kind == "lists" and "unknown" not in kinds(made)
    scores = [row | {"label": str(i % 50)} for i, row in enumerate(clean(120))]
    folder(tmp_path / "scores", train=scores, test=[row | {"label": "99"} for row in clean(140)[120:]])
    assert "unknown" in kinds(check(tmp_path / "scores"))
    made = check(tmp_path / "scores", task="regression")
    assert made.label_kind == "numbers" and "unknown" not in kinds(made)
    with pytest.raises(InputError, match="--task classes: no such task"):
        check(tmp_path / "scores", task="classes")


def test_the_rest_of_an_entity_is_known_by_its_beginning(tmp_path: Path):
    for name, tags in (("train", ("B-LOC", "O")), ("test", ("B-LOC", "I-LOC"))):
        lines = (f"word{i} {tags[0]}\nand{i} {tags[1]}\n" for i in range(120 if name == "train" else 15))
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    assert "unknown" not in kinds(check(tmp_path))


def test_another_balance(tmp_path: Path):
    test = [row for row in clean(200, seed=1) if row["label"] == "good"] + clean(30, seed=2)
    found = only(check(folder(tmp_path, train=clean(), test=test)), "shifted")
    assert found.severity == "warning" and "50% of train" in found.title
    few = [row for row in clean(8, seed=1) if row["label"] == "good"] + clean(2, seed=2)  # may be chance
    assert check(folder(tmp_path, train=clean(), test=few)).findings == ()


def test_spellings_are_shown(tmp_path: Path):
    found = only(check(write(tmp_path / "a.csv", relabelled(**{"Pos": 60, "pos ": 30, "neg": 50}))), "spelt")
    assert found.severity == "warning" and "'Pos', 'pos '" in found.title
    assert [row.label for row in found.examples[0]] == ["Pos", "pos "]
    assert places(found) == [["a.csv:row 1", "a.csv:row 61"]]


def test_texts_that_name_their_label(tmp_path: Path):
    rows = [row | {"label": ("not_spam", "spam")[i % 2]} for i, row in enumerate(clean())]
    for row in rows[:80]:
        row["text"] += " Not spam!" if row["label"] == "not_spam" else ""
    assert check(write(tmp_path / "a.csv", rows)).findings == ()  # 40 of 100
    for row in rows[80:130]:
        row["text"] += " Not spam!" if row["label"] == "not_spam" else ""
    found = only(check(write(tmp_path / "a.csv", rows)), "given_away")
    assert (found.severity, found.rows) == ("warning", 65) and "not_spam" in found.title
    for row in rows:
        row["text"] += " not spam"
    assert check(write(tmp_path / "a.csv", rows)).findings == ()  # in all texts: it tells nothing


# texts


def with_texts(*texts: str | None) -> list[Row]:
    return [*clean(), *({"text": text, "label": ("bad", "good")[i % 2]} for i, text in enumerate(texts))]


@pytest.mark.parametrize(
    ("kind", "severity", "texts"),
    [
        ("empty", "warning", ["", " ", "\t\n", "\u00a0"]),
        ("missing", "warning", [None, None]),
        ("short", "note", ["a", " b "]),
        ("replaced", "warning", ["caf\ufffd in the old town"]),
        ("mojibake", "warning", ["the cafÃ© at the corner", "donâ€™t go there again", "Â£5 for a cup of tea"]),
        ("control", "note", ["a bell\x07 rings in here", "nothing\x00 stands between these"]),
    ],
)
def test_texts(tmp_path: Path, kind: str, severity: str, texts: list[str | None]):
    found = only(check(write(tmp_path / "a.jsonl", with_texts(*texts))), kind)
    assert (found.severity, found.rows) == (severity, len(texts))
    assert places(found) == [[f"a.jsonl:row {201 + i}"] for i in range(len(texts))]
    assert all(row.text.isprintable() for rows in found.examples for row in rows)


def test_most_texts_empty(tmp_path: Path):
    rows = [row | {"text": "" if i % 5 else row["text"]} for i, row in enumerate(clean())]
    found = kinds(check(write(tmp_path / "a.csv", rows)))
    assert found["empty"].severity == "misleads" and found["empty"].rows == 160
    assert "duplicates" not in found  # empty texts are no repeats of each other
    half = [row | {"sentence2": "" if i % 5 else "x y"} for i, row in enumerate(clean_pairs())]
    assert kinds(check(write(tmp_path / "b.csv", half)))["empty"].severity == "misleads"


@given(st.text(alphabet=st.characters(min_codepoint=0xC0, max_codepoint=0x17F), min_size=1, max_size=5))
def test_letters_read_in_the_wrong_encoding_are_mojibake(word: str):
    from slimbert.jobs.check.texts import _mojibake

    if word.encode()[0] in (0xC2, 0xC3):  # Latin-1: the letters of Western Europe
        assert _mojibake("some " + word.encode().decode("latin-1")) >= 0


@pytest.mark.parametrize(
    "text",
    [
        "Größe, Straße und Übermut: „Spaß“ – ja!",
        "L’été à Paris : « où êtes-vous ? » Ça va, voilà…",
        "NÃO, A MÃE E A IRMÃ NÃO VÃO À PRAÇA",
        "Ângela disse: “Âmbar”",
        "Привет, Ñandú, Đặng Thị Ngọc Ân",
        "价格是20€，漢字。 ありがとう 😀",
        "ÅÄÖ åäö Ðað þú",
    ],
)
def test_real_languages_are_no_mojibake(text: str):
    from slimbert.jobs.check.texts import _mojibake

    assert _mojibake(text) == -1


def test_keys_instead_of_texts(tmp_path: Path):
    rows = [{"id": f"row-{i}", "number": i, **row} for i, row in enumerate(clean())]
    path = write(tmp_path / "a.csv", rows)
    assert check(path).findings == ()
    for column in ("id", "number"):
        found = kinds(check(path, text_columns=[column], label_column="label"))["keys"]
        assert found.severity == "misleads" and column in found.title and "--text-column" in found.remedy
    chinese = clean()
    for i, row in enumerate(chinese):
        row["text"] = "".join(chr(0x4E00 + 97 * (i * k % 211)) for k in range(1, 9))
    assert "keys" not in kinds(check(write(tmp_path / "b.csv", chinese)))


def test_excerpts_show_the_place():
    assert excerpt("short") == "short"
    assert excerpt("a\nb\x07") == "a\\nb\\x07"
    long = excerpt("x" * 500 + "\ufffd" + "y" * 500, at=500)
    assert "\ufffd" in long and len(long) == EXCERPT + 6 and long.startswith("...") and long.endswith("...")


# lengths


@pytest.mark.parametrize("pairs", [False, True])
def test_lengths_are_those_of_the_tokenizer(tmp_path: Path, pairs: bool):
    rows = clean_pairs(150) if pairs else clean(150)
    rows[7]["sentence1" if pairs else "text"] = sentence(7, words=400)
    rows[8]["sentence2" if pairs else "text"] = "Ünusual, [SEP] wörds w1!"
    columns = ("sentence1", "sentence2") if pairs else ("text",)
    texts = [tuple(row[name] for name in columns) for row in rows]
    tokenizer = TextTokenizer.train([text for several in texts for text in several], 300)
    tokenizer.save(tmp_path / "tok")
    made = check(write(tmp_path / "a.csv", rows), tokenizer=tmp_path / "tok", max_len=200)
    sizes = sorted(tokenizer.count(texts if pairs else [text for (text,) in texts]).tolist())
    found = made.splits[0].lengths
    assert made.unit == "tokens" and (found.p50, found.p90, found.longest) == (sizes[74], sizes[134], sizes[-1])
    assert found.cut == 1 == only(made, "long").rows and "tokenizer" not in only(made, "long").remedy
    assert places(only(made, "long")) == [["a.csv:row 8"]]


def test_without_a_tokenizer_words_are_counted(tmp_path: Path):
    path = write(tmp_path / "a.csv", clean())
    assert check(path, max_len=12).findings == ()
    found = only(check(path, max_len=11), "long")
    assert (found.severity, found.rows) == ("warning", 200) and "Words were counted" in found.remedy
    with pytest.raises(InputError, match="max_len"):
        check(path, max_len=0)
    with pytest.raises(InputError, match="no such tokenizer"):
        check(path, tokenizer=tmp_path / "tok")


def test_what_is_longer_is_not_called_cut_where_finetune_reads_windows(tmp_path: Path):
    """As the kinds of tasks do it: windows of tags and answers, a choice for single texts, pairs are cut."""
    plain, two = write(tmp_path / "a.csv", clean()), write(tmp_path / "b.csv", clean_pairs())
    rows = [{"tokens": row["text"].split(), "ner_tags": ["B-PER"] + ["O"] * 11} for row in clean()]
    of_words = write(tmp_path / "c.jsonl", rows)
    asked = [
        {"id": str(i), "question": "Which?", "context": text, "answers": {"text": [text[:2]], "answer_start": [0]}}
        for i, text in enumerate(row["text"] for row in clean())
    ]
    answers = write(tmp_path / "d.jsonl", asked)
    together = [{"query": row["sentence1"], "passage": row["sentence2"]} for row in clean_pairs()]
    vectors = write(tmp_path / "e.jsonl", together)
    assert f"{CUT_SHARE:.0%} of train" in CHOSEN and CUT_SHARE == 0.05
    for path, severity, remedy in (
        (plain, "warning", CHOSEN),
        (two, "warning", CUT),
        (of_words, "note", WINDOWS),
        (answers, "note", WINDOWS),
        (vectors, "warning", APART),
    ):
        made = check(path, max_len=11)
        found = kinds(made)["long"]
        assert made.refused is None and found.rows == 200 == made.splits[0].lengths.cut, path
        assert (found.severity, found.remedy.partition(" Words were counted")[0]) == (severity, remedy), path


# other shapes, and what cannot be read


def test_lists_of_tags(tmp_path: Path):
    rows = [{"tokens": sentence(i).split(), "ner_tags": ["O"] * 11 + [("B-PER", "B-LOC")[i % 2]]} for i in range(150)]
    made = check(write(tmp_path / "a.parquet", rows), label_column="ner_tags", text_columns=["tokens"])
    assert made.findings == () and made.label_kind == "lists"
    assert made.splits[0].labels == {"O": 1650, "B-PER": 75, "B-LOC": 75}
    made = check(
        write(tmp_path / "b.parquet", [row | {"tokens": ["one", "two"]} for row in rows]), label_column="ner_tags"
    )
    assert made.text_columns == ("tokens",)
    assert {"duplicates", "conflicts"} <= kinds(made).keys() and kinds(made)["conflicts"].rows == 150


def test_words_with_tags_in_every_form(tmp_path: Path):
    """A file of words, lists of words (tags in words or as numbers with names), texts with spans, without options."""
    names = ["O", "B-PER", "B-LOC"]
    words = [sentence(i).split() for i in range(150)]
    tags = [[0] * 11 + [1 + i % 2] for i in range(150)]
    named = [[names[tag] for tag in row] for row in tags]
    blocks = ["\n".join(f"{word} {tag}" for word, tag in zip(*both)) for both in zip(words, named)]
    (tmp_path / "a.conll").write_text("\n\n".join(blocks))
    write(tmp_path / "b.parquet", [{"tokens": a, "ner_tags": b} for a, b in zip(words, named)])
    features = {"info": {"features": {"ner_tags": {"feature": {"names": names}}}}}
    table = pa.table({"tokens": words, "ner_tags": tags})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "c.parquet")
    for name in ("a.conll", "b.parquet", "c.parquet"):
        made = check(tmp_path / name)
        assert made.findings == () and made.label_kind == "lists", name
        assert made.splits[0].labels == {"O": 1650, "B-PER": 75, "B-LOC": 75}, name
        assert made.splits[0].lengths.longest == 12, name
    rows = []
    for row, marks in zip(words, named):
        text = " ".join(row)
        rows.append({"text": text, "entities": [[len(text) - len(row[-1]), len(text), marks[-1][2:]]]})
    made = check(write(tmp_path / "d.jsonl", rows))
    assert made.findings == () and made.splits[0].labels == {"PER": 75, "LOC": 75}
    assert made.reasons[1] == "spans in 'entities' (by its name)"
    rows[6]["entities"] = [[0, 999, "PER"]]
    with pytest.raises(InputError, match=r"d\.jsonl:7: span 0 to 999 \(PER\) is not inside the text"):
        check(write(tmp_path / "d.jsonl", rows))


def test_questions_in_both_forms(tmp_path: Path):
    rows = []
    for i in range(150):
        context = sentence(i)
        answers = {"text": [context.split()[0]], "answer_start": [0]}
        rows.append({"id": str(i), "question": f"what is {i}?", "context": context, "answers": answers})
    paragraphs = []
    for row in rows:
        answers = [{"text": row["answers"]["text"][0], "answer_start": 0}]
        qas = [{"id": row["id"], "question": row["question"], "answers": answers}]
        paragraphs.append({"context": row["context"], "qas": qas})
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    for path in (tmp_path / "a.json", write(tmp_path / "b.jsonl", rows)):
        made = check(path)
        assert made.text_columns == ("question", "context") and made.label_column == "answers"
        assert only(made, "no_classes").severity == "note"
        assert made.splits[0].rows == 150
    paragraphs[3]["qas"][0]["answers"][0]["text"] = "not there"
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    with pytest.raises(InputError, match="does not stand in its context"):
        check(tmp_path / "a.json")


def test_texts_that_belong_together_need_no_labels(tmp_path: Path):
    rows = [{"query": sentence(i), "passage": sentence((i, "b"))} for i in range(150)]
    assert only(check(write(tmp_path / "a.csv", rows)), "no_labels").severity == "note"


def test_scores_objects_and_no_labels(tmp_path: Path):
    def rows(*values: object) -> list[Row]:
        return [{"text": sentence(i), "label": value} for i, value in enumerate(values)]

    for name, kind, values in (
        ("scores", "numbers", [i / 7 for i in range(150)]),
        ("years", "numbers", [1800 + i for i in range(150)]),
        ("answers", "other", [sentence((2, i)) for i in range(150)]),
        ("objects", "other", [{"start": i, "text": "x"} for i in range(150)]),
    ):
        made = check(write(tmp_path / f"{name}.jsonl", rows(*values)))
        assert made.label_kind == kind and only(made, "no_classes").severity == "note", name
    made = check(write(tmp_path / "none.jsonl", [{"text": sentence(i)} for i in range(150)]))
    assert made.label_kind == "none" and made.label_column is None and only(made, "no_labels").severity == "warning"


def test_records_that_cannot_be_read(tmp_path: Path):
    path = write(tmp_path / "a.csv", clean())
    with open(path, "a") as file:
        file.write("one,two,three\nfour\n" + "last text of all,good\n")
    made = check(path)
    found = only(made, "skipped")
    assert (found.severity, found.rows, made.splits[0].rows) == ("warning", 2, 201) and "a.csv:202" in found.title
    mixed = ['{"text": 5, "label": "good"}', '{"text": "\\ud800", "label": 1}']
    lines = [*map(json.dumps, clean()), "{broken", '"text"', *mixed]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    found_b = kinds(check(tmp_path / "b.jsonl"))
    assert found_b["skipped"].rows == 4  # two records, and two columns of mixed values


def test_a_split_that_cannot_be_read(tmp_path: Path):
    path = folder(tmp_path, train=clean(), validation=clean(50, seed=1))
    (path / "test.csv").write_text("")
    made = check(path)
    assert only(made, "unreadable").severity == "misleads" and "test.csv" in only(made, "unreadable").title
    write(path / "test.csv", [{"sentence": "x", "label": "good"}])
    made = check(path, text_columns=["text"])
    assert "no column 'text'" in only(made, "unreadable").title and [split.split for split in made.splits] == [
        "train",
        "validation",
    ]
    made = check(folder(tmp_path / "b", validation=clean(150), test=clean(150, seed=1)))
    assert only(made, "no_train").severity == "warning"


def test_pieces_of_different_types_are_read_together(tmp_path: Path):
    write(tmp_path / "train-00000-of-00002.parquet", [row | {"label": i % 2} for i, row in enumerate(clean(100))])
    rows = [row | {"label": str(i % 2)} for i, row in enumerate(clean(100, seed=1))]
    write(tmp_path / "train-00001-of-00002.parquet", rows)
    made = check(tmp_path)
    assert made.findings == () and made.splits[0].labels == {"0": 100, "1": 100}


def test_what_is_not_there(tmp_path: Path):
    path = write(tmp_path / "a.csv", clean())
    for wrong in (
        {"text_columns": ["titel"]},
        {"label_column": "lable"},
        {"text_columns": ["label"], "label_column": "label"},
    ):
        with pytest.raises(InputError, match=r"a\.csv: "):
            check(path, **wrong)
    with pytest.raises(InputError, match="no such file"):
        check(tmp_path / "b.csv")
    with pytest.raises(InputError, match="no train, validation or test file"):
        check(folder(tmp_path / "c", other=clean()))
    with pytest.raises(InputError, match="no text column"):
        check(write(tmp_path / "d.csv", [{"number": i, "label": i % 2} for i in range(9)]))


WORDS = st.sampled_from(["", " ", "one two three", "one two three!", "four five six", "seven", "eight nine ten eleven"])
ROWS = st.lists(st.fixed_dictionaries({"text": WORDS, "label": st.sampled_from(["a", "A", "b", ""])}), min_size=1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(train=ROWS, test=ROWS)
def test_counts_are_those_of_plain_sets(tmp_path: Path, train: list[Row], test: list[Row]):
    """Repeats, leakage and conflicts, counted the slow way; rows without text are none of them."""
    made = check(folder(tmp_path, train=train, test=test), text_columns=["text"], label_column="label")
    found = {finding.kind: finding.rows for finding in made.findings}
    texts = [[row["text"] for row in rows if row["text"].strip()] for rows in (train, test)]
    assert found.get("duplicates", 0) == sum(len(some) - len(set(some)) for some in texts)
    assert found.get("leakage", 0) == sum(text in texts[0] for text in texts[1])
    assert found.get("empty", 0) == len(train) + len(test) - sum(map(len, texts))
    labelled = [row for row in train + test if row["text"].strip() and row["label"]]
    labels = {text: {row["label"].lower() for row in labelled if row["text"] == text} for text in texts[0] + texts[1]}
    assert found.get("conflicts", 0) == sum(len(labels[row["text"]]) > 1 for row in labelled)
    spoken = {"one two three", "one two three!"}
    near = [text for text in texts[1] if text in spoken and text not in texts[0] and spoken & set(texts[0])]
    assert found.get("near_leakage", 0) == len(near)


def test_names_of_classes_and_unlabelled_rows(tmp_path: Path):
    rows = [{"text": row["text"], "label": i % 2} for i, row in enumerate(clean())]
    features = {"info": {"features": {"label": {"names": ["negative", "positive"], "_type": "ClassLabel"}}}}
    table = pa.Table.from_pylist([*rows, {"text": "not decided yet", "label": -1}])
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet")
    made = check(tmp_path / "a.parquet")
    assert made.splits[0].labels == {"negative": 100, "positive": 100} and made.splits[0].labelled == 200
    assert (only(made, "unlabelled").severity, places(only(made, "unlabelled"))) == ("warning", [["a.parquet:row 201"]])


TEXT = st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["a b c d", "A b, c d!", "", " "]), st.integers(0, 3))
LABEL = st.one_of(st.none(), st.integers(-1, 2), st.floats(), st.sampled_from(["pos", "Pos ", "neg"]), st.booleans())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(TEXT, LABEL, TEXT), min_size=1, max_size=25), pair=st.booleans(), cut=st.integers(0, 25))
def test_any_rows_give_a_report(tmp_path: Path, rows: list[tuple], pair: bool, cut: int):
    """Or, where not one row or no column can be used, an InputError; whatever is found is within bounds, and JSON."""
    names = ("sentence1", "label", "sentence2") if pair else ("text", "label", "other")
    records = [dict(zip(names, row)) for row in rows]
    for file in tmp_path.glob("*"):
        file.unlink()
    for split, some in (("train", records[:cut]), ("test", records[cut:])):
        if some:
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    texts = [names[0], names[2]] if pair else [names[0]]
    try:
        made = check(tmp_path, text_columns=texts, label_column="label")
    except InputError as error:
        assert error.problem
        return
    json.loads(document(made))
    total = sum(split.rows for split in made.splits)
    for found in made.findings:
        assert 0 <= found.share <= 1 and len(found.examples) <= EXAMPLES and found.title and found.remedy
        assert found.kind == "skipped" or found.rows <= total
        assert all(row.text.isprintable() for rows in found.examples for row in rows)
    order = [("misleads", "warning", "note").index(found.severity) for found in made.findings]
    assert order == sorted(order) and made.misleads == (0 in order)


def test_ids_that_stand_twice(tmp_path: Path):
    rows: list[Row] = [{"id": f"r{i}", **row} for i, row in enumerate(clean())]
    rows[7]["id"] = rows[150]["id"] = "r3"
    rows[8]["id"] = rows[9]["id"] = None
    found = only(check(write(tmp_path / "a.csv", rows)), "ids")
    assert (found.severity, found.rows) == ("warning", 2)
    assert places(found) == [["a.csv:row 4", "a.csv:row 8"], ["a.csv:row 4", "a.csv:row 151"]]
    again = [{"id": f"r{i}", **row} for i, row in enumerate(clean(50, seed=1))]
    splits = {"train": [{"id": f"r{i}", **row} for i, row in enumerate(clean())], "test": again}
    assert check(folder(tmp_path / "b", **splits)).findings == ()  # every split counts from 0
