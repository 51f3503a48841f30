"""Entities in tagged tokens, and how many of them were found exactly.

Tags are O or PREFIX-TYPE, one per token. Which tokens make an entity is decided as conlleval does (the script of the
CoNLL-2000 shared task) and seqeval by default (Nakayama 2018), leniently, so that every sequence has a meaning: a
token opens an entity if its prefix is B or S, or if the token before is outside, has prefix E or S, or another type;
the entity goes on to the token before the next one that opens or is outside. One reading so serves all these schemes:

    IOB1    I, and B only where an entity touches one of its own type before it
    IOB2    B opens every entity, I goes on (CoNLL-2003 as it is mostly given out)
    BIOES   B I .. E, a single token S; BILOU says L for E and U for S, BMEW M for I and W for S
    plain   the type alone; neighbours of one type are one entity

A prefix without a type is of type `_`. We read L, U, M and W too, and plain tags, which seqeval does not.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypedDict

import numpy as np

from ..schemes import LETTERS, OUTSIDE
from .classes import Ints, f1_of_counts

UNNAMED = "_"  # the type of a prefix without one


class Entity(NamedTuple):
    """Tokens `start` to `end`, both included, counted from 0, as seqeval gives them."""

    type: str
    start: int
    end: int


class TypeScores(TypedDict):
    """Scores of one type: `entities` is how many there are, `answered` how many were answered."""

    precision: float
    recall: float
    f1: float
    entities: int
    answered: int


class EntityScores(TypedDict):
    """precision, recall, f1: over all entities (micro). macro_f1: mean over the types that are there or answered."""

    rows: int
    precision: float
    recall: float
    f1: float
    macro_f1: float
    entities: int
    answered: int
    types: dict[str, TypeScores]


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sequence, in order, whatever the scheme."""
    return _join([_read(tag) for tag in tags])


def entity_scores(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> EntityScores:
    """Precision, recall and F1 of entities that have the right type and the right borders.

    truth, answers: tags of each row, equally many. What is divided by 0 is 0. Equal to seqeval's default mode.
    """
    _same_tokens(truth, answers)
    right, there, answered = Counter[str](), Counter[str](), Counter[str]()
    for row, answer in zip(truth, answers):
        expected, found = entities(row), entities(answer)
        right.update(entity.type for entity in {*expected} & {*found})
        there.update(entity.type for entity in expected)
        answered.update(entity.type for entity in found)
    types = {name: _ratios(right[name], answered[name], there[name]) for name in sorted({*there, *answered})}
    macro = sum(each["f1"] for each in types.values()) / len(types) if types else 0.0
    total = _ratios(right.total(), answered.total(), there.total())
    return {"rows": len(truth), **total, "macro_f1": macro, "types": types}


def entity_counts(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> Ints:
    """[N, 3] per row: entities right, answered, there. `f1_of_counts` of their sums is the micro F1."""
    _same_tokens(truth, answers)
    pairs = (({*entities(row)}, {*entities(answer)}) for row, answer in zip(truth, answers))
    counts = [(len(row & answer), len(answer), len(row)) for row, answer in pairs]
    return np.array(counts, dtype=np.int64)


class _Tag(NamedTuple):
    prefix: str  # O, B, I, E or S
    type: str


_NOTHING = _Tag(OUTSIDE, UNNAMED)
_BARE = {"B", "I", "E", "S"}  # may stand without a type


@lru_cache(maxsize=4096)
def _read(tag: str) -> _Tag:
    if tag == OUTSIDE:
        return _NOTHING
    prefix, dash, name = tag.partition("-")
    if prefix in (LETTERS if dash else _BARE):
        return _Tag(LETTERS[prefix], name or UNNAMED)
    return _Tag("I", tag)


def _join(tags: Sequence[_Tag]) -> list[Entity]:
    found: list[Entity] = []
    start, before = 0, _NOTHING
    for place, tag in enumerate([*tags, _NOTHING]):
        opens = tag.prefix in "BS" or before.prefix in "OES" or tag.type != before.type
        if before.prefix != OUTSIDE and (opens or tag.prefix == OUTSIDE):
            found.append(Entity(before.type, start, place - 1))
        if opens:
            start = place
        before = tag
    return found


def _ratios(right: int, answered: int, there: int) -> TypeScores:
    return {
        "precision": right / answered if answered else 0.0,
        "recall": right / there if there else 0.0,
        "f1": float(f1_of_counts(np.array([right, answered, there]))),
        "entities": there,
        "answered": answered,
    }


def _same_tokens(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> None:
    if len(truth) != len(answers) or len(truth) == 0:
        raise ValueError(f"{len(truth)} rows and {len(answers)} answers: need equally many, at least one")
    for number, (row, answer) in enumerate(zip(truth, answers)):
        if len(row) != len(answer):
            raise ValueError(f"row {number}: {len(row)} tags and {len(answer)} answers: need one per token")
