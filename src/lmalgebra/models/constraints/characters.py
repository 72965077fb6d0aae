"""Characters as phrases are matched by: without case, width and invisible marks, and in three kinds.

Accents count, since they make other words (año, ano); how they are composed does not.
"""

from functools import lru_cache
from itertools import islice
from unicodedata import category, name, normalize

GAP, WORD, ALONE = range(3)
"""What stands between words; a letter, digit or mark of a word; a letter of a script that writes no spaces."""

_UNSPACED = ("CJK ", "HIRAGANA", "KATAKANA", "THAI ", "LAO ", "KHMER", "MYANMAR", "TIBETAN", "YI ")
_INVISIBLE_MARKS = frozenset("\u034f").union(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_PAST_LETTERS = 0x40000
"""Unicode has letters below."""


def normalised(text: str) -> str:
    """`text` as it is compared. Each character is taken by itself, so that texts may be cut anywhere between two."""
    return text.lower() if text.isascii() else "".join(map(_normalised, text))


@lru_cache(maxsize=1 << 16)
def _normalised(character: str) -> str:
    composed = normalize("NFKC", character)
    if len(composed) == 1 and kind(composed) == ALONE:
        return composed  # taken apart, some of these letters would begin with another one
    folded = normalize("NFKD", normalize("NFKD", character).casefold())
    return "".join(each for each in folded if category(each) != "Cf" and each not in _INVISIBLE_MARKS)


@lru_cache(maxsize=1 << 16)
def kind(character: str) -> int:
    """Whether a character is a GAP, part of a WORD, or ALONE."""
    if name(character, "").startswith(_UNSPACED) and category(character)[0] in "LM":
        return ALONE
    return WORD if character.isalnum() or category(character)[0] == "M" else GAP


@lru_cache(maxsize=1 << 12)
def letters_from(start: bytes) -> tuple[str, ...]:
    """Some letters whose UTF-8 begins with `start`, the bytes of a character that is cut; empty if there are none."""
    length = next(count for count, first in ((4, 0xF0), (3, 0xE0), (2, 0xC0)) if start[0] >= first)
    code = start[0] & (0xFF >> (length + 1))
    for byte in start[1:]:
        code = code << 6 | byte & 0x3F
    missing = 6 * (length - len(start))
    codes = range(code << missing, min((code + 1) << missing, _PAST_LETTERS))
    letters = (chr(each) for each in codes if not 0xD800 <= each < 0xE000)
    return tuple(islice((each for each in letters if kind(each) == WORD and each.encode().startswith(start)), 8))
