"""How tags say where an entity begins and ends, and all of them turned into IOB2.

    IOB1    I-X inside; B-X only behind one of its type     Ramshaw and Marcus 1995, cmp-lg/9505040
    IOB2    B-X begins every entity, I-X goes on            Tjong Kim Sang and Veenstra 1999, cs/9907006
    BIOES   E-X ends it, S-X is one of a single word; L-, U-, M-, W- are read as E-, S-, I-, S-
    IO      X on every word of an entity, O outside
    classes no entity at all: every word has a class, as in part-of-speech tagging; such tags stay as they are

A tag I-X that cannot go on with anything begins an entity, as in the evaluation of CoNLL (conlleval).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from ..errors import InputError

Scheme = Literal["IOB1", "IOB2", "BIOES", "IO", "classes"]
OUTSIDE = "O"
LETTERS = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S", "M": "I", "W": "S"}  # what each is read as
_TAG = re.compile(r"([BIESLUMW])-(.+)", re.DOTALL)
_BARE = re.compile(r"[BIESLUMW]-?")


def parts(tag: str) -> tuple[str, str]:
    """B-PER -> ("B", "PER"), O -> ("O", ""), a class without a prefix -> ("", class); L, U, M, W as E, S, I, S."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    found = _TAG.fullmatch(tag)
    return (LETTERS[found[1]], found[2]) if found else ("", tag)


def spans_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first word, last word) of every entity, in order; IOB1, IOB2 and BIOES are read alike.

    A tag without a prefix is an entity of one word.
    """
    spans: list[tuple[str, int, int]] = []
    going_on = ""  # the type that the next word may go on with
    for place, tag in enumerate(tags):
        prefix, name = parts(tag)
        if prefix in ("I", "E") and name == going_on:
            spans[-1] = (name, spans[-1][1], place)
        elif prefix != OUTSIDE:
            spans.append((name, place, place))
        going_on = name if prefix in ("B", "I") else ""
    return spans


def tags_of(spans: Sequence[tuple[str, int, int]], count: int) -> tuple[str, ...]:
    """IOB2 of `count` words; spans: (type, first word, last word), without overlap."""
    tags = [OUTSIDE] * count
    for name, first, last in spans:
        tags[first : last + 1] = [f"B-{name}"] + [f"I-{name}"] * (last - first)
    return tuple(tags)


def to_iob2(
    sequences: Sequence[Sequence[str]], *, places: Sequence[str] | None = None
) -> tuple[list[tuple[str, ...]], Scheme]:
    """All tags of a data set (every split of it) in IOB2, and the scheme they were in.

    places: file:line of each sequence, for errors. InputError: a tag without a type (I), or without a prefix between
    others that have one.
    """
    scheme = _scheme(sequences, places)
    if scheme == "classes":
        return [tuple(tags) for tags in sequences], scheme
    if scheme == "IO":
        sequences = [[tag if tag == OUTSIDE else f"I-{tag}" for tag in tags] for tags in sequences]
    return [tags_of(spans_of(tags), len(tags)) for tags in sequences], scheme


def _scheme(sequences: Sequence[Sequence[str]], places: Sequence[str] | None) -> Scheme:
    known = {tag for tags in sequences for tag in tags} - {OUTSIDE}
    prefixed = {tag for tag in known if _TAG.fullmatch(tag)}
    if known and known - prefixed and (any(tag[0] in "BI" for tag in prefixed) or all(map(_BARE.fullmatch, known))):
        _refuse(sequences, known - prefixed, places)
    if known - prefixed:
        outside = any(OUTSIDE in tags for tags in sequences)
        return "IO" if outside and all(len(tag) > 1 for tag in known) else "classes"
    if any(parts(tag)[0] in ("E", "S") for tag in prefixed):
        return "BIOES"
    opening, fresh = _beginnings(sequences)
    return "IOB1" if opening > fresh else "IOB2"


def _beginnings(sequences: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many entities I-X begins, which IOB2 forbids, and B-X without need, which IOB1 forbids."""
    opening = fresh = 0
    for tags in sequences:
        before = ""
        for prefix, name in map(parts, tags):
            opening += prefix == "I" and name != before
            fresh += prefix == "B" and name != before
            before = name
    return opening, fresh


def _refuse(sequences: Sequence[Sequence[str]], wrong: set[str], places: Sequence[str] | None) -> None:
    for row, tags in enumerate(sequences):
        for word, tag in enumerate(tags):
            if tag in wrong:
                place = places[row] if places else f"row {row + 1}"
                bare = _BARE.fullmatch(tag)
                problem = f"tag {tag!r} of word {word + 1} has no {'type' if bare else 'B- or I- in front'}"
                remedy = f"write {tag.rstrip('-')}-PER, or what the type is called" if bare else "write B-, I- or O"
                raise InputError(place, problem, remedy)


def all_tags(sequences: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """What a model must be able to say: O, then B-X and I-X of every type, sorted; of classes, those that occur."""
    known = {tag for tags in sequences for tag in tags} - {OUTSIDE}
    types = sorted({name for prefix, name in map(parts, known) if prefix})
    if not types and known:
        return tuple(sorted(known))
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI"))
