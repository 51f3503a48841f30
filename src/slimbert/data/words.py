"""Text -> words with their places: runs of letters and digits, and every other visible character alone; any script.

A word here is what a tag is given to, so it is as short as tags may need: punctuation stands alone, and so does each
character of the scripts that put no blank between words (Han, kana, Thai, Lao, Myanmar, Khmer). What cannot stand
alone stays with the character before it: combining marks, variation selectors, joiners and other format characters,
skin tones; so do the members of an emoji sequence and the two halves of a flag. The rules follow the default grapheme
clusters of Unicode Standard Annex 29, section 3, as far as categories of characters tell them.
"""

import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache

Place = tuple[int, int]  # [start, end) in characters of a text
_APART = (  # blocks of scripts written without blanks: each character is a word
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3041", "\u30ff"),  # Hiragana, Katakana
    ("\u31f0", "\u31ff"),  # Katakana, small letters
    ("\u3400", "\u4dbf"),  # Han, extension A
    ("\u4e00", "\u9fff"),  # Han
    ("\uf900", "\ufaff"),  # Han, compatibility
    ("\U00020000", "\U0003ffff"),  # Han, further extensions
)
_BLANK = r"\s\u200b"  # a zero-width space parts words, too


@cache
def _attached() -> str:
    """Members of a regular expression's class: what stays with the character before it."""
    ranges: list[list[int]] = [[0x1F3FB, 0x1F3FF]]  # skin tones
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf") and code != 0x200B:
            if ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


@cache
def _word() -> re.Pattern[str]:
    marks = f"[{_attached()}]*"
    apart = "".join(f"{first}-{last}" for first, last in _APART)
    letters = rf"(?:(?![{apart}])[^\W_]{marks})+"
    flag = rf"[\U0001f1e6-\U0001f1ff]{{2}}{marks}"
    other = rf"[^{_BLANK}]{marks}(?:(?<=\u200d)[^\w{_BLANK}]{marks})*"  # also a letter of a script without blanks
    return re.compile(rf"{letters}|{flag}|{other}")


def split_words(text: str, bounds: Iterable[int] = ()) -> tuple[Place, ...]:
    """Places of the words, in order, without overlap; all that stands between them is blank.

    bounds: places that no word may reach across; one that would is split there.
    """
    places = [match.span() for match in _word().finditer(text)]
    cuts = sorted(set(bounds))
    if not cuts:
        return tuple(places)
    return tuple(part for place in places for part in _cut(place, cuts))


def _cut(place: Place, cuts: list[int]) -> list[Place]:
    start, end = place
    inside = [cut for cut in cuts[bisect_right(cuts, start) :] if cut < end]
    return list(zip([start, *inside], [*inside, end]))
