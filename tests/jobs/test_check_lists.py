"""The check of labels that are lists: tags in any scheme, spans, sets of labels in any order, lists without a label."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.checked import kinds, only, places
from jobs.labelled_files import Row, clean, sentence, write
from slimbert.data.schemes import tags_of
from slimbert.data.tasks import load_task
from slimbert.errors import InputError
from slimbert.jobs.check.run import check

Spans = list[tuple[str, int, int]]


def words_with(rows: list[list[str]], *, seed: object = 0) -> str:
    """A file of words: a sentence for each list of tags, no two alike."""
    blocks = []
    for i, tags in enumerate(rows):
        words = sentence((seed, i), words=len(tags)).split()
        blocks.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    return "\n".join(blocks)


def bioes(spans: Spans, count: int) -> list[str]:
    tags = ["O"] * count
    for name, first, last in spans:
        inside = ["I"] * (last - first + 1)
        inside[0], inside[-1] = "B", "E"
        tags[first : last + 1] = [f"{letter}-{name}" for letter in (inside if last > first else ["S"])]
    return tags


def bilou(spans: Spans, count: int) -> list[str]:
    letters = {"E": "L", "S": "U"}
    return [letters.get(tag[0], tag[0]) + tag[1:] for tag in bioes(spans, count)]


SCHEMES = {
    "IOB2": lambda spans, count: list(tags_of(spans, count)),
    "BIOES": bioes,
    "BILOU": bilou,
    "IOB1": lambda spans, count: ["I" + tag[1:] if tag != "O" else tag for tag in tags_of(spans, count)],
}


def spans_drawn(seed: object, *, longest: int) -> Spans:
    """One or two entities among twelve words, not side by side."""
    draw = random.Random(str(seed))
    found = [("ORG", first := draw.randrange(3), first + draw.randrange(longest))]
    return [*found, ("PER", 8, 8 + draw.randrange(longest))] if draw.random() < 0.5 else found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_of_tags_makes_no_difference(tmp_path: Path, scheme: str):
    """Train has entities of one word only, test longer ones: tags that train lacks as they are written, no new ones as
    they are read."""
    for name, longest, count in (("train", 1, 150), ("test", 4, 40)):
        rows = [SCHEMES[scheme](spans_drawn((name, i), longest=longest), 12) for i in range(count)]
        (tmp_path / f"{name}.conll").write_text(words_with(rows, seed=name))
    made = check(tmp_path)
    assert not {"unknown", "rare"} & kinds(made).keys() and not made.misleads and made.refused is None
    said = "tags in BIOES, read as IOB2" if scheme in ("BIOES", "BILOU") else f"tags in {scheme}"
    assert made.reasons[-1].startswith(said)
    assert set(made.splits[1].labels) == {"O", "B-ORG", "I-ORG", "B-PER", "I-PER"}
    assert made.reasons[-1] in load_task(tmp_path).notes


def test_a_type_of_entities_that_train_lacks(tmp_path: Path):
    (tmp_path / "train.conll").write_text(words_with([["S-ORG", *"OOO"]] * 150))
    (tmp_path / "test.conll").write_text(words_with([["S-ORG", *"OOO"]] * 30 + [["O", "B-LOC", "E-LOC", "O"]], seed=1))
    found = kinds(check(tmp_path))["unknown"]
    assert found.severity == "misleads" and found.rows == 1 and "'B-LOC', 'I-LOC'" in found.title


def test_tags_of_no_scheme_do_not_end_the_check(tmp_path: Path):
    rows = [["B-ORG", "I-ORG", "O", "O"]] * 150
    rows[70] = ["B", "O", "O", "O"]
    (tmp_path / "a.conll").write_text(words_with(rows))
    made = check(tmp_path / "a.conll")
    assert made.refused is not None and made.refused.startswith(f"{tmp_path / 'a.conll'}:351: tag 'B' of word 1")
    assert made.splits[0].labels["B"] == 1


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.iob"])
def test_columns_of_files_of_words(tmp_path: Path, name: str):
    """By their numbers, as fine-tuning takes them; a .txt of words is one, too."""
    tags = ["NN", "VB", "DT", "NN"]
    blocks = []
    for i in range(150):
        words = sentence(i, words=4).split()
        blocks.append(
            "".join(f"{word} {tag} {'B-PER' if word[-1] in '13' else 'O'}\n" for word, tag in zip(words, tags))
        )
    path = tmp_path / name
    path.write_text("\n".join(blocks))
    made = check(path, label_column="1")
    assert (made.text_columns, made.label_column, made.refused) == (("word",), "1", None)
    assert made.splits[0].labels == {"NN": 300, "VB": 150, "DT": 150}
    made = check(path, text_columns=["0"], label_column="-1")
    assert (made.text_columns, made.label_column) == (("0",), "-1") and set(made.splits[0].labels) == {"O", "B-PER"}
    made = check(path)
    task = load_task(path)
    assert (made.text_columns, made.label_column) == (task.text_columns, task.label_column) == (("word",), "tag")
    for wrong, said in (
        ({"label_column": "tags"}, "column 'tags' is not a number"),
        ({"label_column": "3"}, "no column 3, there are 3"),
        ({"text_columns": ["1"], "label_column": "1"}, "word and tag at once"),
        ({"text_columns": ["0", "1"]}, "2 text columns asked for"),
    ):
        with pytest.raises(InputError, match=said):
            check(path, **wrong)


def test_spans_under_any_name_and_in_parquet(tmp_path: Path):
    rows = []
    for i in range(150):
        text = sentence(i)
        end = text.index(" ")
        rows.append(
            {"body": text, "other": str(i), "marks": [{"start": 0, "end": end, "label": ("PER", "LOC")[i % 2]}]}
        )
    for name in ("a.jsonl", "a.parquet"):
        path = write(tmp_path / name, rows)
        made = check(path, text_columns=["body"], label_column="marks")
        assert made.findings == () and made.splits[0].labels == {"PER": 75, "LOC": 75}, name
        assert made.label_kind == "lists" and made.refused is None
    named = [{"text": row["body"], "entities": row["marks"]} for row in rows]
    made = check(write(tmp_path / "b.parquet", named))
    assert made.findings == () and made.splits[0].labels == {"PER": 75, "LOC": 75} and made.refused is None


def test_texts_without_entities_are_labelled(tmp_path: Path):
    """And one type of entities is enough to learn: what is outside is the other."""
    rows: list[Row] = []
    for i in range(200):
        text = sentence(i)
        rows.append({"text": text, "entities": [[0, text.index(" "), "PER"]] if i % 4 == 0 else []})
    made = check(write(tmp_path / "a.jsonl", rows))
    assert made.findings == () and made.refused is None
    assert (made.splits[0].labelled, made.splits[0].labels) == (200, {"PER": 50})
    made = check(write(tmp_path / "b.jsonl", [row | {"entities": []} for row in rows]), label_column="entities")
    assert kinds(made)["unlabelled"].severity == "misleads"


def sets(count: int = 200, *, seed: object = 0) -> list[Row]:
    """Clean rows of which a third has no label, a third one, a third two."""
    found: list[list[str]] = [[], ["sports"], ["politics", "sports"]]
    return [{"text": row["text"], "labels": found[i % 3]} for i, row in enumerate(clean(count, seed=seed))]


def test_texts_that_no_label_fits_are_labelled(tmp_path: Path):
    made = check(write(tmp_path / "a.jsonl", sets()))
    assert made.findings == () and made.refused is None
    assert (made.splits[0].labelled, made.splits[0].labels) == (200, {"sports": 133, "politics": 66})
    joined = [row | {"labels": "|".join(row["labels"])} for row in sets()]
    made = check(write(tmp_path / "a.csv", joined), task="multilabel")
    assert made.findings == () and made.refused is None and made.splits[0].labelled == 200
    found = kinds(check(write(tmp_path / "a.csv", joined)))  # a class of its own is none: the task was not said
    assert found["unlabelled"].rows == 67
    few = [row for row in sets() if row["labels"]][:30] + [row for row in sets() if not row["labels"]]
    assert "few_rows" in kinds(check(write(tmp_path / "b.jsonl", few[:90])))
    assert "few_rows" not in kinds(check(write(tmp_path / "c.jsonl", sets(120))))


def test_missing_lists_are_not_empty_ones(tmp_path: Path):
    rows = sets()
    rows[7] = rows[7] | {"labels": None}
    found = only(check(write(tmp_path / "a.jsonl", rows)), "unlabelled")
    assert (found.severity, found.rows, places(found)) == ("warning", 1, [["a.jsonl:row 8"]])
    assert found.refused and "write an empty list" in found.remedy
    hidden = [row | {"labels": None} for row in sets(30, seed=1)]
    for name, some in (("train", sets()), ("test", hidden)):
        write(tmp_path / "b" / f"{name}.jsonl", some)
    assert only(check(tmp_path / "b"), "unlabelled").severity == "note"
    made = check(write(tmp_path / "c.jsonl", [row | {"labels": []} for row in rows]), label_column="labels")
    assert kinds(made)["unlabelled"].severity == "misleads" and made.refused is not None


def test_one_label_that_some_texts_have(tmp_path: Path):
    def without(count: int) -> list[Row]:
        """So many rows without the label."""
        return [{"text": row["text"], "labels": [] if i < count else ["toxic"]} for i, row in enumerate(clean())]

    assert check(write(tmp_path / "a.jsonl", without(100))).findings == ()
    assert only(check(write(tmp_path / "b.jsonl", without(5))), "dominant").rows == 195
    assert only(check(write(tmp_path / "c.jsonl", without(0))), "one_class").severity == "misleads"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["lists", "words"]))
def test_the_order_of_a_set_says_nothing(tmp_path: Path, draw: random.Random, form: str):
    """Equal texts with the same labels in another order, or with one twice, are no conflict; others are."""
    rows = [{"text": row["text"], "labels": ["politics", "sports", "world"][i % 3 :]} for i, row in enumerate(clean())]
    again = [row | {"labels": draw.sample([*row["labels"]], len(row["labels"]))} for row in rows[:60]]
    again[0]["labels"] = [*again[0]["labels"], again[0]["labels"][0]]
    changed = [row | {"labels": row["labels"][1:]} for row in rows[60:63]]

    def kept(name: str, some: list[Row]) -> Path:
        words = [row | {"labels": " | ".join(row["labels"])} for row in some]
        return write(tmp_path / f"{name}.{'jsonl' if form == 'lists' else 'csv'}", some if form == "lists" else words)

    made = check(kept("a", [*rows, *again]), task="multilabel")
    assert "conflicts" not in kinds(made) and kinds(made)["duplicates"].rows == 60
    assert kinds(check(kept("b", [*rows, *again, *changed]), task="multilabel"))["conflicts"].rows == 6


def test_labels_with_blanks_in_them_are_no_two(tmp_path: Path):
    rows = [{"text": row["text"], "labels": (["new york"], ["new", "york"])[i % 2]} for i, row in enumerate(clean())]
    made = check(write(tmp_path / "a.jsonl", [*rows, rows[0] | {"labels": ["new", "york"]}]))
    assert kinds(made)["conflicts"].rows == 2


def test_tags_keep_their_order(tmp_path: Path):
    words = sentence(0, words=4).split()
    rows = [{"tokens": sentence(i, words=4).split(), "ner_tags": ["O", "B-PER", "O", "O"]} for i in range(150)]
    rows += [{"tokens": words, "ner_tags": ["O", "O", "B-PER", "O"]}]
    assert kinds(check(write(tmp_path / "a.jsonl", rows)))["conflicts"].rows == 2


def test_spellings_in_lists(tmp_path: Path):
    rows = [{"text": row["text"], "labels": ["good", "cheap"][i % 2 :]} for i, row in enumerate(clean())]
    rows[5] = rows[5] | {"labels": ["Cheap", " good"]}
    made = check(write(tmp_path / "a.jsonl", rows))
    found = kinds(made)["spelt"]
    assert (found.severity, found.rows, found.refused) == ("warning", 1, True)
    assert "'cheap', 'Cheap'" in found.title and "'good', ' good'" in found.title
    tags = [{"tokens": sentence(i, words=3).split(), "ner_tags": ["O", "B-PER", "I-PER"]} for i in range(150)]
    tags[9] = tags[9] | {"ner_tags": ["O", "B-Per", "O"]}
    found = kinds(check(write(tmp_path / "b.jsonl", tags)))["spelt"]
    assert found.refused and found.rows == 1 and "'PER', 'Per'" in found.title
    assert places(found) == [["b.jsonl:row 1", "b.jsonl:row 10"]]
    classes = [row | {"ner_tags": ["NN", "nn" if i % 2 else "VB", "DT"]} for i, row in enumerate(tags)]
    made = check(write(tmp_path / "c.jsonl", classes))
    found = kinds(made)["spelt"]
    assert made.refused is None and not found.refused and found.severity == "warning" and "as two" in found.remedy


def test_columns_that_nobody_uses_may_hold_anything(tmp_path: Path):
    rows = [row | {"meta": (1, "x", [0, 5, "PER"])[i % 3]} for i, row in enumerate(clean())]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = check(tmp_path / "a.jsonl")
    assert made.findings == () and made.refused is None


def test_names_behind_the_numbers_of_a_set(tmp_path: Path):
    names = ["sports", "politics"]
    features = {"info": {"features": {"labels": {"feature": {"names": names}}}}}
    table = pa.table({"text": [row["text"] for row in clean()], "labels": [[], [0], [1, 0], [0, 1]] * 50})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet")
    made = check(tmp_path / "a.parquet")
    assert made.findings == () and made.refused is None and made.splits[0].labels == {"sports": 150, "politics": 100}
