"""Faults of the labels: too few, too uneven, missing, spelt in several ways, unknown in train, written in the text."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ...data.metrics.tags import has_entities
from ...data.schemes import all_tags, parts
from .findings import EXAMPLES, Finding, Seen, Severity
from .labelled import Labels, number_of
from .reading import Data, Part

FEW_ROWS = 100  # of train: with fewer, a score on a tenth of them has an interval of 30 points and more
RARE_ROWS = 10  # of a label: fewer cannot fill train, validation and test, and hardly teach anything
DOMINANT = 0.95  # of the rows with one label: always giving it scores as much
SHIFT = 0.1  # of the rows: a label's share in train and in a held-out split differ by more, and by 3 standard errors
GIVEN_AWAY = 0.5  # of a label's rows with its name in the text ...
ONLY_THERE = 2.0  # ... which is this many times the share of the other rows
LISTED = 5  # labels that a title names


def labels(data: Data) -> Iterator[Finding]:
    """All findings about labels. Those about classes are left out where the labels are something else."""
    train = data.train
    yield from _rows(data)
    if data.kind == "none":
        yield _none(data)
        return
    yield from _missing(data)
    if data.kind in ("numbers", "other"):
        what = _range(train) if data.kind == "numbers" else "texts or objects"
        scores = " Scores are learnt with --task regression." * (data.kind == "numbers")
        remedy = f"What needs classes was not checked; is this the label column?{scores}"
        yield _finding("no_classes", "note", f"the labels are {what}, not classes", remedy)
        return
    yield from _counted(train)
    yield from _unknown(data)
    yield from _shifted(data)
    yield from _spelt(data)
    yield from _given_away(train)


def counts(part: Part) -> Counter[str]:
    """Rows (for lists: places) of each label."""
    return Counter(item for items in part.labels.items for item in items)


def _about(part: Part, rows: Sequence[int], *, of: int, finding: Finding) -> Finding:
    """The finding with these rows of a split: their number, their share, and the first as examples."""
    examples = tuple((part.seen(row),) for row in rows[:EXAMPLES])
    return finding._replace(rows=len(rows), share=len(rows) / max(1, of), examples=examples)


def _finding(
    kind: str, severity: Severity, title: str, remedy: str, *, rows: int = 0, of: int = 0, refused: bool = False
) -> Finding:
    return Finding(kind, severity, title, rows, rows / max(1, of), remedy, (), refused)


def _named(names: Iterable[str]) -> str:
    """Some labels for a title."""
    some = list(names)
    return ", ".join(map(repr, some[:LISTED])) + ", ..." * (len(some) > LISTED)


def _rows(data: Data) -> Iterator[Finding]:
    train = data.train
    count = train.labels.given or len(train)
    if train.name not in ("train", "all"):
        remedy = "Add a train file; until then nothing can be learnt from this folder."
        yield _finding("no_train", "warning", "no split to learn from", remedy, refused=True)
    elif count == 1:
        yield _finding("one_row", "misleads", "one row to learn from", "Label more rows.", rows=1, of=1, refused=True)
    elif count < FEW_ROWS:
        remedy = "Label more; until then do not trust small differences of scores."
        yield _finding("few_rows", "warning", "few rows to learn from", remedy, rows=count, of=count)


def _none(data: Data) -> Finding:
    remedy = "Name it with --label-column; what needs labels was not checked."
    if len(data.text_columns) == 2:
        remedy += " Vectors need none: give --task embedding, if it is not guessed."
        return _finding("no_labels", "note", "no label column was found", remedy)
    return _finding("no_labels", "warning", "no label column was found", remedy, refused=True)


def _range(part: Part) -> str:
    numbers = [number_of(word) for word in part.labels.words if word is not None]
    return f"numbers from {min(numbers):g} to {max(numbers):g}"


def _missing(data: Data) -> Iterator[Finding]:
    """Rows without a label. A list with nothing in it is a label, unless all of train are such."""
    for part in data.parts.values():
        empty = [row for row, word in enumerate(part.labels.words) if word is None]
        if part is data.train and not any(part.labels.items):
            remedy = "Check the label column (--label-column)."
            yield _finding(
                "unlabelled", "misleads", "no row has a label", remedy, rows=len(part), of=len(part), refused=True
            )
        elif len(empty) == len(part):
            title = f"{part.name} has no labels"
            yield _finding("unlabelled", "note", title, "Nothing is scored on it.", rows=len(part), of=len(part))
        elif empty:
            remedy = "Label them or remove them." if part.labels.refused else "Fine-tuning leaves them out."
            if part.labels.form == "set":
                remedy = "Label them, or write an empty list where no label fits."
            title, refused = f"{part.name} rows without a label", part.labels.refused
            made = _finding("unlabelled", "warning", title, remedy, refused=refused)
            yield _about(part, empty, of=len(part), finding=made)


def _counted(train: Part) -> Iterator[Finding]:
    """One class only, one that is nearly all, and those with hardly a row."""
    found, form = counts(train), train.labels.form
    if len(found) == 1 and form == "spans":
        return  # what stands in no span is the other class
    total = train.labels.given if form == "set" else found.total()  # a row may have none of a set
    most, rows = found.most_common(1)[0] if found else ("", 0)
    if len(found) == 1 and rows == total:
        title = f"one class only: {most!r}"
        remedy = "Add rows of another class."
        yield _finding("one_class", "misleads", title, remedy, rows=total, of=total, refused=form == "one")
    elif rows > DOMINANT * total:
        title = f"nearly every label is {most!r}"
        remedy = "Report F1 of the others: accuracy says nothing here."
        yield _finding("dominant", "warning", title, remedy, rows=rows, of=total)
    rare = sorted((name for name, rows in found.items() if rows < RARE_ROWS), key=found.__getitem__)
    if rare and len(found) > 1:
        title = f"{len(rare)} labels with fewer than {RARE_ROWS} rows: {_named(rare)}"
        remedy = "Label more of them, or join them with others."
        yield _finding("rare", "warning", title, remedy, rows=sum(found[name] for name in rare), of=total)


def _unknown(data: Data) -> Iterator[Finding]:
    train = data.train
    known = set(counts(train))
    if known and train.labels.form == "tags":  # of the two tags of an entity one tells that there is the other
        known |= set(all_tags(train.labels.items))
    for part in data.held_out if known else ():
        names = [name for name in counts(part) if name not in known]
        rows = [row for row, items in enumerate(part.labels.items) if not known >= set(items)]
        if rows:
            title, remedy = f"labels in {part.name} only: {_named(names)}", "Add such rows to train, or take these out."
            made = _finding("unknown", "misleads", title, remedy, refused=True)
            yield _about(part, rows, of=len(part), finding=made)


def _shifted(data: Data) -> Iterator[Finding]:
    """Held-out splits whose balance is not that of train."""
    learnt = counts(data.train)
    for part in data.held_out:
        found = counts(part)
        shifts = []
        for name in learnt.keys() & found.keys():
            here, there = found[name] / found.total(), learnt[name] / learnt.total()
            error = (there * (1 - there) / found.total()) ** 0.5
            if abs(here - there) > max(SHIFT, 3 * error):
                shifts.append((abs(here - there), name, f"{name!r} is {here:.0%} of {part.name}, {there:.0%} of train"))
        if shifts:
            _, name, title = max(shifts)
            remedy = "Split again at random, or keep in mind that the score is for this balance."
            yield _finding("shifted", "warning", title, remedy, rows=found[name], of=found.total())


def _spelt(data: Data) -> Iterator[Finding]:
    """Labels that differ only in case, or in the blanks around them, which are taken off."""
    first: dict[str, Seen] = {}
    often: Counter[str] = Counter()
    rows: list[list[str]] = []
    for part in data.parts.values():
        for row, some in enumerate(_spellings(part.labels)):
            rows.append(some)
            often.update(some)
            for label in some:
                if label not in first:
                    first[label] = part.seen(row)._replace(label=label)
    ways: dict[str, list[str]] = {}
    for label, _ in often.most_common():
        ways.setdefault(label.strip().casefold(), []).append(label)
    several = [some for some in ways.values() if len(some) > 1]
    if several:
        title = f"labels spelt in several ways: {_named(label for some in several for label in some)}"
        made = _finding("spelt", "note", title, "Blanks are taken off.")
        if any(len({label.strip() for label in some}) > 1 for some in several):
            refused = data.train.labels.form != "tags" or has_entities(list(counts(data.train)))
            remedy = "Write each in one way." if refused else "Write each in one way: these are learnt as two."
            made = made._replace(severity="warning", remedy=remedy, refused=refused)
        others = {label for some in several for label in some[1:]}
        count = sum(not others.isdisjoint(some) for some in rows)
        pairs = [(first[some[0]], first[label]) for some in several for label in some[1:]]
        yield made._replace(rows=count, share=count / sum(map(bool, rows)), examples=tuple(pairs[:EXAMPLES]))


def _spellings(labels: Labels) -> list[list[str]]:
    """[N] the different labels of each row as they are written; of tags the types, or the classes of words."""
    if labels.form == "tags":
        return [list(dict.fromkeys(name for tag in items if (name := parts(tag)[1]))) for items in labels.items]
    given = (some if word is not None else () for some, word in zip(labels.spelt, labels.words, strict=True))
    return [[label for label in dict.fromkeys(some) if label.strip()] for some in given]


def _given_away(train: Part) -> Iterator[Finding]:
    """Labels whose name stands in most texts of their rows, and seldom elsewhere."""
    if train.labels.kind != "classes":
        return
    rows_of: dict[str, list[int]] = {}
    for row, word in enumerate(train.labels.words):
        if word is not None:
            rows_of.setdefault(word, []).append(row)
    lines = [train.text(row).casefold() for row in range(len(train))]
    told: list[str] = []
    found: dict[int, int] = {}  # row -> place of the name
    for label, rows in rows_of.items():
        words = re.findall(r"[^\W_]+", label.casefold())
        if len(rows) < RARE_ROWS or not any(word.isalpha() and len(word) > 1 for word in words):
            continue
        name = re.compile(r"\b" + r"[\W_]+".join(words) + r"\b")
        inside = {row: match.start() for row in rows if (match := name.search(lines[row]))}
        if len(inside) > GIVEN_AWAY * len(rows):
            others = len(lines) - len(rows)
            outside = sum(bool(name.search(line)) for line in lines) - len(inside)
            if len(inside) / len(rows) > ONLY_THERE * outside / max(1, others):
                told.append(label)
                found |= inside
    if told:
        title = f"the text names its label: {_named(told)}"
        remedy = "Take the name out of the texts, if it will not stand in those to come."
        examples = tuple((train.seen(row, at=at),) for row, at in list(found.items())[:EXAMPLES])
        made = _finding("given_away", "warning", title, remedy, rows=len(found), of=len(train))
        yield made._replace(examples=examples)
