"""An oracle for entities: where one begins and ends, decided at each border between two tags, as conlleval does.

Written from the rules of the script of the CoNLL-2000 shared task (Tjong Kim Sang and Buchholz 2000), by another way
than ours: ours joins tags, this looks at borders. Compared once with seqeval 1.2.2, on 200,000 random sequences: equal.
That package is not a development dependency, for it has no wheel, and older versions of pip cannot build it.
"""

from collections.abc import Sequence

ENDS = {"BB", "BS", "BO", "IB", "IS", "IO"} | {last + tag for last in "ES" for tag in "BIESO"}
BEGINS = {last + "B" for last in "BIESO"} | {last + "S" for last in "BIESO"}
BEGINS |= {last + tag for last in "ESO" for tag in "EI"}


def chunks(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first, last) of every entity; a prefix without a type is of type `_`."""
    found, begun = [], 0
    last, kind = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        now, name = tag[:1], tag[2:] or "_"
        other = name != kind
        if last != "O" and (last + now in ENDS or other):
            found.append((kind, begun, place - 1))
        if now != "O" and (last + now in BEGINS or other):
            begun = place
        last, kind = now, name
    return found


def micro(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """Precision, recall and F1 over all entities; 0 where there is nothing to divide by."""
    sides = [{(row, *one) for row, tags in enumerate(rows) for one in chunks(tags)} for rows in (truth, answers)]
    right, there, answered = len(sides[0] & sides[1]), len(sides[0]), len(sides[1])
    precision, recall = right / answered if answered else 0.0, right / there if there else 0.0
    return precision, recall, 2 * right / (there + answered) if there + answered else 0.0
